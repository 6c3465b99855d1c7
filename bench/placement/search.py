"""Bin packing by search: can these containers each be whole in one NUMA node, and if not, how many cannot?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

LIMIT: Final = 20_000  # nodes of the search tree; what is undecided then is told

Size = tuple[int, int]
"""Thousandths of a CPU, and bytes."""


class UndecidedError(Exception):
    """The search has reached its limit."""


def packed(sizes: Sequence[Size], rooms: Sequence[Size], left_out: int = 0, limit: int = LIMIT) -> list[int] | None:
    """Return a node for each of *sizes*, -1 for those left out; None if there is no such packing.

    Args:
        sizes: of the containers.
        rooms: of the nodes.
        left_out: how many containers at most may be without a node.
        limit: nodes of the search tree at most.

    Raises:
        UndecidedError: the limit was reached.
    """
    order = sorted(range(len(sizes)), key=lambda one: sizes[one], reverse=True)
    search = _Search([sizes[one] for one in order], limit)
    found = search.place(0, tuple(rooms), left_out)
    if found is None:
        return None
    homes = [-1] * len(sizes)
    for one, home in zip(order, found, strict=True):
        homes[one] = home
    return homes


def fewest_left_out(sizes: Sequence[Size], rooms: Sequence[Size], most: int, limit: int = LIMIT) -> int:
    """Return how many of *sizes* must be left out so that the others can be packed.

    Args:
        sizes: of the containers.
        rooms: of the nodes.
        most: a number that is enough.
        limit: as `packed`, for each number that is tried.

    Raises:
        UndecidedError: as `packed`.
    """
    return next((count for count in range(most) if packed(sizes, rooms, count, limit) is not None), most)


@attrs.define
class _Search:
    """Depth first, the largest container first, the tightest node first; states that failed are remembered."""

    sizes: list[Size]
    limit: int
    failed: set[tuple[int, int, tuple[Size, ...]]] = attrs.field(factory=set)

    def place(self, at: int, rooms: tuple[Size, ...], left_out: int) -> list[int] | None:
        """Return the nodes of the containers from *at* on."""
        if at == len(self.sizes):
            return []
        state = (at, left_out, tuple(sorted(rooms)))  # nodes with equal room are alike
        if state in self.failed:
            return None
        self.limit -= 1
        if self.limit < 0:
            raise UndecidedError
        for node in self._choices(at, rooms):
            rest = self.place(at + 1, _less(rooms, node, self.sizes[at]), left_out)
            if rest is not None:
                return [node, *rest]
        if left_out:
            rest = self.place(at + 1, rooms, left_out - 1)
            if rest is not None:
                return [-1, *rest]
        self.failed.add(state)
        return None

    def _choices(self, at: int, rooms: tuple[Size, ...]) -> list[int]:
        """Return the nodes that have room, one of those that are alike."""
        cpu, memory = self.sizes[at]
        fitting = {room: node for node, room in enumerate(rooms) if room[0] >= cpu and room[1] >= memory}
        return [fitting[room] for room in sorted(fitting)]


def _less(rooms: tuple[Size, ...], node: int, size: Size) -> tuple[Size, ...]:
    room = rooms[node]
    return (*rooms[:node], (room[0] - size[0], room[1] - size[1]), *rooms[node + 1 :])
