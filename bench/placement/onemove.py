"""Best fit with one move for an arrival, and spread containers coming together: what moves can do, without a budget.

Only CPUs count. For an arrival that no node can take whole, every other container is tried: it leaves, the new one
takes a node in which it had CPUs, and it goes whole to the tightest node. The smallest for which that works is moved.
When one leaves, spread containers become whole as long as one can. One with a device is whole next to it only, as in
`bestfit`. A policy also has memory and a budget to think of, so it is good if it comes near.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.placement.traces import Host, Item, Step

Parts = dict[int, int]
"""Thousandths of a CPU by node."""


@attrs.define
class Moved:
    """How many exclusive containers were spread, and how many others were moved, at arrivals and departures."""

    cpus: int = 0
    moves: int = 0

    def plus(self, other: Moved) -> Moved:
        """Return both together, of different traces."""
        return Moved(self.cpus + other.cpus, self.moves + other.moves)


@attrs.define
class _Nodes:
    rooms: list[int]
    has: dict[str, Parts] = attrs.field(factory=dict)
    items: dict[str, Item] = attrs.field(factory=dict)
    moves: int = 0

    def arrive(self, item: Item) -> bool:
        """Place *item*, and tell whether it is spread."""
        node = _tightest(self.rooms, item)
        if node is None and (swap := self._swap(item)) is not None:
            other, node, target = swap
            self._leave(other)
            self._put(item, {node: item.millicpu})
            self._put(other, {target: other.millicpu})
            self.moves += 1
            return False
        self._put(item, {node: item.millicpu} if node is not None else self._pieces(item))
        return node is None

    def leave(self, item: Item) -> None:
        """Have *item* leave, and spread ones come together."""
        self._leave(item)
        while (found := self._gathered()) is not None:
            other, node = found
            self._leave(other)
            self._put(other, {node: other.millicpu})
            self.moves += 1

    def _put(self, item: Item, parts: Parts) -> None:
        self.items[item.name], self.has[item.name] = item, parts
        for node, part in parts.items():
            self.rooms[node] -= part

    def _leave(self, item: Item) -> None:
        del self.items[item.name]
        for node, part in self.has.pop(item.name).items():
            self.rooms[node] += part

    def _without(self, name: str) -> list[int]:
        return [room + self.has[name].get(node, 0) for node, room in enumerate(self.rooms)]

    def _swap(self, item: Item) -> tuple[Item, int, int] | None:
        """Return who is to move, the node for *item*, and the node for the other."""
        for other in sorted(self.items.values(), key=lambda one: (one.millicpu, one.name)):
            rooms = self._without(other.name)
            for node in self.has[other.name]:
                if not _able(rooms, node, item):
                    continue
                left = [room - item.millicpu * (at == node) for at, room in enumerate(rooms)]
                target = _tightest(left, other)
                if target is not None:
                    return other, node, target
        return None

    def _gathered(self) -> tuple[Item, int] | None:
        for name, parts in self.has.items():
            if len(parts) > 1 and (node := _tightest(self._without(name), self.items[name])) is not None:
                return self.items[name], node
        return None

    def _pieces(self, item: Item) -> Parts:
        parts, left = {}, item.millicpu
        for node in sorted(range(len(self.rooms)), key=lambda node: (node != item.device, -self.rooms[node], node)):
            part = min(self.rooms[node] // 1000 * 1000, left)
            if part > 0:
                parts[node] = part
                left -= part
        return parts


def one_move(host: Host, trace: Iterable[Step]) -> Moved:
    """Return how many exclusive containers of *trace* are spread, and how many moves it takes."""
    nodes = _Nodes([1000 * cpus for cpus in host.cpus])
    crossed = 0
    for step in trace:
        if step.leaves:
            nodes.leave(step.item)
        else:
            crossed += nodes.arrive(step.item) and not step.item.shared
    return Moved(crossed, nodes.moves)


def _usable(room: int, item: Item) -> int:
    return room if item.shared else room // 1000 * 1000


def _able(rooms: list[int], node: int, item: Item) -> bool:
    return item.device in {None, node} and _usable(rooms[node], item) >= item.millicpu


def _tightest(rooms: list[int], item: Item) -> int | None:
    able = [node for node in range(len(rooms)) if _able(rooms, node, item)]
    return min(able, key=lambda node: (rooms[node], node), default=None)
