from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.model.cpuset import CPUSet
from crirm.model.qos import QoSClass
from crirm.model.refusal import RefusalCode, RefusalReason, RefusedError
from crirm.model.workload import ContainerKey
from tests.unit.policy.static.support import Node

if TYPE_CHECKING:
    from crirm.model.trail import Trail
    from crirm.policy.api import Placement


PREFER = "prefer-isolated-cpus.cri-resource-manager.intel.com"
LEGACY = "cri-resource-manager.intel.com/prefer-isolated-cpus"
SHARED = "0-3,6-9"


def trail_of(placement: Placement) -> Trail:
    assert placement.trail is not None
    return placement.trail


@pytest.mark.parametrize(
    ("millicpu", "qos", "annotations", "relaxed", "cpus"),
    [
        pytest.param(500, QoSClass.GUARANTEED, {}, False, SHARED, id="part of a CPU"),
        pytest.param(1500, QoSClass.GUARANTEED, {}, False, SHARED, id="no whole number of CPUs"),
        pytest.param(0, QoSClass.GUARANTEED, {}, False, SHARED, id="no request"),
        pytest.param(2000, QoSClass.BURSTABLE, {}, False, SHARED, id="Burstable"),
        pytest.param(0, QoSClass.BEST_EFFORT, {}, False, SHARED, id="BestEffort"),
        pytest.param(2000, QoSClass.GUARANTEED, {}, False, "1,7", id="exclusive CPUs, not the reserved one"),
        pytest.param(3000, QoSClass.GUARANTEED, {}, False, "1,6-7", id="the last one from the reserved core"),
        pytest.param(1000, QoSClass.GUARANTEED, {}, False, "4", id="a single CPU is an isolated one"),
        pytest.param(1000, QoSClass.GUARANTEED, {PREFER: "false"}, False, "6", id="unless the pod does not want that"),
        pytest.param(
            2000, QoSClass.GUARANTEED, {PREFER: "true"}, False, "4,10", id="isolated ones for a pod that asks"
        ),
        pytest.param(2000, QoSClass.GUARANTEED, {f"{PREFER}/container.c": "true"}, False, "4,10", id="in any scope"),
        pytest.param(2000, QoSClass.GUARANTEED, {LEGACY: "true"}, False, "4,10", id="in the legacy form"),
        pytest.param(2000, QoSClass.GUARANTEED, {}, True, "4,10", id="isolated ones for all by the option"),
        pytest.param(2000, QoSClass.GUARANTEED, {PREFER: "false"}, True, "1,7", id="but for a pod that declines"),
        pytest.param(5000, QoSClass.GUARANTEED, {}, True, "1-2,6-8", id="ordinary ones where the isolated are too few"),
        pytest.param(8000, QoSClass.GUARANTEED, {}, False, "1-4,7-10", id="both kinds where neither suffices"),
    ],
)
def test_allocation(millicpu: int, qos: QoSClass, annotations: dict[str, str], relaxed: bool, cpus: str) -> None:
    node = Node(relaxed=relaxed)
    node.add("a", millicpu, qos, annotations)
    assert node.cpus == {"a": cpus}


def test_shared_cpus_shrink_and_grow_for_all_who_share() -> None:
    node = Node()
    node.add("shared", 100, QoSClass.BURSTABLE)
    node.add("other", 1500)
    taking = node.add("a", 2000)
    assert node.cpus == {"shared": "0,2-3,6,8-9", "other": "0,2-3,6,8-9", "a": "1,7"}
    node.add("late", 0, QoSClass.BEST_EFFORT)
    assert node.cpus["late"] == "0,2-3,6,8-9"
    giving = node.remove("a")
    assert node.cpus == {"shared": SHARED, "other": SHARED, "late": SHARED}
    assert set(taking.changed) == {"a", "shared", "other"}
    assert set(giving.changed) == {"shared", "other", "late"}


def test_isolated_cpus_change_nothing_for_those_who_share() -> None:
    node = Node()
    node.add("shared", 100, QoSClass.BURSTABLE)
    assert set(node.add("a", 1000).changed) == {"a"}
    assert set(node.remove("a").changed) == set()


def test_reserved_cpus_stay_shared_when_all_others_are_taken() -> None:
    node = Node()
    node.add("a", 11000)
    node.add("shared", 0, QoSClass.BEST_EFFORT)
    assert node.cpus == {"a": "1-11", "shared": "0"}


@pytest.mark.parametrize(
    ("before", "after", "cpus"),
    [
        pytest.param(4000, 2000, "1,7", id="fewer: some of the own ones"),
        pytest.param(2000, 4000, "1-2,7-8", id="more: beside the own ones"),
        pytest.param(2000, 2000, "1,7", id="as many: the own ones"),
        pytest.param(2000, 1500, SHARED, id="no whole number any more: shared ones"),
        pytest.param(1500, 2000, "1,7", id="a whole number now: exclusive ones"),
        pytest.param(1500, 700, SHARED, id="shared stays shared"),
        pytest.param(1000, 3000, "4-5,10", id="isolated stays isolated"),
        pytest.param(1000, 5000, "1-2,6-8", id="isolated moves when it outgrows what is isolated"),
        pytest.param(4000, 9000, "1-4,6-10", id="ordinary moves when it outgrows what is ordinary"),
        pytest.param(8000, 9000, "1-4,6-10", id="both kinds stay both"),
        pytest.param(8000, 3000, "1-2,7", id="fewer of both kinds"),
    ],
)
def test_resize(before: int, after: int, cpus: str) -> None:
    node = Node()
    node.add("a", before)
    node.resize("a", after)
    assert node.cpus == {"a": cpus}
    node.remove("a")
    assert node.state == node.policy.initial()


def test_a_resize_changes_the_shared_cpus() -> None:
    node = Node()
    node.add("shared", 100, QoSClass.BURSTABLE)
    node.add("a", 2000)
    node.resize("a", 4000)
    assert node.cpus["shared"] == "0,3,6,9"
    node.resize("a", 1500)
    assert node.cpus == {"shared": SHARED, "a": SHARED}


def test_a_refused_resize_changes_nothing() -> None:
    node = Node()
    node.add("a", 2000)
    before = node.state
    with pytest.raises(RefusedError) as caught:
        node.resize("a", 12000)
    assert caught.value.reason is RefusalReason.NO_ROOM
    assert node.state is before


def test_a_refused_resize_says_by_how_much_it_does_not_fit() -> None:
    node = Node()
    node.add("a", 2000)
    with pytest.raises(RefusedError, match="with what the container has, 1 too few for this resize"):
        node.resize("a", 12000)


def test_the_first_cpus_are_the_last_to_be_given_back_and_survive_a_restart() -> None:
    node = Node()
    node.add("a", 2000)
    node.resize("a", 6000)
    node.resize("a", 3000)
    assert {1, 7} < set(CPUSet.parse(node.cpus["a"]))
    saved = node.policy.save(node.state)
    assert saved[ContainerKey("a")] == {"cpus": node.cpus["a"], "first": "1,7"}
    assert node.policy.restore(saved, node.workload).state == node.state
    node.resize("a", 2000)
    assert node.cpus == {"a": "1,7"}


@pytest.mark.parametrize(
    "saved", [{"cpus": "1"}, {"cpus": 1, "first": "1"}, {"first": "1"}, {"cpus": "x", "first": ""}]
)
def test_a_damaged_pair_of_cpus_is_dropped(saved: object) -> None:
    node = Node()
    assert node.policy.restore({ContainerKey("a"): saved}, node.workload).dropped == {"a": "saved grant is unreadable"}


def test_a_container_without_a_grant_gets_one_by_a_resize() -> None:
    node = Node()
    node.add("a", 2000)
    node.remove("a")
    node.resize("a", 1000)
    assert node.cpus == {"a": "4"}


def test_refusal() -> None:
    node = Node()
    node.add("a", 8000)
    with pytest.raises(RefusedError) as caught:
        node.add("b", 4000)
    assert (caught.value.code, caught.value.reason) == (RefusalCode.TOO_FEW_EXCLUSIVE_CPUS, RefusalReason.NO_ROOM)
    assert (
        caught.value.message == "default/pod-b/c wants 4 exclusive CPUs, but only 3 are free (1 ordinary, 2 isolated); "
        "reserved CPUs always stay shared"
    )


def test_a_wrong_annotation_is_refused() -> None:
    with pytest.raises(RefusedError, match="'maybe' is not a boolean") as caught:
        Node().add("a", 2000, QoSClass.BURSTABLE, {PREFER: "maybe"})
    assert caught.value.reason is RefusalReason.BAD_REQUEST


def test_unknown_containers_have_nothing_to_release() -> None:
    node = Node()
    placement = node.policy.release(node.state, node.workload, ContainerKey("nobody"))
    assert placement.state is node.state
    assert not placement.changed


def test_available_cpus_bound_everything() -> None:
    node = Node(available="0-1,4,6-7,10")
    node.add("shared", 100, QoSClass.BURSTABLE)
    node.add("a", 2000)
    node.add("b", 2000, annotations={PREFER: "true"})
    assert node.cpus == {"shared": "0,6", "a": "1,7", "b": "4,10"}


def test_trail_of_exclusive_cpus() -> None:
    node = Node()
    node.add("shared", 100, QoSClass.BURSTABLE)
    node.add("first", 4000, annotations={PREFER: "true"})
    trail = trail_of(node.add("a", 1000))
    assert (trail.key, trail.policy, trail.chosen, trail.granted) == ("a", "static", "exclusive", "exclusive CPUs 6")
    assert trail.asked == "a CPU request of 1 in a Guaranteed pod"
    told = [(one.pool, one.facts, one.lost_to, one.rule, one.own, one.other, one.why) for one in trail.verdicts]
    assert told == [
        ("exclusive", (("free_cpus", 7),), "", "", 0, 0, ""),
        ("isolated", (("free_cpus", 0),), "exclusive", "free_cpus", 0, 7, "too few free CPUs: 0; exclusive has 7"),
        ("exclusive and isolated", (("free_cpus", 7),), "exclusive", "order", 0, 0, "exclusive comes first"),
    ]
    (move,) = trail.moves
    assert (move.key, move.what, move.before, move.after) == ("shared", "CPUs", SHARED, "0-3,7-9")
    assert move.why == "default/pod-a/c took exclusive CPUs 6"


@pytest.mark.parametrize(
    ("millicpu", "qos", "chosen", "granted", "notes"),
    [
        pytest.param(
            100,
            QoSClass.BURSTABLE,
            "shared",
            f"shared CPUs {SHARED}",
            ("runs on shared CPUs: its pod is Burstable, not Guaranteed",),
            id="a pod that is not Guaranteed",
        ),
        pytest.param(
            1500,
            QoSClass.GUARANTEED,
            "shared",
            f"shared CPUs {SHARED}",
            ("runs on shared CPUs: its CPU request is not a whole number",),
            id="no whole number",
        ),
        pytest.param(
            8000,
            QoSClass.GUARANTEED,
            "exclusive and isolated",
            "exclusive CPUs 1-4,7-10",
            ("CPUs 4,10 are isolated: the kernel does not balance threads onto them",),
            id="both kinds",
        ),
    ],
)
def test_trails_say_why(millicpu: int, qos: QoSClass, chosen: str, granted: str, notes: tuple[str, ...]) -> None:
    trail = trail_of(Node().add("a", millicpu, qos))
    assert (chosen, granted, notes) == (trail.chosen, trail.granted, trail.notes)
    assert trail.verdicts[0].pool == chosen


def test_trail_of_a_resize() -> None:
    node = Node()
    node.add("a", 2000)
    trail = trail_of(node.resize("a", 4000))
    assert (trail.chosen, trail.granted) == ("exclusive", "exclusive CPUs 1-2,7-8")
    assert trail.notes == ("keeps its CPUs",)


@pytest.mark.parametrize(
    ("there", "asked", "cramped"),
    [
        pytest.param([], 4000, False, id="a whole node"),
        pytest.param([2000], 3000, False, id="one node has room"),
        pytest.param([2000, 2000], 3000, True, id="no node has room any more"),
        pytest.param([], 5000, False, id="no node ever has room"),
        pytest.param([2000, 2000], 500, False, id="it shares CPUs"),
    ],
)
def test_a_container_is_cramped_if_it_is_spread_because_of_others(there: list[int], asked: int, cramped: bool) -> None:
    node = Node("2p.4c.1t")
    for number, millicpu in enumerate(there):
        node.add(f"c{number}", millicpu)
    assert node.add("it", asked).cramped is cramped
