"""Best fit by node, without moves: the simplest way of placing that is not bad, as a measure for the policies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bench.placement.traces import Host, Item, Step


@attrs.define
class Crossed:
    """How many containers do not have all their CPUs, or all their memory, in one NUMA node."""

    cpus: int = 0
    memory: int = 0

    def plus(self, other: Crossed) -> Crossed:
        """Return both together, of different traces."""
        return Crossed(self.cpus + other.cpus, self.memory + other.memory)


@attrs.define
class _Nodes:
    host: Host
    cpus: list[int]
    memory: list[int]
    took: dict[str, list[tuple[int, int, int]]] = attrs.field(factory=dict)
    """Of each container: node, thousandths of a CPU, bytes."""

    def take(self, item: Item) -> tuple[bool, bool]:
        """Place *item* and tell whether its CPUs, and its memory, are of more than one node."""
        near = None if item.device is None else self.host.around(item.device)
        node = self._tightest(item)
        parts = [(node, item.millicpu)] if node is not None else self._pieces(item, near)
        self.took[item.name] = [(home, part, 0) for home, part in parts]
        for home, part in parts:
            self.cpus[home] -= part
        return len(parts) > 1, self._take_memory(item, [home for home, _ in parts])

    def leave(self, item: Item) -> None:
        """Return all that *item* has."""
        for node, cpu, memory in self.took.pop(item.name):
            self.cpus[node] += cpu
            self.memory[node] += memory

    def _tightest(self, item: Item) -> int | None:
        """Return the node with the least room for CPUs that has enough, and enough memory if there is such a one.

        One with a device is next to it or not whole: nearness to all devices comes before all else in crirm, too.
        """
        able = [node for node, room in enumerate(self.cpus) if _whole(room, item) >= item.millicpu]
        if item.device is not None:
            return item.device if item.device in able else None
        roomy = [node for node in able if self.memory[node] >= item.memory]
        return min(roomy or able, key=lambda node: (self.cpus[node], node), default=None)

    def _pieces(self, item: Item, near: range | None) -> list[tuple[int, int]]:
        """Return as few nodes as possible, and how much of each.

        With a device: what is next to it first, then the others of its package if it has enough.
        """
        nodes, millicpu = range(len(self.cpus)), item.millicpu
        if near is not None and sum(self.cpus[node] // 1000 * 1000 for node in near) >= millicpu:
            nodes = near
        pieces = []
        for node in sorted(nodes, key=lambda node: (node != item.device, -self.cpus[node], node)):
            part = min(self.cpus[node] // 1000 * 1000, millicpu)
            if part > 0:
                pieces.append((node, part))
                millicpu -= part
        return pieces

    def _take_memory(self, item: Item, own: list[int]) -> bool:
        """Take memory of the container's *own* nodes first; what the machine does not have is not taken."""
        left, homes = item.memory, set()
        for node in (*own, *(other for other in range(len(self.memory)) if other not in own)):
            part = min(max(self.memory[node], 0), left)
            if part:
                self.memory[node] -= part
                self.took[item.name].append((node, 0, part))
                homes.add(node)
                left -= part
        return len(homes) > 1


def best_fit(host: Host, trace: Iterable[Step]) -> Crossed:
    """Return how many exclusive containers of *trace* best fit spreads."""
    nodes = _Nodes(host, [1000 * cpus for cpus in host.cpus], [host.memory] * len(host.cpus))
    crossed = Crossed()
    for step in trace:
        if step.leaves:
            nodes.leave(step.item)
            continue
        cpus, memory = nodes.take(step.item)
        if not step.item.shared:
            crossed.cpus += cpus
            crossed.memory += memory
    return crossed


def _whole(room: int, item: Item) -> int:
    """Return how much of *room* the container can use: exclusive CPUs are whole ones."""
    return room if item.shared else room // 1000 * 1000
