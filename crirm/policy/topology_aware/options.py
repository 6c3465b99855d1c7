"""Options of the policy ``topology-aware`` and of its alias ``memtier``."""

from __future__ import annotations

import attrs

from crirm.model.option import option
from crirm.policy.globs import check_glob


@attrs.frozen
class TopologyAwareOptions:
    """How the policy ``topology-aware`` places containers."""

    pin_cpu: bool = option(
        "PinCPU",
        "Whether containers are bound to their CPUs and get the CPU weight of their request.",
        default=True,
    )
    pin_memory: bool = option(
        "PinMemory", "Whether containers are bound to the NUMA nodes of their memory.", default=True
    )
    prefer_isolated_cpus: bool = option(
        "PreferIsolatedCPUs",
        "Whether a Guaranteed container of exactly one CPU gets a kernel-isolated one, where its pod does not say.",
        default=True,
    )
    prefer_shared_cpus: bool = option(
        "PreferSharedCPUs",
        "Whether a Guaranteed container of one CPU to two gets shared ones, where its pod does not say.",
        default=False,
    )
    reserved_pool_namespaces: tuple[str, ...] = option(  # makes a field
        "ReservedPoolNamespaces",
        "Patterns of the namespaces that use the reserved CPUs; kube-system always does.",
        default=("kube-system",),
        check=check_glob,
    )
    colocate_pods: bool = option(
        "ColocatePods",
        "Whether containers of a pod attract each other, where they have no affinity of their own.",
        default=False,
    )
    colocate_namespaces: bool = option(
        "ColocateNamespaces",
        "Whether containers of a namespace attract each other, where they have no affinity of their own.",
        default=False,
    )
