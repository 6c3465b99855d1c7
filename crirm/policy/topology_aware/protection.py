"""Requested memory stays available: which nodes containers may use, so that none takes what another was guaranteed.

The kernel takes memory from the nearest node that a container may use, and moves nothing away when another container
needs it. So a container that is confined to a few nodes is safe only if everything that *may* land on them fits on
them. That is the rule kept here:

    the uses of all containers whose node set overlaps the set S add up to no more than the memory of S,
    for every set S that a container is confined to.

Containers start at the own nodes of their place (see `memory_sets`, and `homes` for what it is). While a set breaks the
rule, the containers confined to it are *lifted*: they may use the next set of their chain. Lifting only ever adds to
what may land elsewhere, so the outcome does not depend on the order, nor on history: it follows from who is there, and
where everybody's place is. Hence a container comes down again by itself when the pressure ends.

The last set of a chain is not bound by the rule, since a container there is not confined by crirm. There it must only
be possible for everybody to have what the scheduler has promised, which is checked before anybody is let in: for every
union of last sets, the needs confined to it add up to no more than its memory (Hall's condition). Both rules together
make it hold for every union of all sets in use.

A container's *need* is what it was promised, its *use* what it may come to use: for a Burstable container its request
and its limit, for a Guaranteed one the limit twice. Who may use nothing (BestEffort) takes no part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import or_

import attrs

from crirm.policy.topology_aware.memory_sets import Kinds, MemorySets, Place

Home = tuple[Place, Kinds]
"""Where containers belong as for their memory: the place, and the kinds they may use."""


@attrs.frozen
class Claim:
    """What the containers of one home may come to, together.

    Args:
        need: bytes they were promised.
        use: bytes they may use.
        count: how many they are.
    """

    need: int = 0
    use: int = 0
    count: int = 0

    def plus(self, need: int, use: int, count: int = 1) -> Claim:
        """Return the claim with that much more."""
        return Claim(self.need + need, self.use + use, self.count + count)


Claims = Mapping[Home, Claim]
Lifted = Mapping[Home, int]
"""How many steps of their chain the containers of a home were lifted; who was not is not in it."""


def settle(sets: MemorySets, claims: Claims) -> Lifted:
    """Return the least lifting under which the rule holds."""
    chains = {home: sets.chain(*home) for home in claims}
    use = {home: claim.use for home, claim in claims.items()}
    level = dict.fromkeys(claims, 0)
    while True:
        loads = _loads({home: chains[home][level[home]] for home in claims}, use)
        over = {nodes for nodes in loads if _landing(nodes, loads) > sets.capacity(nodes)}
        lifted = [home for home, at in level.items() if at + 1 < len(chains[home]) and chains[home][at] in over]
        if not lifted:
            return {home: at for home, at in level.items() if at}
        for home in lifted:
            level[home] += 1


def uses(sets: MemorySets, claims: Claims, lifted: Lifted) -> Mapping[int, int]:
    """Return the bytes that may be used by the containers of every node set in use."""
    return _loads(_places(sets, claims, lifted), {home: claim.use for home, claim in claims.items()})


def needs(sets: MemorySets, claims: Claims, lifted: Lifted) -> Mapping[int, int]:
    """Return the bytes that were promised to the containers of every node set in use."""
    return _loads(_places(sets, claims, lifted), {home: claim.need for home, claim in claims.items()})


def room(sets: MemorySets, nodes: int, loads: Mapping[int, int]) -> int:
    """Return how many bytes of *nodes* are left after *loads*, wherever those may land; negative if there are none."""
    return sets.capacity(nodes) - _landing(nodes, loads)


def shortage(sets: MemorySets, claims: Claims) -> int:
    """Return by how many bytes the needs exceed the memory, at the worst place; 0 or less when all can be met."""
    last = {home: sets.chain(*home)[-1] for home in claims}
    return unmet(_loads(last, {home: claim.need for home, claim in claims.items()}), sets.capacity)


def unmet(loads: Mapping[int, int], capacity: Callable[[int], int]) -> int:
    """Return how much of *loads* on node sets cannot be had, however it is spread over their nodes.

    That is by how much the loads within the worst union of sets exceed its capacity; there may be too many unions to
    look at each, so it is found as a maximum flow, with augmenting paths.
    """
    left = {node: capacity(node) for node in _nodes(reduce(or_, loads, 0))}
    has: dict[int, dict[int, int]] = {node: {} for node in left}
    rest = 0
    for nodes, load in sorted(loads.items(), key=lambda one: (one[0].bit_count(), one[0])):
        while load > 0 and (way := _way(nodes, left, has)):
            most = min(load, left[way[-1][1]], *(has[source][group] for group, _, source in way if source))
            for group, node, source in way:
                has[node][group] = has[node].get(group, 0) + most
                if source:
                    has[source][group] -= most
            left[way[-1][1]] -= most
            load -= most  # noqa: PLW2901 - what is left of it
        rest += load
    return rest


def _way(nodes: int, left: Mapping[int, int], has: Mapping[int, Mapping[int, int]]) -> list[tuple[int, int, int]]:
    """Return how one of *nodes* can take more: who goes to which node, from which one (0: from none)."""
    came = {node: (nodes, node, 0) for node in _nodes(nodes)}
    queue = list(came)
    for node in queue:
        if left[node] > 0:
            way = [came[node]]
            while way[-1][2]:
                way.append(came[way[-1][2]])
            return way[::-1]
        for group, amount in has[node].items():
            for other in _nodes(group) if amount else ():
                if other not in came:
                    came[other] = (group, other, node)
                    queue.append(other)
    return []


def _nodes(mask: int) -> Iterator[int]:
    """Yield the nodes of a mask, as masks."""
    while mask:
        node = mask & -mask
        yield node
        mask ^= node


def _places(sets: MemorySets, claims: Claims, lifted: Lifted) -> Mapping[Home, int]:
    return {home: sets.chain(*home)[lifted.get(home, 0)] for home in claims}


def _loads(places: Mapping[Home, int], amounts: Mapping[Home, int]) -> dict[int, int]:
    loads: dict[int, int] = {}
    for home, nodes in places.items():
        loads[nodes] = loads.get(nodes, 0) + amounts[home]
    return loads


def _landing(nodes: int, loads: Mapping[int, int]) -> int:
    return sum([load for other, load in loads.items() if other & nodes])
