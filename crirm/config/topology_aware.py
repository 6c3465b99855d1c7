"""Options of the policy ``topology-aware`` and of its alias ``memtier``."""

from __future__ import annotations

import attrs


def _option(key: str, *, default: bool) -> bool:
    value: bool = attrs.field(default=default, metadata={"key": key})
    return value


@attrs.frozen
class TopologyAwareOptions:
    """How the policy ``topology-aware`` places containers; the key of each option is in its metadata."""

    pin_cpu: bool = _option("PinCPU", default=True)
    """Whether containers are bound to the CPUs that were chosen for them, and get the CPU weight of their request."""
    pin_memory: bool = _option("PinMemory", default=True)
    """Whether containers are bound to the NUMA nodes whose memory was chosen for them."""
    prefer_isolated_cpus: bool = _option("PreferIsolatedCPUs", default=True)
    """Whether a Guaranteed container with one exclusive CPU gets a kernel-isolated one where its pod does not say."""
    prefer_shared_cpus: bool = _option("PreferSharedCPUs", default=False)
    """Whether a Guaranteed container with one to two CPUs gets shared ones where its pod does not say."""
    reserved_pool_namespaces: tuple[str, ...] = attrs.field(
        default=("kube-system",), metadata={"key": "ReservedPoolNamespaces"}
    )
    """Patterns of the namespaces whose containers run on the reserved CPUs; kube-system is always one of them."""
    colocate_pods: bool = _option("ColocatePods", default=False)
    """Whether the containers of a pod attract each other, where they have no affinity of their own."""
    colocate_namespaces: bool = _option("ColocateNamespaces", default=False)
    """Whether the containers of a namespace attract each other, where they have no affinity of their own."""
