"""The exact bound: how many containers cannot have all their CPUs in one NUMA node, whoever places them.

Two figures enclose what can be attained:

* **at least**: after each arrival, search finds the fewest containers that must be left out so that all others can be
  packed into the nodes (`search`). Whoever places them, at least so many of those present are spread at that time, even
  if everything is repacked at every arrival. The fewest containers that explain all these times are found exactly: they
  are points that intervals must cover so many times, which the interval that ends last does best. No policy can have
  fewer, not even one that knows the future.
* **repacked**: a policy that repacks all containers at every arrival, by the same search, without knowing the future:
  the arriving one is spread only if it and all those that are not spread cannot be packed.

Shared containers are taken as fluid here: they fill what is left. That can only make the figures lower. What search did
not decide within its limit counts as packable in the first figure and as not packable in the second, and is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from bench.placement.search import LIMIT, Size, UndecidedError, fewest_left_out, packed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.placement.traces import Host, Item, Step


@attrs.define
class Bound:
    """The two figures.

    Args:
        least: containers that no policy can do without spreading.
        repacked: containers that are spread if everything is repacked at every arrival.
        undecided: searches that reached their limit.
    """

    least: int = 0
    repacked: int = 0
    undecided: int = 0

    def plus(self, other: Bound) -> Bound:
        """Return both together, of different traces."""
        least, repacked = self.least + other.least, self.repacked + other.repacked
        return Bound(least, repacked, self.undecided + other.undecided)


def bound(host: Host, trace: Sequence[Step], *, memory: bool, limit: int = LIMIT) -> Bound:
    """Return the bound of *trace*.

    Args:
        host: to place on.
        trace: the containers.
        memory: whether a container is whole only if its memory is in the node of its CPUs.
        limit: nodes of each search at most.
    """
    return _Repacking(host, trace, memory, limit).play()


@attrs.define
class _Repacking:
    host: Host
    trace: Sequence[Step]
    memory: bool
    limit: int
    homes: dict[str, int] = attrs.field(factory=dict)
    """The node of each container that is not spread."""
    spread: set[str] = attrs.field(factory=set)
    present: dict[str, Item] = attrs.field(factory=dict)
    found: Bound = attrs.field(factory=Bound)

    def play(self) -> Bound:
        needed: list[tuple[int, int]] = []
        for at, step in enumerate(self.trace):
            name = step.item.name
            if step.item.shared:
                continue
            if step.leaves:
                self.present.pop(name)
                self.homes.pop(name, None)
                self.spread.discard(name)
                continue
            self.present[name] = step.item
            self._arrive(name)
            if self.spread:
                needed.append((at, self._fewest()))
        self.found.least = _least(self.trace, needed)
        return self.found

    def _arrive(self, name: str) -> None:
        if not self._whole(name):
            self.found.repacked += 1
            self.spread.add(name)
        for other in sorted(self.spread - {name}):
            if self._whole(other):
                self.spread.discard(other)

    def _whole(self, name: str) -> bool:
        """Tell whether *name* can be whole, with those that are; then they are placed so."""
        rooms = self._rooms()
        size = self._size(self.present[name])
        able = [node for node, room in enumerate(rooms) if room[0] >= size[0] and room[1] >= size[1]]
        if able:
            self.homes[name] = min(able, key=lambda node: rooms[node])
            return True
        names = [*self.homes, name]
        try:
            homes = packed([self._size(self.present[one]) for one in names], self._empty(), limit=self.limit)
        except UndecidedError:
            self.found.undecided += 1
            return False
        if homes is not None:
            self.homes = dict(zip(names, homes, strict=True))
        return homes is not None

    def _fewest(self) -> int:
        sizes = [self._size(item) for item in self.present.values()]
        try:
            return fewest_left_out(sizes, self._empty(), len(self.spread), self.limit)
        except UndecidedError:
            self.found.undecided += 1
            return 0

    def _size(self, item: Item) -> Size:
        return item.millicpu, item.memory if self.memory else 0

    def _empty(self) -> list[Size]:
        return [(1000 * cpus, self.host.memory if self.memory else 0) for cpus in self.host.cpus]

    def _rooms(self) -> list[Size]:
        rooms = self._empty()
        for name, node in self.homes.items():
            cpu, memory = self._size(self.present[name])
            rooms[node] = (rooms[node][0] - cpu, rooms[node][1] - memory)
        return rooms


def _least(trace: Sequence[Step], needed: Sequence[tuple[int, int]]) -> int:
    """Return the size of the smallest set of containers of which, at each time, so many are present."""
    ends = {step.item.name: at for at, step in enumerate(trace) if step.leaves}
    starts = {step.item.name: at for at, step in enumerate(trace) if not step.leaves and not step.item.shared}
    chosen: set[str] = set()
    for at, count in needed:  # in the order of time
        there = [name for name, start in starts.items() if start <= at < ends.get(name, len(trace))]
        missing = count - sum(name in chosen for name in there)
        able = sorted((name for name in there if name not in chosen), key=lambda name: -ends.get(name, len(trace)))
        chosen |= set(able[: max(missing, 0)])
    return len(chosen)
