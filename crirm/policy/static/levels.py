"""The machine as the kubelet's CPU manager sees it, and its order of packages, NUMA nodes, caches and cores.

The kubelet sorts parts of the machine by how many of their CPUs are free, fewest first, then by number. Of packages and
NUMA nodes those that are the fewer come first; the others are sorted within each of them, cores within the inner ones.

Everything is a bit mask: a part is its CPUs.

Source: KEP-693, and the results of the kubelet's pkg/kubelet/cm/cpumanager/cpu_assignment.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import attrs

from crirm.model.cpuset import CPUSet
from crirm.model.topology import CacheGroup, Topology

Parts = tuple[int, ...]
"""Masks of one kind of part, by number."""


@attrs.frozen(eq=False)
class Levels:
    """The parts of a machine.

    Args:
        packages: by number.
        nodes: the NUMA nodes that have CPUs, by number.
        caches: the L3 groups by number; a package without any is one.
        cores: by their lowest thread.
        threads: how many a core has, on average and rounded down, as the kubelet counts them.
    """

    packages: Parts
    nodes: Parts
    caches: Parts
    cores: Parts
    threads: int

    def packages_by_room(self, free: int) -> list[int]:
        """Return the packages that have CPUs of *free*, in the kubelet's order."""
        if self._packages_hold_nodes:
            return _by_room(self.packages, free)
        return self._within(_by_room(self.nodes, free), self.packages, free)

    def nodes_by_room(self, free: int) -> list[int]:
        """Return the NUMA nodes that have CPUs of *free*, in the kubelet's order."""
        if self._packages_hold_nodes:
            return self._within(_by_room(self.packages, free), self.nodes, free)
        return _by_room(self.nodes, free)

    def caches_by_room(self, free: int) -> list[int]:
        """Return the L3 groups that have CPUs of *free*, in the kubelet's order."""
        return self._within(self.nodes_by_room(free), self.caches, free)

    def cores_by_room(self, free: int) -> list[int]:
        """Return the cores that have CPUs of *free*, in the kubelet's order."""
        inner = self.nodes_by_room(free) if self._packages_hold_nodes else self.packages_by_room(free)
        return self._within(inner, self.cores, free)

    @property
    def outer_first(self) -> tuple[Parts, Parts]:
        """Packages and NUMA nodes, those that hold the others first."""
        return (self.packages, self.nodes) if self._packages_hold_nodes else (self.nodes, self.packages)

    @property
    def _packages_hold_nodes(self) -> bool:
        return len(self.packages) < len(self.nodes)

    @staticmethod
    def _within(outer: Iterable[int], parts: Parts, free: int) -> list[int]:
        """Return *parts*, sorted within each of *outer*; a part of several is where it comes first."""
        left, found = [part for part in parts if part & free], list[int]()
        for one in outer:
            found += _by_room([part for part in left if part & one & free], free)
            left = [part for part in left if not part & one & free]
        return found


def levels_of(topology: Topology) -> Levels:
    """Return the parts of *topology*."""
    cached = sorted((cache for cache in topology.caches if cache.level == 3), key=_cache_number)
    caches = [cache.cpus.mask for cache in cached]
    covered = CPUSet.union(cache.cpus for cache in cached)
    caches += [rest.mask for package in topology.packages if (rest := package.cpus - covered)]
    return Levels(
        packages=tuple(package.cpus.mask for package in topology.packages),
        nodes=tuple(node.cpus.mask for node in topology.nodes if node.cpus),
        caches=tuple(caches),
        cores=tuple(core.mask for core in topology.cores),
        threads=len(topology.online) // len(topology.cores),
    )


def _cache_number(cache: CacheGroup) -> tuple[int, int]:
    return (-1 if cache.id is None else cache.id, cache.cpus.lowest)


def _by_room(parts: Sequence[int], free: int) -> list[int]:
    return sorted((part for part in parts if part & free), key=lambda part: (part & free).bit_count())
