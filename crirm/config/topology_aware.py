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
    """Whether to pin containers to their CPUs and set the CPU weight of their request."""
    pin_memory: bool = _option("PinMemory", default=True)
    """Whether to pin containers to NUMA nodes for memory."""
    prefer_isolated_cpus: bool = _option("PreferIsolatedCPUs", default=True)
    """Whether a Guaranteed container with exactly one CPU gets a kernel-isolated one, unless its pod says otherwise."""
    prefer_shared_cpus: bool = _option("PreferSharedCPUs", default=False)
    """Whether a Guaranteed container with one to two CPUs gets shared ones, unless its pod says otherwise."""
    reserved_pool_namespaces: tuple[str, ...] = attrs.field(
        default=("kube-system",), metadata={"key": "ReservedPoolNamespaces"}
    )
    """Patterns of namespaces that use the reserved CPUs; kube-system always does."""
    colocate_pods: bool = _option("ColocatePods", default=False)
    """Whether containers of a pod attract each other, unless they have affinities of their own."""
    colocate_namespaces: bool = _option("ColocateNamespaces", default=False)
    """Whether containers of a namespace attract each other, unless they have affinities of their own."""
