"""Options of the policy ``topology-aware`` and of its alias ``memtier``."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.model.option import option
from crirm.policy.globs import check_glob
from crirm.policy.topology_aware.modes import check_namespace_mode, mode_of
from crirm.policy.topology_aware.scopes import scope_of


@attrs.frozen
class TopologyAwareOptions:
    """How the policy ``topology-aware`` places containers."""

    pin_cpu: bool = option(
        "PinCPU",
        "Whether to pin containers to their CPUs and set the CPU weight of their request.",
        default=True,
    )
    pin_memory: bool = option("PinMemory", "Whether to pin containers to NUMA nodes for memory.", default=True)
    prefer_isolated_cpus: bool = option(
        "PreferIsolatedCPUs",
        "Whether a Guaranteed container with exactly one CPU gets an isolated one, unless its pod says otherwise.",
        default=True,
    )
    prefer_shared_cpus: bool = option(
        "PreferSharedCPUs",
        "Whether a Guaranteed container with one to two CPUs gets shared ones, unless its pod says otherwise.",
        default=False,
    )
    reserved_pool_namespaces: tuple[str, ...] = option(  # makes a field
        "ReservedPoolNamespaces",
        "Patterns of namespaces that use the reserved CPUs; kube-system always does.",
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
        "Whether containers of a namespace attract each other, unless they have affinities of their own.",
        default=False,
    )
    placement_scope: str = option(
        "PlacementScope",
        "Whether a pool is chosen for each container (container), or for a pod by its first container (pod).",
        default="container",
        check=scope_of,
    )
    placement: str = option(
        "Placement",
        "Which of equally good pools a container gets: spread (the emptiest), pack (the fullest that holds it) or "
        "balanced (such that one NUMA node keeps the largest room).",
        default="spread",
        check=mode_of,
    )
    namespace_placements: Mapping[str, str] = option(  # makes a field
        "NamespacePlacements",
        "Placement by pattern of namespaces, such as batch-*: pack; the longest pattern that matches counts.",
        factory=dict,
        check=check_namespace_mode,
    )
    cache_pools: bool = option(
        "CachePools",
        "Whether L3 caches are pools, where a NUMA node (or die, or package) holds two or more of them.",
        default=False,
    )
