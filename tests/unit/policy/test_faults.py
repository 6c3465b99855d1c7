"""A policy with a bug: requests are refused, or go on and are placed later; never is the state half changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.daemon.placement.engine import Engine
from crirm.model.cpuset import CPUSet
from crirm.model.decision import UNADJUSTED, Adjustment, Decision, UpdateContainer
from crirm.model.events import (
    ContainerCreated,
    ContainerExited,
    ContainerRequested,
    ContainerStarted,
    Event,
    PodAdded,
    ResizeDone,
    ResizeFailed,
    ResizeRequested,
    Synchronised,
    Timer,
    TimerExpired,
)
from crirm.model.qos import QoSClass
from crirm.model.quantity import MilliCPU
from crirm.model.refusal import RefusalCode
from crirm.model.resources import LinuxResources, Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId, Workload
from crirm.policy.api import Choice, Limits
from crirm.policy.faults import REPAIR_S
from crirm.policy.restore import Saved, revive
from tests.unit.policy.counting import Counting, Seats

if TYPE_CHECKING:
    from crirm.policy.api import Placement

KEY = ContainerKey("a")
POD = Pod(PodId("p"), "u", "web", "shop", QoSClass.GUARANTEED)
UPDATE = UpdateContainer(KEY, ContainerId("id-a"), Adjustment(cpus=CPUSet.parse("0-1")))


@attrs.frozen
class Buggy(Counting):
    """Fails while there is an error in its list."""

    errors: list[Exception] = attrs.field(factory=lambda: [ZeroDivisionError("nobody thought of that")])

    def allocate(self, state: Seats, workload: Workload, container: Container) -> Placement:
        self._fail()
        return super().allocate(state, workload, container)

    def resize(self, state: Seats, workload: Workload, container: Container) -> Placement:
        self._fail()
        return super().resize(state, workload, container)

    def expired(self, state: Seats, workload: Workload, key: ContainerKey) -> Placement:
        self._fail()
        return super().expired(state, workload, key)

    def _fail(self) -> None:
        for error in self.errors:
            raise error


def asking(millicpu: int) -> Requirements:
    return Requirements(cpu_request=MilliCPU(millicpu))


def container(key: str = KEY, millicpu: int = 2000) -> Container:
    return Container(ContainerKey(key), POD.id, key, ContainerState.CREATING, asking(millicpu))


def resize(millicpu: int) -> ResizeRequested:
    return ResizeRequested(KEY, LinuxResources(cpu_shares=millicpu), asking(millicpu))


class Node:
    def __init__(self, *, fail_open: bool = True, size: int = 8) -> None:
        self.policy = Buggy(size)
        self.now_s = 1000.0
        self.engine = Engine(self.policy, Choice(fail_open=fail_open), lambda: self.now_s)
        self.tell(PodAdded(POD))

    def tell(self, event: Event) -> Decision:
        return self.engine.apply(event)

    def let_in(self) -> None:
        """Let a container in, whether it can be placed or not."""
        assert self.tell(ContainerRequested(container())).refusal is None
        self.tell(ContainerCreated(KEY, UPDATE.id))
        self.tell(ContainerStarted(KEY))

    def run(self) -> None:
        """Run a container that has its place, before the bug shows."""
        errors = self.policy.errors.copy()
        self.policy.errors.clear()
        self.let_in()
        self.policy.errors.extend(errors)

    def repair(self) -> Decision:
        return self.tell(TimerExpired(KEY, Timer.REPAIR))

    @property
    def due_s(self) -> float:
        return self.engine.state.timers[KEY, Timer.REPAIR]


@pytest.mark.parametrize("event", [ContainerRequested(container("b")), resize(4000)])
def test_closed_means_refused_with_nothing_changed(event: Event) -> None:
    node = Node(fail_open=False)
    node.run()
    before = node.engine.state
    decision = node.tell(event)
    assert decision.refusal is not None
    assert decision.refusal.code is RefusalCode.INTERNAL_FAULT
    assert before == node.engine.state


def test_open_means_that_the_container_goes_on_and_is_marked() -> None:
    node = Node()
    assert node.tell(ContainerRequested(container())).adjustment == UNADJUSTED
    node.let_in()
    state = node.engine.state
    assert state.workload.containers[KEY].state is ContainerState.RUNNING
    assert (set(state.degraded), state.adjustments, node.due_s) == ({KEY}, {}, 1000.0 + REPAIR_S)
    (note,) = node.engine.trails[KEY].trail.notes
    assert "crirm failed to place it" in note


def test_a_degraded_container_is_placed_when_it_can_be() -> None:
    node = Node()
    node.let_in()
    node.policy.errors.clear()
    assert node.repair().effects == (UPDATE,)
    assert (node.engine.state.degraded, node.engine.state.timers) == ({}, {})
    assert node.engine.trails[KEY].trail.granted == "0-1"


def test_until_then_it_is_tried_again_and_again() -> None:
    node = Node()
    node.let_in()
    for now_s in (1030.0, 1060.0):
        node.now_s = now_s
        assert node.repair().effects == ()
        assert (set(node.engine.state.degraded), node.due_s) == ({KEY}, now_s + REPAIR_S)


def test_without_room_it_stays_degraded_and_says_so() -> None:
    node = Node(size=2)
    node.let_in()
    node.policy.errors.clear()
    node.repair()
    assert node.engine.state.degraded == {KEY: "wants 2 CPUs, 2 are free and one must stay [too-few-exclusive-cpus]"}


def test_its_end_ends_that_too() -> None:
    node = Node()
    node.let_in()
    node.tell(ContainerExited(KEY))
    assert (node.engine.state.degraded, node.engine.state.timers) == ({}, {})
    assert node.repair().effects == ()


def test_a_resize_goes_on_and_the_grant_follows_later() -> None:
    node = Node()
    node.run()
    assert node.tell(resize(4000)).adjustment == UNADJUSTED
    node.tell(ResizeDone(KEY))
    assert (set(node.engine.state.degraded), str(node.engine.state.policy[KEY])) == ({KEY}, "0-1")
    node.policy.errors.clear()
    assert node.repair().effects == (attrs.evolve(UPDATE, adjustment=Adjustment(cpus=CPUSet.parse("0-3"))),)
    assert node.engine.state.degraded == {}


def test_a_resize_that_the_runtime_refuses_leaves_the_old_size() -> None:
    node = Node()
    node.run()
    before = node.engine.state
    node.tell(resize(4000))
    node.tell(ResizeFailed(KEY))
    assert (before.workload, before.policy) == (node.engine.state.workload, node.engine.state.policy)


def test_a_timer_that_cannot_be_dealt_with_does_not_run_out_for_ever() -> None:
    node = Node(fail_open=False)
    node.run()
    node.tell(TimerExpired(KEY, Timer.COLD_START))
    assert node.engine.state.timers == {(KEY, Timer.COLD_START): 1000.0 + REPAIR_S}


def test_one_that_was_found_and_cannot_be_placed_hides_no_other() -> None:
    node = Node(fail_open=False)
    running = attrs.evolve(container(), state=ContainerState.RUNNING, id=UPDATE.id)
    node.tell(Synchronised((POD,), (running,)))
    assert {KEY} == set(node.engine.state.workload.containers) == set(node.engine.state.degraded)


def test_crirm_starts_with_a_container_that_it_cannot_place() -> None:
    running = attrs.evolve(container(), state=ContainerState.RUNNING, id=UPDATE.id)
    revived = revive(Buggy(8), Saved(Workload({POD.id: POD}, {KEY: running})))
    why = "crirm failed to place it because of a bug (ZeroDivisionError: nobody thought of that)"
    assert revived.lost == {KEY: f"{why}; shared CPUs failed too (nobody thought of that)"}
    assert set(revived.state.degraded) == {KEY}


@attrs.frozen
class BuggyMoves(Counting):
    """Fails when something may be moved."""

    @property
    def limits(self) -> Limits:
        return Limits(6, 1 << 40, 1)

    def gather(self, *_: object) -> Placement:
        raise ZeroDivisionError

    def make_room(self, *_: object) -> Placement | None:
        raise ZeroDivisionError


def test_a_bug_in_moves_costs_no_decision() -> None:
    engine = Engine(BuggyMoves(4))
    engine.apply(PodAdded(POD))
    engine.apply(ContainerRequested(container()))
    refusal = engine.apply(ContainerRequested(container("b", 3000))).refusal
    assert refusal is not None
    assert refusal.code is RefusalCode.TOO_FEW_EXCLUSIVE_CPUS
    engine.apply(ContainerExited(KEY))
    assert engine.state.adjustments == {}
