from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.topology import MemoryKind
from crirm.policy.partition import Partition
from crirm.policy.topology_aware.memory_sets import MemorySets
from crirm.policy.topology_aware.pools import build_pools
from crirm.policy.topology_aware.protection import Claim, Home, needs, room, settle, shortage, unmet, uses
from tests.unit.policy.topology_aware.invariants import largest_flow
from tests.unit.policy.topology_aware.support import PATIENT

if TYPE_CHECKING:
    from crirm.policy.topology_aware.memory_sets import Kinds

GIB = 1 << 30
TWO_LEAVES = "1p.2n.1c mem=2Gi"
TIERS = "2p.1c mem=4Gi pmem=8Gi@0 pmem=8Gi@1"
PMEM = frozenset({MemoryKind.PMEM})
DRAM = frozenset({MemoryKind.DRAM})


def sets_of(host: str) -> MemorySets:
    topology = topology_of(parse_spec(host))
    return MemorySets(topology, build_pools(topology, Partition(topology.online, CPUSet(), CPUSet())))


def claim(need: float, use: float | None = None) -> Claim:
    return Claim(round(need * GIB), round((need if use is None else use) * GIB), 1)


# In TWO_LEAVES, pools 0 and 1 are the leaves, 2 is the root; in TIERS, 0 and 1 are the packages, 2 is the root.
@pytest.mark.parametrize(
    ("host", "claims", "lifted"),
    [
        pytest.param(TWO_LEAVES, {(0, None): claim(1), (1, None): claim(0.5)}, {}, id="what fits stays"),
        pytest.param(
            TWO_LEAVES,
            {(0, None): claim(1), (1, None): claim(0.5), (2, None): claim(1.5)},
            {(0, None): 1, (1, None): 1},
            id="a newcomer above lifts one leaf, and with what is lifted the other is at risk too",
        ),
        pytest.param(
            TWO_LEAVES,
            {(0, None): claim(1), (1, None): claim(0.5), (2, None): claim(1)},
            {},
            id="a newcomer above that fits into every leaf moves nobody",
        ),
        pytest.param(
            TWO_LEAVES,
            {(0, None): claim(0.25, 1.5), (1, None): claim(0.5), (2, None): claim(0.25, 1)},
            {(0, None): 1, (1, None): 1},
            id="what may be used counts, not what was promised",
        ),
        pytest.param(TWO_LEAVES, {(2, None): claim(3, 9)}, {}, id="nobody is lifted above the last resort"),
        pytest.param(
            TIERS, {(0, PMEM): claim(8), (0, DRAM): claim(4), (1, DRAM): claim(4)}, {}, id="kinds are kept apart"
        ),
        pytest.param(
            TIERS, {(0, None): claim(6), (0, DRAM): claim(3)}, {(0, DRAM): 1}, id="overlapping sets threaten each other"
        ),
        pytest.param(TIERS, {(0, PMEM): claim(9)}, {(0, PMEM): 1}, id="kinds are lifted within the kind"),
        pytest.param(
            "2p.1c mem=4Gi hbm=2Gi@0",
            {(0, None): claim(5), (1, None): claim(4)},
            {(0, None): 2, (1, None): 2},
            id="where nobody named a kind, HBM is the last resort",
        ),
    ],
)
def test_settle(host: str, claims: dict[Home, Claim], lifted: dict[Home, int]) -> None:
    assert lifted == settle(sets_of(host), claims)


def test_who_was_lifted_comes_down_when_the_pressure_ends() -> None:
    sets = sets_of(TWO_LEAVES)
    claims: dict[Home, Claim] = {(0, None): claim(1), (1, None): claim(0.5)}
    assert settle(sets, {**claims, (2, None): claim(1.5)})
    assert settle(sets, claims) == {}


@pytest.mark.parametrize(
    ("host", "claims", "missing"),
    [
        pytest.param(TWO_LEAVES, {(0, None): claim(4)}, 0, id="all of the machine can be promised"),
        pytest.param(TWO_LEAVES, {(0, None): claim(3), (1, None): claim(2)}, 1, id="but no more"),
        pytest.param(TWO_LEAVES, {(0, None): claim(1, 9)}, 0, id="limits are no promises"),
        pytest.param(TIERS, {(0, PMEM): claim(17)}, 1, id="one kind has run out"),
        pytest.param(
            TIERS,
            {(0, PMEM): claim(10), (1, DRAM): claim(6), (2, PMEM | DRAM): claim(9)},
            1,
            id="kinds that are not short alone are short together",
        ),
        pytest.param(
            TIERS, {(0, PMEM): claim(10), (2, PMEM | DRAM): claim(14)}, 0, id="who may use both leaves the rest"
        ),
    ],
)
def test_shortage(host: str, claims: dict[Home, Claim], missing: int) -> None:
    assert missing * GIB == shortage(sets_of(host), claims)


def test_room() -> None:
    sets = sets_of(TWO_LEAVES)
    claims: dict[Home, Claim] = {(0, None): claim(0.5, 1), (2, None): claim(0.25, 0.75)}
    for loads, left in ((uses(sets, claims, {}), 0.25), (needs(sets, claims, {}), 1.25)):
        assert left * GIB == room(sets, sets.chain(0, None)[0], loads)
        assert (left + (1 if left < 1 else 0.5)) * GIB == room(sets, sets.chain(1, None)[0], loads)


KINDS = st.sampled_from((None, PMEM, DRAM, PMEM | DRAM, frozenset({MemoryKind.HBM})))
HOST = "2p.2n.1c mem=4Gi pmem=8Gi@0 pmem=8Gi@3 hbm=2Gi@1"


@st.composite
def claims_of(draw: st.DrawFn) -> dict[Home, Claim]:
    sets = sets_of(HOST)
    claims: dict[Home, Claim] = {}
    for pool, kinds in draw(st.lists(st.tuples(st.integers(0, 6), KINDS), max_size=8, unique=True)):
        need, more = draw(st.integers(0, 5)), draw(st.integers(0, 3))
        if sets.chain(pool, kinds) and need + more:
            claims[pool, kinds] = claim(need, need + more)
    return claims


def _one_by_one(sets: MemorySets, claims: dict[Home, Claim], order: list[Home]) -> dict[Home, int]:
    """Lift one home at a time, whichever comes first in *order*."""
    level: dict[Home, int] = dict.fromkeys(claims, 0)

    def nodes(home: Home) -> int:
        return sets.chain(*home)[level[home]]

    def at_risk(home: Home) -> bool:
        landing = sum(other.use for place, other in claims.items() if nodes(place) & nodes(home))
        return landing > sets.capacity(nodes(home)) and level[home] + 1 < len(sets.chain(*home))

    while True:
        home = next((home for home in order if at_risk(home)), None)
        if home is None:
            return {home: at for home, at in level.items() if at}
        level[home] += 1


@PATIENT
@given(claims=claims_of(), data=st.data())
def test_the_order_of_lifting_does_not_matter(claims: dict[Home, Claim], data: st.DataObject) -> None:
    sets = sets_of(HOST)
    order = data.draw(st.permutations(sorted(claims, key=repr)))
    assert settle(sets, claims) == _one_by_one(sets, claims, list(order))


@PATIENT
@given(claims=claims_of())
def test_a_shortage_is_exactly_what_cannot_be_met(claims: dict[Home, Claim]) -> None:
    sets, topology = sets_of(HOST), topology_of(parse_spec(HOST))
    demands: dict[NodeSet, int] = {}
    for home, one in claims.items():
        last = NodeSet.from_mask(sets.chain(*home)[-1])
        demands[last] = demands.get(last, 0) + one.need
    met = largest_flow(demands, {node.id: node.memory for node in topology.nodes})
    assert max(shortage(sets, claims), 0) == sum(demands.values()) - met


def test_nobody_claims_nothing() -> None:
    kinds: Kinds = None
    sets = sets_of(TWO_LEAVES)
    assert settle(sets, {}) == {}
    assert shortage(sets, {}) == 0
    assert room(sets, sets.chain(0, kinds)[0], {}) == 2 * GIB


@given(
    st.dictionaries(st.integers(1, 31), st.integers(0, 9), max_size=6),
    st.lists(st.integers(0, 9), min_size=5, max_size=5),
)
def test_what_cannot_be_had_is_what_the_worst_union_of_sets_lacks(loads: dict[int, int], sizes: list[int]) -> None:
    def capacity(nodes: int) -> int:
        return sum(size for node, size in enumerate(sizes) if nodes >> node & 1)

    unions = {0}
    for nodes in loads:
        unions |= {nodes | other for other in unions}
    lacks = [sum(load for nodes, load in loads.items() if not nodes & ~union) - capacity(union) for union in unions]
    assert unmet(loads, capacity) == max(lacks)


def test_many_node_sets_are_no_more_work_than_few() -> None:
    looked_at = list[int]()

    def capacity(nodes: int) -> int:
        looked_at.append(nodes)
        return 10 * nodes.bit_count()

    single = {1 << node: 9 for node in range(32)}
    assert unmet({**single, (1 << 32) - 1: 40}, capacity) == 32 * 9 + 40 - 320
    assert len(looked_at) == 32
