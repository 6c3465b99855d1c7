"""What is moved of crirm's own accord: containers that were spread come together, within a budget."""

from __future__ import annotations

import json

import attrs
import pytest

from crirm.model.cpuset import NodeSet
from crirm.model.decision import Adjustment, Spent
from crirm.model.events import (
    ContainerRemoved,
    MoveRequested,
    PodRemoved,
    ResizeRequested,
    Synchronised,
    Timer,
    TimerExpired,
    UpdateFailed,
)
from crirm.model.qos import QoSClass
from crirm.model.record_json import from_record, to_record
from crirm.model.refusal import RefusalCode
from crirm.model.resources import LinuxResources
from crirm.model.workload import ContainerKey, PodId, TopologyHint
from crirm.policy.activation import plan
from crirm.policy.fitting import copies, wish_of
from crirm.policy.restore import Saved, revive
from crirm.policy.topology_aware.options import TopologyAwareOptions
from tests.unit.policy.nodes import N2C4, Eventful, claiming, moves_of, node
from tests.unit.policy.topology_aware.support import NS, requirements

N4C4 = "2p.2n.4c mem=8Gi"
ONE_A_MINUTE = TopologyAwareOptions(moves_per_minute="1")


def spread_one(options: TopologyAwareOptions | None = None, **about: object) -> Eventful:
    """Return a node on which ``x`` is spread, since ``a`` and ``b`` have most of each NUMA node."""
    one = node(options=options)
    one.run("a", 3000, 1)
    one.run("b", 2000, 1)
    one.run("x", 2000, 1, **about)
    assert one.nodes("x") == 2
    return one


def test_a_spread_container_comes_together_when_another_ends_and_is_told_why() -> None:
    one = spread_one()
    decision = one.end("b")
    assert (one.nodes("x"), len(one.mems("x"))) == (1, 1)
    moves = {move.what: move for move in moves_of(decision, "x")}
    assert moves.keys() == {"CPUs", "memory nodes"}
    assert moves["CPUs"].why == "all of it fits NUMA node #0 now that default/b/c has ended"
    assert moves["CPUs"].after == one.cpus("x")
    assert {trail.key for trail in decision.trails} == {"x"}
    assert decision.trails[0].notes[-1].startswith("moved: all of it fits NUMA node #0")


def test_it_is_one_move_and_its_memory_counts_as_what_it_may_use() -> None:
    one = spread_one()
    one.end("b")
    assert one.state.moved == (Spent(1000.0, 1 << 30),)


@pytest.mark.parametrize(
    ("options", "about"),
    [
        pytest.param(TopologyAwareOptions(moves_per_minute="0"), {}, id="no moves"),
        pytest.param(TopologyAwareOptions(move_bytes_per_minute="1Mi"), {}, id="more memory than the budget has"),
        pytest.param(TopologyAwareOptions(pin_cpu=False), {}, id="nothing is pinned"),
        pytest.param(None, {"annotations": {f"keep.{NS}": "cpus"}}, id="it keeps its CPUs"),
        pytest.param(None, {"annotations": {f"keep.{NS}": "memory"}}, id="it keeps its memory"),
        pytest.param(None, {"annotations": {f"keep.{NS}": "all"}}, id="it keeps all"),
    ],
)
def test_nothing_is_moved(options: TopologyAwareOptions | None, about: dict[str, object]) -> None:
    one = node(options=options)
    one.run("a", 3000, 1)
    one.run("b", 2000, 1)
    one.run("x", 2000, 1, **about)
    before = one.state.adjustments[ContainerKey("x")]
    decision = one.end("b")
    assert before == one.state.adjustments[ContainerKey("x")]
    assert (decision.moves, decision.trails) == ((), ())


def test_nothing_moves_while_it_starts_but_then() -> None:
    one = node()
    one.run("a", 3000, 1)
    one.run("b", 2000, 1)
    one.ask("x", 2000, 1)
    one.end("b")
    one.create("x")
    assert one.nodes("x") == 2
    decision = one.start("x")
    assert one.nodes("x") == 1
    assert moves_of(decision, "x")[0].why.endswith("now that default/x/c has started")


def test_nothing_moves_during_a_resize_or_after_an_update_that_failed() -> None:
    one = spread_one()
    one.do(UpdateFailed(ContainerKey("x"), "no"))
    one.end("b")
    assert one.nodes("x") == 2
    two = spread_one()
    two.do(ResizeRequested(ContainerKey("x"), LinuxResources(), requirements(QoSClass.GUARANTEED, 2000, 2)))
    two.end("b")
    assert two.nodes("x") == 2


def test_the_budget_is_of_any_minute_and_who_waits_is_moved_when_it_allows() -> None:
    one = node(N4C4, options=ONE_A_MINUTE)
    for name in ("a", "b", "c", "d"):
        one.run(name, 3000 if name != "d" else 2000, 1)
    one.run("x", 2000, 1)
    one.run("y", 2000, 1)
    assert (one.nodes("x"), one.nodes("y")) == (2, 2)
    one.end("b")
    one.end("c")
    assert sorted((one.nodes("x"), one.nodes("y"))) == [1, 2]
    ((key, timer), at_s) = next(iter(one.state.timers.items()))
    assert (timer, at_s) == (Timer.GATHER, 1060.0)
    one.now_s = 1059.9
    one.do(TimerExpired(key, timer))
    assert sorted((one.nodes("x"), one.nodes("y"))) == [1, 2]
    one.now_s = 1060.0
    decision = one.do(TimerExpired(key, timer))
    assert (one.nodes("x"), one.nodes("y")) == (1, 1)
    assert moves_of(decision, key)[0].why.endswith("now that more may be moved")
    assert not one.state.timers


def test_the_clock_may_be_set_back() -> None:
    one = spread_one(ONE_A_MINUTE)
    one.state = attrs.evolve(one.state, moved=(Spent(9999.0, 0),))
    one.end("b")
    assert one.state.moved == (Spent(1000.0, 0),)
    assert set(one.state.timers.values()) == {1060.0}


@pytest.mark.parametrize("how", ["removed", "pod", "resize", "vanished"])
def test_every_release_makes_room(how: str) -> None:
    one = spread_one()
    match how:
        case "removed":
            one.do(ContainerRemoved(ContainerKey("b")))
        case "pod":
            one.do(PodRemoved(PodId("p-b")))
        case "resize":
            one.resize("b", 1000, 1)
        case _:
            workload = one.state.workload
            rest = tuple(container for key, container in workload.containers.items() if key != "b")
            one.do(Synchronised(tuple(workload.pods.values()), rest))
    assert one.nodes("x") == 1


def test_a_restart_keeps_the_budget_and_moves_nothing_before_the_runtime_was_asked() -> None:
    one = spread_one(ONE_A_MINUTE)
    moved = (Spent(970.0, 5),)
    grants = json.loads(json.dumps(one.policy.save(one.state.policy)))
    saved = Saved(one.state.workload, grants, one.state.told, moved=from_record(tuple[Spent, ...], to_record(moved)))
    again = Eventful(one.policy)
    again.state = revive(one.policy, saved).state
    assert (again.state.moved, again.state.unsure) == (moved, True)
    again.now_s = 1031.0
    again.end("b")
    assert again.nodes("x") == 2
    workload = again.state.workload
    decision = again.do(Synchronised(tuple(workload.pods.values()), tuple(workload.containers.values())))
    assert again.nodes("x") == 1, "what made room before was not forgotten"
    assert moves_of(decision, "x")[0].why.endswith("now that the runtime has told crirm what runs")


def test_another_configuration_keeps_the_budget() -> None:
    one = spread_one()
    one.end("b")
    machine = Adjustment(one.policy.machine.topology.online, one.policy.machine.topology.memory_nodes)
    found = plan(one.policy, one.policy.save(one.state.policy), one.state, machine)
    assert (found.state.moved, found.state.unsure) == (one.state.moved, False)


# --- one move for an arrival ----------------------------------------------------------------------------------------

ONE_EACH = TopologyAwareOptions(moves_per_arrival="1")


def crowded(options: TopologyAwareOptions | None = ONE_EACH, **about: object) -> Eventful:
    """Return a node whose NUMA nodes have 2 and 2 CPUs left, where ``b`` could go to either."""
    one = node(N4C4, options=options)
    one.run("a", 2000, 1)
    one.run("b", 2000, 1, **about)
    one.run("c", 2000, 1, **about)
    one.run("d", 2000, 1, **about)
    return one


def test_one_other_moves_for_an_arrival_that_would_be_spread() -> None:
    one = crowded()
    decision = one.run("x", 4000, 1)
    assert one.nodes("x") == 1
    (moved,) = {move.key for move in decision.moves if move.what == "CPUs"}
    assert one.nodes(moved) == 1
    assert decision.trail is not None
    assert (decision.trail.key, decision.trail.notes[-1]) == ("x", f"default/{moved}/c was moved to make room")
    assert {trail.key for trail in decision.trails} == {"x", moved}
    assert moves_of(decision, moved)[0].why == "default/x/c fits one NUMA node now, which it would not otherwise"
    assert decision.cramped, "whether somebody has ended unnoticed is looked at first"


@pytest.mark.parametrize(
    ("options", "about"),
    [
        pytest.param(None, {}, id="not allowed"),
        pytest.param(attrs.evolve(ONE_EACH, moves_per_minute="0"), {}, id="no budget"),
        pytest.param(attrs.evolve(ONE_EACH, move_bytes_per_minute="5"), {}, id="too much memory"),
        pytest.param(ONE_EACH, {"annotations": {f"keep.{NS}": "all"}}, id="all others keep what they have"),
    ],
)
def test_nobody_moves_for_an_arrival(options: TopologyAwareOptions | None, about: dict[str, object]) -> None:
    one = node(N4C4, options=options)
    for name in ("a", "b", "c", "d"):
        one.run(name, 2000, 1, **about)
    one.run("x", 4000, 1)
    assert one.nodes("x") == 2
    assert not one.state.moved


@pytest.mark.parametrize(("later_s", "nodes"), [(59, 2), (61, 1)])
def test_who_asks_whether_one_fits_is_told_what_the_budget_allows_by_then(later_s: int, nodes: int) -> None:
    one = crowded(attrs.evolve(ONE_EACH, moves_per_minute="1"))
    one.run("x", 4000, 1)
    one.end("x")
    assert len(one.state.moved) == 1
    wish = wish_of({"cpu": "4", "memory": "1Gi"})
    one.run("y", 2000, 1)
    (decision,) = copies(one.policy, one.state, wish, one.now_s + later_s)
    assert decision.adjustment is not None
    assert decision.adjustment.cpus is not None
    assert len(one.policy.machine.topology.nodes_of(decision.adjustment.cpus)) == nodes


def test_nobody_moves_for_one_whose_cpus_a_dra_driver_has_chosen() -> None:
    one = node(options=ONE_EACH)
    one.run("a", 1000, 4)
    one.run("b", 3000, 1)
    assert one.cpus("b") == "1-3"
    refusal = claiming(one, "x", "1", memory=8).refusal
    assert refusal is not None
    assert refusal.code is RefusalCode.DRA_CPUS_TAKEN


def test_who_moves_keeps_the_first_of_its_cpus_as_such() -> None:
    one = spread_one()
    before = one.policy.exclusive(one.state.policy)[ContainerKey("x")]
    one.resize("x", 3000, 1)
    one.end("b")
    grant = one.state.policy.granted(ContainerKey("x"))
    assert one.nodes("x") == 1
    assert grant.first == before & grant.exclusive


def test_the_cheapest_moves() -> None:
    one = node(N4C4, options=ONE_EACH)
    for name, cost in (("a", "5"), ("b", "3"), ("c", "0.5"), ("d", "7")):
        one.run(name, 2000, 1, annotations={f"move-cost.{NS}": cost})
    decision = one.run("x", 4000, 1)
    assert {trail.key for trail in decision.trails} == {"x", "c"}


def test_who_is_on_shared_cpus_makes_room_too() -> None:
    """Node 0 has three CPUs, one of which is for ``s``; node 1 has two left."""
    one = node(N2C4, options=ONE_EACH)
    one.run("a", 2000, 1)
    one.run("s", 500, 1, qos=QoSClass.BURSTABLE)
    decision = one.run("x", 3000, 1)
    assert one.nodes("x") == 1
    assert {trail.key for trail in decision.trails} == {"x", "s"}
    assert one.nodes("s") == 1


def test_who_makes_room_is_next_to_the_device_of_the_new_one() -> None:
    """Each node has one CPU left; all containers are alike, but the three in node 1 cost more."""
    one = node(N4C4, options=ONE_EACH)
    for number in range(11):
        cost = "5" if number in {0, 4, 8} else "1"
        one.run(f"c{number}", 1000, 0.5, annotations={f"move-cost.{NS}": cost})
    device = TopologyHint("/sys/devices/x", nodes=NodeSet([1]))
    decision = one.run("x", 2000, 0.5, hints=(device,))
    assert {trail.key for trail in decision.trails} == {"x", "c0"}
    assert decision.state.adjustments[ContainerKey("x")].mems == NodeSet([1])


# --- on request -----------------------------------------------------------------------------------------------------


def test_a_requested_move_is_made_whatever_the_budget_says_and_counts_in_it() -> None:
    one = spread_one(TopologyAwareOptions(moves_per_minute="0"))
    one.end("b")
    assert one.nodes("x") == 2
    decision = one.do(MoveRequested(1 << 40))
    assert one.nodes("x") == 1
    assert moves_of(decision, "x")[0].why == "all of it fits NUMA node #0 now that a move was requested"
    assert len(one.state.moved) == 1
    assert one.do(MoveRequested(1 << 40)).moves == ()
