"""CPUs as the kubelet's static CPU manager takes them, packed into as few parts of the machine as possible.

1. whole packages and whole NUMA nodes that are free and not larger than what is still needed, the outer kind first;
2. with ``prefer-align-cpus-by-uncorecache``: whole free L3 groups likewise, then from one L3 group all that is left;
3. whole free cores, except with ``distribute-cpus-across-cores``;
4. single threads: core by core, or package by package with ``distribute-cpus-across-cores``.

In every step parts are taken in the order of `levels`. The answer depends on the arguments alone.

Source: the documentation of the kubelet's CPU manager policies, KEP-4176, KEP-4800, and the results of its
pkg/kubelet/cm/cpumanager/cpu_assignment.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from crirm.policy.static.levels import Levels


@attrs.define
class Taking:
    """CPUs that are being taken.

    Args:
        levels: the machine.
        free: the mask of what can still be taken.
        left: how many are still needed.
        taken: the mask of what has been.
    """

    levels: Levels
    free: int
    left: int
    taken: int = 0

    def take(self, cpus: int) -> None:
        """Take *cpus*, all of them free."""
        self.taken |= cpus
        self.free &= ~cpus
        self.left -= cpus.bit_count()

    def take_whole(self, parts: Iterable[int]) -> None:
        """Take those of *parts*, in their order, that are free as a whole and not larger than what is needed."""
        for part in [part for part in parts if part & self.free == part]:
            if self.left and part.bit_count() <= self.left:
                self.take(part)


def take_packed(levels: Levels, free: int, count: int, *, by_cache: bool = False, across_cores: bool = False) -> int:
    """Return the mask of *count* CPUs out of *free*, which has so many.

    Args:
        levels: the machine.
        free: mask of the CPUs to choose from.
        count: how many, 0 or more.
        by_cache: whether ``prefer-align-cpus-by-uncorecache`` is set.
        across_cores: whether ``distribute-cpus-across-cores`` is set.
    """
    taking = Taking(levels, free, count)
    outer_is_package = levels.outer_first[0] is levels.packages
    by_room = (levels.packages_by_room, levels.nodes_by_room)
    for order in by_room if outer_is_package else reversed(by_room):
        taking.take_whole(order(taking.free))
    if by_cache:
        _take_caches(taking)
    if not across_cores:
        cores = levels.cores_by_room(taking.free)
        taking.take_whole(core for core in cores if core.bit_count() == levels.threads)
    for thread in _threads(taking, across_cores=across_cores):
        if not taking.left:
            break
        taking.take(thread)
    return taking.taken


def _take_caches(taking: Taking) -> None:
    order = taking.levels.caches_by_room(taking.free)
    taking.take_whole(order)
    for cache in order:
        if taking.left and (cache & taking.free).bit_count() >= taking.left:
            part = _part_of_cache(taking, cache)
            if part.bit_count() == taking.left:
                taking.take(part)


def _part_of_cache(taking: Taking, cache: int) -> int:
    """Return the free CPUs of the first cores of *cache* that are needed; without the last one, for an odd number."""
    threads = max(taking.levels.threads, 1)
    needed = -(-taking.left // threads)
    cores = [core for core in taking.levels.cores if core & cache & taking.free][:needed]
    cpus = 0
    for core in cores:
        cpus |= core & taking.free
    if taking.left % 2 and threads > 1 and cpus.bit_count() > taking.left:
        cpus ^= 1 << (cpus.bit_length() - 1)
    return cpus


def _threads(taking: Taking, *, across_cores: bool) -> list[int]:
    order = taking.levels.packages_by_room if across_cores else taking.levels.cores_by_room
    return [thread for part in order(taking.free) for thread in _bits(part & taking.free)]


def _bits(mask: int) -> Iterator[int]:
    while mask:
        lowest = mask & -mask
        yield lowest
        mask ^= lowest
