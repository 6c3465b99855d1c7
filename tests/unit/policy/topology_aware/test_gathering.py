"""Moves never make anything worse, whatever has happened before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from hypothesis import given
from hypothesis import strategies as st

from crirm.model.qos import QoSClass
from crirm.model.workload import ContainerKey
from crirm.policy.api import Allowance, Limits
from crirm.policy.defragmenting import plan_moves
from crirm.policy.topology_aware.moving import Mover
from crirm.policy.topology_aware.options import TopologyAwareOptions
from tests.unit.policy.nodes import Eventful, node
from tests.unit.policy.topology_aware.invariants import check
from tests.unit.policy.topology_aware.support import NS, PATIENT

if TYPE_CHECKING:
    from crirm.policy.topology_aware.relocation import Extent

HOST = "2p.2n.4c mem=4Gi"
STILL = TopologyAwareOptions(moves_per_minute="0")
ARRIVALS = st.lists(
    st.tuples(
        st.sampled_from((500, 1000, 2000, 3000, 4000, 5000)),
        st.sampled_from((0, 0.5, 1, 3)),
        st.sampled_from((QoSClass.GUARANTEED, QoSClass.GUARANTEED, QoSClass.BURSTABLE)),
        st.sampled_from(({}, {}, {f"keep.{NS}": "all"}, {f"keep.{NS}": "memory"}, {f"move-cost.{NS}": "9"})),
    ),
    min_size=4,
    max_size=12,
)


def after(arrivals: list[tuple[int, float, QoSClass, dict[str, str]]], gone: set[int]) -> Eventful:
    """Return a node on which some came, and some of them have gone since."""
    one = node(HOST, options=STILL)
    for number, (cpu, memory, qos, noted) in enumerate(arrivals):
        if one.ask(f"c{number}", cpu, memory, qos=qos, annotations=noted, limit=memory).refusal is None:
            one.create(f"c{number}")
            one.start(f"c{number}")
    for number in sorted(gone):
        one.end(f"c{number}")
    return one


def mover(one: Eventful) -> Mover:
    return Mover(one.policy.machine, one.policy.reader, one.state.policy, one.state.workload, Allowance(9, 1 << 60))


def extents(one: Eventful) -> dict[ContainerKey, Extent]:
    moves = mover(one)
    return {key: moves.extent(one.state.policy, one.state.policy.granted(key)) for key in one.state.policy.pool_of}


@PATIENT
@given(ARRIVALS, st.sets(st.integers(0, 11)))
def test_who_moves_gains_and_nobody_loses(
    arrivals: list[tuple[int, float, QoSClass, dict[str, str]]], gone: set[int]
) -> None:
    one = after(arrivals, gone)
    while True:
        before, spread = extents(one), one.policy.spread(one.state.policy, one.state.workload)
        placement = one.policy.gather(one.state.policy, one.state.workload, Allowance(9, 1 << 60, why="a test says so"))
        if not placement.spent:
            return
        check(one.policy, placement.state)
        one.state = attrs.evolve(one.state, policy=placement.state)
        (moved,) = (trail.key for trail in placement.others)
        now = extents(one)
        assert now[moved] != before[moved]
        assert now[moved].within(before[moved])
        assert all(now[key].within(extent) for key, extent in before.items())
        assert set(one.policy.spread(one.state.policy, one.state.workload)) <= set(spread)
        changed = {move.key for move in placement.moves}
        assert changed == set(placement.changed), "who changes is told why, and nobody else"


@PATIENT
@given(ARRIVALS, st.sets(st.integers(0, 11)))
def test_a_plan_keeps_its_budget_and_ends_with_no_more_that_are_spread(
    arrivals: list[tuple[int, float, QoSClass, dict[str, str]]], gone: set[int]
) -> None:
    one = after(arrivals, gone)
    found = plan_moves(one.policy, one.state, 5, 4 << 30, 2000.0)
    assert len(found.moves) <= 5
    assert sum(move.bytes for move in found.moves) <= 4 << 30
    assert len(found.after) <= len(found.before)
    assert all(found.after.values())


@PATIENT
@given(ARRIVALS, st.sets(st.integers(0, 11)), st.sampled_from((2000, 3000, 4000)))
def test_who_makes_room_is_not_spread_further(
    arrivals: list[tuple[int, float, QoSClass, dict[str, str]]], gone: set[int], cpu: int
) -> None:
    one = after(arrivals, gone)
    before = extents(one)
    one.policy = attrs.evolve(
        one.policy, reader=attrs.evolve(one.policy.reader, options=TopologyAwareOptions(moves_per_arrival="1"))
    )
    assert one.policy.limits == Limits(6, 16 << 30, 1)
    decision = one.ask("new", cpu, 0.5)
    if decision.refusal is None and decision.state.moved:
        now = extents(one)
        assert now[ContainerKey("new")].cpus == 1
        assert all(now[key].within(extent) for key, extent in before.items())
        check(one.policy, one.state.policy)
