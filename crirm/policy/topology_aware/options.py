"""Options of the policy ``topology-aware`` and of its alias ``memtier``."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.errors import CrirmError, quoted
from crirm.model.option import option
from crirm.model.quantity import parse_bytes
from crirm.policy.api import Limits
from crirm.policy.globs import check_glob
from crirm.policy.topology_aware.modes import check_namespace_mode, mode_of
from crirm.policy.topology_aware.scopes import scope_of

MOST_MOVES = 1000


class MovesError(CrirmError):
    """A number of moves cannot be one."""


def check_moves(text: str) -> int:
    """Return the number of moves per minute that *text* is.

    Raises:
        MovesError: it is none.
    """
    if not (text.isascii() and text.isdecimal()) or int(text) > MOST_MOVES:
        raise MovesError(f"{quoted(text)} is not a number of containers; write 0 to {MOST_MOVES}")
    return int(text)


def check_per_arrival(text: str) -> int:
    """Return the number of moves per arrival that *text* is.

    Raises:
        MovesError: it is none.
    """
    if text not in {"0", "1"}:
        raise MovesError(f"{quoted(text)} is neither 0 nor 1; write 1 to let one container move for a new one")
    return int(text)


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
    moves_per_minute: str = option(
        "MovesPerMinute",
        "How many containers crirm moves in any 60 seconds, so that spread ones come together; 0 moves none.",
        default="6",
        check=check_moves,
    )
    move_bytes_per_minute: str = option(
        "MoveBytesPerMinute",
        "How much memory these may have, by their limits, in any 60 seconds; one with more is never moved.",
        default="16Gi",
        check=parse_bytes,
    )
    moves_per_arrival: str = option(
        "MovesPerArrival",
        "Whether one container is moved (1) or none (0) where a new one would be spread or refused otherwise.",
        default="0",
        check=check_per_arrival,
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

    @property
    def limits(self) -> Limits:
        """How much is moved at most."""
        return Limits(
            check_moves(self.moves_per_minute),
            parse_bytes(self.move_bytes_per_minute),
            check_per_arrival(self.moves_per_arrival),
        )
