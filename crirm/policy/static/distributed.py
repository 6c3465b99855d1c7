"""CPUs as the kubelet takes them with ``distribute-cpus-across-numa``: evenly from the fewest NUMA nodes that can.

For one, two, three … NUMA nodes, starting with as few as could hold the request on an empty machine: the request is
divided evenly among them; what does not divide goes, a *group* at a time, to some of them. A group is one CPU, or with
``full-pcpus-only`` the threads of a core. Of all combinations that can give that, the one is taken after which the free
CPUs of the machine's nodes are most even (the least standard deviation), the first of equal ones. If there is none,
CPUs are packed.

The kubelet differs in two cases. On machines with more than four NUMA nodes it overwrites the fourth node of its best
combination while it goes on searching. And it searches for ever where some nodes have enough CPUs, but not in whole
groups, for what does not divide. This module does what KEP-2902 says.

Source: KEP-2902, and the results of the kubelet's pkg/kubelet/cm/cpumanager/cpu_assignment.go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from math import floor, inf, sqrt

import attrs

from crirm.policy.static.levels import Levels
from crirm.policy.static.packed import Taking, take_packed

MAX_NODES = 8
"""Most NUMA nodes among which CPUs can be distributed: the combinations of more cannot be tried one by one."""


@attrs.frozen
class _Division:
    """One way of dividing a request.

    Args:
        unevenness: of what is left on all nodes.
        nodes: masks of those that give CPUs.
        rest: of these, those that give what does not divide.
    """

    unevenness: float
    nodes: tuple[int, ...] = ()
    rest: tuple[int, ...] = ()


def take_distributed(levels: Levels, free: int, count: int, group: int) -> int:
    """Return the mask of *count* CPUs out of *free*, which has so many.

    Args:
        levels: the machine.
        free: mask of the CPUs to choose from.
        count: how many, 0 or more.
        group: how many CPUs are given together.
    """
    if not count or count % group:
        return take_packed(levels, free, count)
    rooms = {node: (node & free).bit_count() for node in levels.nodes_by_room(free)}
    for number in _numbers(levels, len(rooms), count, group):
        best = _Division(inf)
        for nodes in combinations(rooms, number):
            division = _division(rooms, nodes, count, group)
            if division.unevenness < best.unevenness:
                best = division
            if not best.unevenness:
                break
        if best.nodes:
            return _taken(levels, free, count, group, best)
    return take_packed(levels, free, count)


def _numbers(levels: Levels, available: int, count: int, group: int) -> range:
    """Return how many NUMA nodes are tried."""
    groups = -(-sum(node.bit_count() for node in levels.nodes) // group)
    wanted = -(-count // group)
    fewest = -(-wanted // -(-groups // len(levels.nodes)))
    return range(fewest, min(wanted, available) + 1)


def _division(rooms: Mapping[int, int], nodes: Sequence[int], count: int, group: int) -> _Division:
    """Return the best way of dividing among *nodes*, infinitely uneven where there is none."""
    each = count // len(nodes) // group * group
    if sum(rooms[node] // group for node in nodes) * group < count or any(rooms[node] < each for node in nodes):
        return _Division(inf)
    left = {node: room - each if node in nodes else room for node, room in rooms.items()}
    rest = count - each * len(nodes)
    if not rest:
        return _Division(_unevenness(left), tuple(nodes))
    able = [node for node in nodes if left[node] >= group]
    best = _Division(inf)
    for size in range(len(able), 0, -1):
        for subset in combinations(able, size):
            after = _without_rest(left, subset, rest, group)
            if after is not None and (uneven := _unevenness(after)) < best.unevenness:
                best = _Division(uneven, tuple(nodes), subset)
    return best


def _without_rest(left: Mapping[int, int], subset: Sequence[int], rest: int, group: int) -> Mapping[int, int] | None:
    """Return what is left when *subset* also gives *rest* CPUs in turn, group by group; None where it has too few."""
    after = dict(left)
    for node in _turns(after, subset, group):
        if not rest:
            break
        after[node] -= group
        rest -= group
    return None if rest else after


def _turns(left: Mapping[int, int], subset: Sequence[int], group: int) -> Iterator[int]:
    """Yield one of *subset* after the other, as long as any has a group in *left*, which the caller reduces."""
    while any(left[node] >= group for node in subset):
        for node in subset:
            if left[node] >= group:
                yield node


def _unevenness(left: Mapping[int, int]) -> float:
    """Return the standard deviation, rounded as the kubelet rounds it, to 3 places."""
    values = left.values()
    mean = _rounded(sum(values) / len(values))
    return _rounded(sqrt(sum((value - mean) ** 2 for value in values) / len(values)))


def _rounded(value: float) -> float:
    return floor(value * 1000 + 0.5) / 1000


def _taken(levels: Levels, free: int, count: int, group: int, division: _Division) -> int:
    taking = Taking(levels, free, count)
    each = count // len(division.nodes) // group * group
    for node in division.nodes:
        taking.take(take_packed(levels, node & free, each))
    left = {node: (node & taking.free).bit_count() for node in division.rest}
    for node in _turns(left, division.rest, group):
        if not taking.left:
            break
        taking.take(take_packed(levels, node & taking.free, group))
        left[node] -= group
    return taking.taken
