"""Which nodes a container gets its CPUs from whose pool holds several.

The pool holds several places (see `pools`), called nodes here since they are NUMA nodes as a rule. The container gets
CPUs of as few of them as possible. If one has enough, as where only its memory is short, that is one with room for the
memory that the container may use, else the one with the fewest CPUs to spare. Of several choices of two nodes or more
it gets, by the first rule under which they differ,

1. one whose nodes have room for the memory that it may use,
2. the one with CPUs in the fewest larger pools (packages, dies),
3. the one that leaves the largest rooms in single nodes, so that others fit there,
4. the one with the lowest numbers.

All but the last of its nodes are emptied as far as they can be, the one with most to spare first: so most of its CPUs
are of one node, and what is left over stays in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from math import comb
from typing import Final

import attrs

from crirm.policy.topology_aware.pools import Pool, is_place

Shares = tuple[tuple[int, int], ...]
"""Numbers of nodes with how many CPUs to take there."""

_TRIED: Final = 2000
"""Choices that are compared; where there are more, the nodes with most to spare are combined."""

_ROOMS: Final = 64
"""Choices of which the memory is looked at."""


@attrs.frozen(eq=False)
class Crossing:
    """What a pool can give, in nodes.

    Args:
        pools: all, by number.
        pool: the number of the one that the container is in.
        spare: by number, how many CPUs each pool can spare as far as it and those below are concerned.
    """

    pools: Sequence[Pool]
    pool: int
    spare: Sequence[int]

    def shares(self, count: int, roomy: Callable[[Iterable[int]], bool] | None = None) -> Shares:
        """Return what to take from which nodes, empty where *count* CPUs cannot be had from nodes.

        Args:
            count: how many CPUs are wanted.
            roomy: tells whether some nodes have room for all memory that the container may use.
        """
        nodes = sorted(self._nodes(), key=lambda node: (-self.spare[node], node))
        if not nodes:
            return ()
        if whole := [((node, count),) for node in nodes if self.spare[node] >= count]:
            return self._roomy(sorted(whole, key=lambda shares: (self.spare[shares[0][0]], shares)), roomy)
        tried = 0
        for size in range(2, len(nodes) + 1):
            if sum(self.spare[node] for node in nodes[:size]) < count:
                continue
            tried += comb(len(nodes), size)
            if tried > _TRIED:
                return self._filled(nodes, count)
            found = [shares for some in combinations(nodes, size) if (shares := self._filled(some, count))]
            if found:
                return self._roomy(sorted(found, key=self._order), roomy)
        return ()

    def _nodes(self) -> list[int]:
        below = range(self.pools[self.pool].first, self.pool)
        return [number for number in below if self.spare[number] > 0 and is_place(self.pools, number)]

    def _filled(self, nodes: Iterable[int], count: int) -> Shares:
        """Return *count* CPUs of *nodes*, the first of them first; empty where they have fewer to spare."""
        shares: list[tuple[int, int]] = []
        left = {number: self.spare[number] for number in range(self.pools[self.pool].first, self.pool + 1)}
        for node in nodes:
            around = self.pools[node].ancestors
            inner = around[: around.index(self.pool) + 1]
            part = min(count, *(left[number] for number in inner))
            if part > 0:
                shares.append((node, part))
                count -= part
                for number in inner:
                    left[number] -= part
        return () if count else tuple(shares)

    def _roomy(self, found: Sequence[Shares], roomy: Callable[[Iterable[int]], bool] | None) -> Shares:
        """Return the first choice of *found* with room for the memory, else the first one."""
        if roomy is not None:
            for shares in found[:_ROOMS]:
                if roomy([node for node, _ in shares]):
                    return shares
        return found[0]

    def _order(self, shares: Shares) -> tuple[int, list[int], list[int]]:
        around = {number for node, _ in shares for number in self.pools[node].ancestors}
        taken = dict(shares)
        rooms = sorted(taken.get(node, 0) - self.spare[node] for node in self._nodes())
        return len(around), rooms, sorted(taken)
