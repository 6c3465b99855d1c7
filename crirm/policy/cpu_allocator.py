"""Which CPUs to take for a given number.

CPUs are taken in passes, each as far as possible:

1. the free threads of cores that the taker already has a part of, where it has any;
2. whole packages that are free and not larger than what is still needed;
3. whole cores, those of the preferred priority class first;
4. single threads: from the package where most was taken so far, then the one that fits the preferred class most
   tightly; there again the preferred class first.

Only the priority class comes before wholeness: where a better class still has free cores that are too large for the
rest, as on hybrid machines, one of these is split rather than a smaller core of a worse class taken.

Among CPUs that are equal by these rules locality decides. Packages, dies, NUMA nodes, L3 groups, clusters, L2 groups
and cores are *levels*, the more groups the further in. CPUs are taken from the furthest level in of which one group
holds them all, there from the group with fewest to spare, so that larger ones stay whole for larger containers; of
such groups from the one in the fullest surroundings; then from the lowest number. Where no single group holds them,
the fewest groups are combined. So the answer depends on the arguments alone.

Everything inside is a bit mask: even on a thousand CPUs an answer takes a few hundred microseconds at most.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.topology import Topology
from crirm.policy.priorities import Priorities, Priority

_Level = tuple[int, ...]

_FALLING = (Priority.HIGH, Priority.NORMAL, Priority.LOW)


@attrs.frozen
class _Tier:
    """The cores that are equally good for one preference."""

    size: int
    """Threads of each."""
    cores: tuple[int, ...]


@attrs.frozen
class _Preference:
    """What one preferred priority means on this machine."""

    classes: tuple[int, ...]
    """All CPUs by priority class, the preferred one first."""
    above: int
    """How many of the classes, at the end, are better than the preferred one, thus to be spared."""
    tiers: tuple[_Tier, ...]
    """All cores, the preferred ones first."""


class CPUAllocator:
    """Takes CPUs of one machine out of sets of free ones; it keeps no book of them itself."""

    def __init__(self, topology: Topology, priorities: Priorities) -> None:
        self._online = topology.online.mask
        self._packages = tuple(package.cpus.mask for package in topology.packages)
        self._cores = tuple(core.mask for core in topology.cores)
        self._caches = tuple(cache.cpus.mask for cache in topology.caches if cache.level == 3)
        self._levels = _levels(topology)
        self._largest = tuple(max(group.bit_count() for group in level) for level in self._levels)
        self._preferences = {
            preferred: _preference(self._online, self._cores, priorities, preferred) for preferred in Priority
        }

    def take(self, free: CPUSet, count: int, prefer: Priority, near: CPUSet = NO_CPUS) -> CPUSet:
        """Return *count* CPUs out of *free*; the module says which.

        Args:
            free: CPUs to choose from; offline ones among them do not count.
            count: how many, 0 or more.
            prefer: the priority class to take first.
            near: what the taker has already; the new ones are to be close to it.

        Raises:
            ValueError: there are fewer.
        """
        left = free.mask & self._online
        if not 0 <= count <= left.bit_count():
            msg = f"{count} CPUs cannot be taken out of {left.bit_count()}"
            raise ValueError(msg)
        if count == left.bit_count():
            return CPUSet.from_mask(left)
        return CPUSet.from_mask(self._take(left, count, self._preferences[prefer], near.mask))

    def surroundings(self, near: CPUSet) -> Iterator[CPUSet]:
        """Yield the groups around *near* together, those of each level: its cores first, the machine last."""
        for level in reversed(self._levels):
            yield CPUSet.from_mask(_touching(level, near.mask))

    def alike(self, cpus: CPUSet) -> bool:
        """Return whether all *cpus* are of one priority class, so that only locality tells them apart."""
        mask, classes = cpus.mask & self._online, self._preferences[Priority.HIGH].classes
        return any(not mask & ~members for members in classes)

    def lowest(self, free: CPUSet, count: int) -> CPUSet:
        """Return the *count* CPUs of *free* with the lowest numbers, where any will do."""
        return CPUSet.from_mask(_lowest(free.mask, count))

    def cores(self, cpus: CPUSet) -> int:
        """Return how many cores *cpus* are of."""
        return sum(1 for core in self._cores if core & cpus.mask)

    def caches(self, cpus: CPUSet) -> int:
        """Return how many level 3 caches *cpus* are of; 0 where none is known."""
        return sum(1 for cache in self._caches if cache & cpus.mask)

    def _take(self, free: int, count: int, preference: _Preference, near: int) -> int:
        taken = self._started_cores(free, count, near)
        taken |= self._idle_packages(free & ~taken, count - taken.bit_count(), preference)
        taken |= self._idle_cores(free & ~taken, count - taken.bit_count(), preference, near | taken)
        return taken | self._threads(free & ~taken, count - taken.bit_count(), preference, near | taken)

    def _started_cores(self, free: int, count: int, near: int) -> int:
        started = _touching(self._cores, near) & free
        return self._gather(started, min(count, started.bit_count()))

    def _idle_packages(self, free: int, count: int, preference: _Preference) -> int:
        taken = 0
        idle = [package for package in self._packages if package & free == package]
        for package in sorted(idle, key=lambda package: _rank(package, preference)):
            if package.bit_count() <= count - taken.bit_count():
                taken |= package
        return taken

    def _idle_cores(self, free: int, count: int, preference: _Preference, near: int) -> int:
        taken = 0
        for tier in preference.tiers:
            left = count - taken.bit_count()
            if not left:
                break
            idle = 0
            for core in tier.cores:
                if core & free == core:
                    idle |= core
            wanted = min(left - left % tier.size, idle.bit_count())
            taken |= self._nearest(idle, wanted, near | taken)
            if wanted < idle.bit_count():
                break  # what is still needed is less than a core of this tier
        return taken

    def _threads(self, free: int, count: int, preference: _Preference, near: int) -> int:
        taken = 0
        while taken.bit_count() < count:
            package = self._best_package(free & ~taken, count - taken.bit_count(), preference, near | taken)
            for members in preference.classes:
                here = package & members
                wanted = min(count - taken.bit_count(), here.bit_count())
                taken |= self._nearest(here, wanted, near | taken)
        return taken

    def _best_package(self, free: int, count: int, preference: _Preference, near: int) -> int:
        """Return what is free of the package to take single threads from."""

        def order(package: int) -> tuple[int, ...]:
            here = package & free
            # Where a preferred class is missing from the machine, as HIGH mostly is, the next one takes its place.
            first = next(members for members in preference.classes if members & free)
            fitting = (here & first).bit_count()
            tight = (0, fitting) if fitting >= count else (1, -fitting)
            return (-(package & near).bit_count(), *tight, *_rank(here, preference))

        return min((package for package in self._packages if package & free), key=order) & free

    # --- locality ------------------------------------------------------------------------------------------------

    def _nearest(self, region: int, count: int, near: int) -> int:
        """Return *count* CPUs of *region*, out of the smallest surroundings of *near* that have so many."""
        if near and count:
            for level in reversed(self._levels):
                around = _touching(level, near) & region
                if around.bit_count() >= count:
                    return self._gather(around, count)
        return self._gather(region, count)

    def _gather(self, region: int, count: int) -> int:
        """Return *count* CPUs of *region*, which has so many, out of as few groups as possible."""
        taken = 0
        while count and count < region.bit_count():
            depth, group = self._tightest(region, count)
            if depth == len(self._levels) - 1:
                return taken | _lowest(group, count)
            parts = [part for inner in self._levels[depth + 1] if (part := inner & group)]
            for part in sorted(parts, key=int.bit_count, reverse=True):
                if part.bit_count() > count:
                    break
                taken |= part
                count -= part.bit_count()
            region = group & ~taken
        return taken | region if count else taken

    def _tightest(self, region: int, count: int) -> tuple[int, int]:
        """Return the furthest level in that has a group with *count* CPUs of *region*, and these of the best group."""
        for depth in reversed(range(1, len(self._levels))):
            if count > self._largest[depth]:
                continue
            fitting = [part for group in self._levels[depth] if (part := group & region).bit_count() >= count]
            if fitting:
                fewest = min(map(int.bit_count, fitting))
                return depth, self._in_fullest(region, depth, [part for part in fitting if part.bit_count() == fewest])
        return 0, region

    def _in_fullest(self, region: int, depth: int, equals: list[int]) -> int:
        """Return that one of *equals*, groups of level *depth*, around which least of *region* is left."""
        candidates = _union(equals)
        for level in self._levels[1:depth]:
            around = [group for group in level if group & candidates]
            candidates &= min(around, key=lambda group: (group & region).bit_count())
        return next(part for part in equals if part & candidates)


def _levels(topology: Topology) -> tuple[_Level, ...]:
    """Return the ways in which the machine falls into groups: the whole machine first, cores last.

    Levels that tell nothing new are left out, and so are groups that would cut a core, which broken firmware reports.
    """
    cores = tuple(core.mask for core in topology.cores)
    kinds: list[Iterable[CPUSet]] = [
        (package.cpus for package in topology.packages),
        (die.cpus for die in topology.dies),
        (node.cpus for node in topology.nodes),
        (cache.cpus for cache in topology.caches if cache.level == 3),
        (cluster.cpus for cluster in topology.clusters),
        (cache.cpus for cache in topology.caches if cache.level == 2),
    ]
    found = {_completed([group.mask for group in kind], cores) for kind in kinds}
    found -= {(topology.online.mask,), cores}
    return ((topology.online.mask,), *sorted(found, key=lambda level: (len(level), level)), cores)


def _completed(groups: list[int], cores: tuple[int, ...]) -> _Level:
    """Return the *groups* that cut no core, and every core outside them as a group of its own."""
    whole = [group for group in groups if group and all(core & group in (0, core) for core in cores)]
    inside = _union(whole)
    return tuple(sorted([*whole, *(core for core in cores if not core & inside)], key=lambda group: group & -group))


def _preference(online: int, cores: tuple[int, ...], priorities: Priorities, preferred: Priority) -> _Preference:
    if preferred is Priority.NONE:
        bare = _Preference((online,), 0, ())
    else:
        above = _FALLING.index(preferred)
        order = (*_FALLING[above:], *reversed(_FALLING[:above]))
        bare = _Preference(tuple(priorities.of(priority).mask for priority in order), above, ())
    tiers: dict[tuple[int, ...], list[int]] = {}
    for core in cores:
        tiers.setdefault((*_rank(core, bare), -core.bit_count()), []).append(core)
    return attrs.evolve(bare, tiers=tuple(_Tier(-key[-1], tuple(tiers[key])) for key in sorted(tiers)))


def _rank(cpus: int, preference: _Preference) -> tuple[int, ...]:
    """Return what to sort sets of CPUs by: more of the preferred and lower classes first, then fewer better ones."""
    counts = [(cpus & members).bit_count() for members in preference.classes]
    wanted = len(counts) - preference.above
    return (*(-count for count in counts[:wanted]), *reversed(counts[wanted:]))


def _touching(groups: tuple[int, ...], cpus: int) -> int:
    return _union(group for group in groups if group & cpus) if cpus else 0


def _union(groups: Iterable[int]) -> int:
    union = 0
    for group in groups:
        union |= group
    return union


def _lowest(cpus: int, count: int) -> int:
    taken = 0
    for _ in range(count):
        bit = cpus & -cpus
        taken |= bit
        cpus ^= bit
    return taken
