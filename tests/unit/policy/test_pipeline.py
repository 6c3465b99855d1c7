"""The pipeline, as transcripts of events and effects."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from crirm.model.cpuset import CPUSet
from crirm.model.decision import Adjustment, Decision, State, UpdateContainer
from crirm.model.events import (
    ContainerCreated,
    ContainerExited,
    ContainerRemoved,
    ContainerRequested,
    ContainerStarted,
    Event,
    PodAdded,
    PodRemoved,
    PodStopped,
    ResizeDone,
    ResizeFailed,
    ResizeRequested,
    Synchronised,
    Timer,
    TimerExpired,
    UpdateDone,
    UpdateFailed,
)
from crirm.model.qos import QoSClass
from crirm.model.quantity import MilliCPU
from crirm.model.refusal import RefusalCode, RefusalReason
from crirm.model.resources import LinuxResources, Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId
from crirm.policy import pipeline
from crirm.policy.overflow import OVERFLOWS
from tests.unit.policy.counting import Counting

POLICY = Counting(8)


class Playbook:
    """Feeds events and keeps the state."""

    def __init__(self) -> None:
        self.state: State = pipeline.initial(POLICY)
        self.now_s = 1000.0

    def tell(self, event: Event) -> Decision:
        decision = pipeline.step(POLICY, self.state, event, self.now_s)
        assert decision == pipeline.step(POLICY, self.state, event, self.now_s), "the same input gives the same answer"
        if decision.refusal is not None:
            assert decision.state is self.state, "a refusal leaves the state as it was"
        self.state = decision.state
        return decision

    def run(self, name: str, millicpu: int, pod: str = "p1", **more: Any) -> ContainerKey:
        """Ask for, create and start a container."""
        container = wanted(name, millicpu, pod, **more)
        self.tell(ContainerRequested(container))
        self.tell(ContainerCreated(container.key, ContainerId(f"id-{name}")))
        self.tell(ContainerStarted(container.key))
        return container.key


def pod(name: str, uid: str = "") -> Pod:
    return Pod(PodId(name), uid or f"uid-{name}", name, "default", QoSClass.GUARANTEED)


def asking(millicpu: int) -> Requirements:
    return Requirements(cpu_request=MilliCPU(millicpu))


def wanted(key: str, millicpu: int, pod_name: str = "p1", **more: Any) -> Container:
    container = Container(ContainerKey(key), PodId(pod_name), key, ContainerState.CREATING, asking(millicpu))
    return attrs.evolve(container, **more)


def resize(key: ContainerKey, millicpu: int) -> ResizeRequested:
    return ResizeRequested(key, LinuxResources(cpu_shares=millicpu), asking(millicpu))


def cpus(text: str) -> Adjustment:
    return Adjustment(cpus=CPUSet.parse(text))


@pytest.fixture
def book() -> Playbook:
    playbook = Playbook()
    playbook.tell(PodAdded(pod("p1")))
    playbook.tell(PodAdded(pod("p2")))
    return playbook


def test_a_container_is_adjusted_when_it_is_asked_for(book: Playbook) -> None:
    decision = book.tell(ContainerRequested(wanted("a", 2000)))
    assert (cpus("0-1"), ()) == (decision.adjustment, decision.effects)
    assert decision.trail is not None
    assert decision.trail.granted == "0-1"


def test_others_are_told_what_changes_for_them_and_only_that(book: Playbook) -> None:
    shared = book.run("s", 0)
    exclusive = book.run("x", 1000)
    decision = book.tell(ContainerRequested(wanted("a", 2000)))
    assert decision.effects == (UpdateContainer(shared, ContainerId("id-s"), cpus("3-7")),)
    assert book.state.adjustments[exclusive] == cpus("0")


def test_what_changes_while_a_container_is_being_created_is_told_once_it_has_an_id(book: Playbook) -> None:
    book.tell(ContainerRequested(wanted("s", 0)))
    assert book.tell(ContainerRequested(wanted("a", 2000))).effects == ()
    decision = book.tell(ContainerCreated(ContainerKey("s"), ContainerId("id-s")))
    assert decision.effects == (UpdateContainer(ContainerKey("s"), ContainerId("id-s"), cpus("2-7")),)


def test_a_refused_request_changes_nothing(book: Playbook) -> None:
    book.run("a", 5000)
    decision = book.tell(ContainerRequested(wanted("b", 3000)))
    assert decision.refusal is not None
    assert (
        decision.refusal.reason,
        str(decision.refusal),
    ) == (
        RefusalReason.NO_ROOM,
        "wants 3 CPUs, 3 are free and one must stay; it would fit with 1 CPU fewer [too-few-exclusive-cpus]",
    )


def test_with_overflow_a_container_without_room_shares_what_is_left(book: Playbook) -> None:
    book.run("a", 5000)
    asked = ContainerRequested(wanted("b", 3000))
    decision = pipeline.step(POLICY, book.state, asked, book.now_s, overflow=True)
    assert decision.adjustment == cpus("5-7")
    assert decision.trail is not None
    why = "wants 3 CPUs, 3 are free and one must stay [too-few-exclusive-cpus]"
    assert decision.trail.notes == (f"overflow: no CPUs or memory are reserved for it: {why}",)
    assert decision.state.workload.containers[ContainerKey("b")].requirements == asking(3000)


def test_who_overflows_is_said_to_do_so_until_there_is_room(book: Playbook) -> None:
    first, second = book.run("a", 5000), ContainerKey("b")
    book.state = pipeline.step(POLICY, book.state, ContainerRequested(wanted("b", 3000)), 0.0, overflow=True).state
    book.tell(ContainerCreated(second, ContainerId("id-b")))
    why = f"{OVERFLOWS}wants 3 CPUs, 3 are free and one must stay [too-few-exclusive-cpus]"
    assert book.state.degraded == {second: why}
    assert book.tell(TimerExpired(second, Timer.REPAIR)).effects == ()
    assert book.state.degraded == {second: why}
    book.tell(ContainerRemoved(first))
    decision = book.tell(TimerExpired(second, Timer.REPAIR))
    assert decision.effects == (UpdateContainer(second, ContainerId("id-b"), cpus("0-2")),)
    assert (book.state.degraded, dict(book.state.timers)) == ({}, {})


def test_a_pod_whose_class_nobody_tells_gets_it_with_each_container(book: Playbook) -> None:
    book.tell(PodAdded(attrs.evolve(pod("p3"), qos=QoSClass.BEST_EFFORT, qos_told=False)))
    asked = wanted("a", 1000, "p3", resources=LinuxResources(1024, 100_000, 100_000, 1 << 30, -997))
    book.tell(ContainerRequested(asked))
    assert book.state.workload.pods[PodId("p3")].qos is QoSClass.GUARANTEED
    book.tell(ResizeRequested(asked.key, LinuxResources(1024, 200_000, 100_000, 1 << 30, 900), asking(1000)))
    assert book.state.workload.pods[PodId("p3")].qos is QoSClass.BURSTABLE
    refused = wanted("b", 9000, "p3", resources=LinuxResources(2, 0, 0, 0, 1000))
    assert book.tell(ContainerRequested(refused)).refusal is not None
    assert book.state.workload.pods[PodId("p3")].qos is QoSClass.BURSTABLE


def test_a_container_of_an_unknown_pod_is_refused(book: Playbook) -> None:
    decision = book.tell(ContainerRequested(wanted("a", 0, "nowhere")))
    assert decision.refusal is not None
    assert decision.refusal.code is RefusalCode.UNKNOWN_POD


@pytest.mark.parametrize(
    "ending",
    [
        pytest.param(ContainerExited(ContainerKey("a")), id="exited"),
        pytest.param(ContainerRemoved(ContainerKey("a")), id="removed"),
        pytest.param(PodStopped(PodId("p1")), id="pod stopped"),
        pytest.param(PodRemoved(PodId("p1")), id="pod removed"),
        pytest.param(Synchronised((pod("p2"),), ()), id="gone from the runtime's lists"),
    ],
)
def test_every_end_gives_the_grant_back_once(book: Playbook, ending: Event) -> None:
    book.run("a", 2000)
    book.tell(ending)
    book.tell(ContainerExited(ContainerKey("a")))
    book.tell(ContainerRemoved(ContainerKey("a")))
    assert ContainerKey("a") not in book.state.policy
    assert ContainerKey("a") not in {*book.state.adjustments, *book.state.told, *book.state.workload.containers}


def test_a_second_sandbox_of_a_living_pod_ends_nothing(book: Playbook) -> None:
    key = book.run("a", 2000)
    before = book.state
    assert book.tell(PodAdded(pod("p9", uid="uid-p1"))).effects == ()
    assert (before.policy, before.adjustments) == (book.state.policy, book.state.adjustments)
    other = book.run("b", 2000, "p9")
    assert book.state.policy[key].isdisjoint(book.state.policy[other])
    book.tell(PodStopped(PodId("p1")))
    assert set(book.state.policy) == {other}


def test_a_start_that_is_heard_of_after_the_end_does_not_bring_a_container_back(book: Playbook) -> None:
    key = book.run("a", 2000)
    book.tell(ContainerExited(key))
    book.tell(ContainerStarted(key))
    assert book.state.workload.containers[key].state is ContainerState.EXITED
    assert book.state.policy == {}


def test_a_pod_that_goes_moves_none_of_its_own_containers(book: Playbook) -> None:
    book.run("x", 2000)
    book.run("s", 0)
    other = book.run("t", 0, "p2")
    effects = book.tell(PodRemoved(PodId("p1"))).effects
    assert effects == (UpdateContainer(other, ContainerId("id-t"), cpus("0-7")),)


def test_removing_an_old_instance_leaves_the_new_ones_grant_alone(book: Playbook) -> None:
    old = book.run("a", 2000)
    new = wanted("a2", 3000, name="a", attempt=1)
    book.tell(ContainerRequested(new))
    assert {old: CPUSet.parse("0-1"), new.key: CPUSet.parse("2-4")} == book.state.policy, "the old one runs still"
    book.tell(ContainerRemoved(old))
    assert {new.key: CPUSet.parse("2-4")} == book.state.policy


def test_a_new_instance_moves_others_once_not_back_and_forth(book: Playbook) -> None:
    shared = book.run("s", 0)
    book.tell(ContainerRequested(wanted("a", 2000)))
    book.tell(ContainerCreated(ContainerKey("a"), ContainerId("id-a")))
    decision = book.tell(ContainerRequested(wanted("a2", 3000, name="a", attempt=1)))
    assert decision.effects == (UpdateContainer(shared, ContainerId("id-s"), cpus("3-7")),)


def test_a_resize_is_kept_when_the_runtime_agrees(book: Playbook) -> None:
    key = book.run("a", 2000)
    assert book.tell(resize(key, 4000)).adjustment == cpus("0-3")
    book.tell(ResizeDone(key))
    assert (cpus("0-3"), {}) == (book.state.adjustments[key], book.state.resizing)
    assert book.state.workload.containers[key].resources == LinuxResources(cpu_shares=4000)


def test_a_resize_is_undone_exactly_when_the_runtime_refuses(book: Playbook) -> None:
    shared, key = book.run("s", 0), book.run("a", 2000)
    before = book.state
    assert book.tell(resize(key, 4000)).effects == (UpdateContainer(shared, ContainerId("id-s"), cpus("4-7")),)
    undone = book.tell(ResizeFailed(key))
    assert before == book.state
    assert UpdateContainer(shared, ContainerId("id-s"), cpus("2-7")) in undone.effects


def test_a_resize_is_undone_as_far_as_possible_when_others_moved_meanwhile(book: Playbook) -> None:
    key = book.run("a", 4000)
    book.tell(resize(key, 1000))
    other = book.run("b", 2000, "p2")
    book.tell(ResizeFailed(key))
    granted = book.state.policy
    assert (len(granted[key]), len(granted[other])) == (4, 2)
    assert granted[key].isdisjoint(granted[other])


def test_a_resize_that_does_not_fit_changes_nothing(book: Playbook) -> None:
    key = book.run("a", 2000)
    assert book.tell(resize(key, 9000)).refusal is not None


def test_an_update_that_failed_is_told_again_with_the_next_change(book: Playbook) -> None:
    shared = book.run("s", 0)
    book.run("a", 1000)
    book.tell(UpdateFailed(shared, "no such cgroup"))
    assert shared not in book.state.told
    decision = book.tell(ContainerRequested(wanted("b", 1000)))
    assert [effect.key for effect in decision.effects if isinstance(effect, UpdateContainer)] == [shared]


def test_an_update_that_is_made_at_last_counts_as_told(book: Playbook) -> None:
    shared = book.run("s", 0)
    book.run("a", 1000)
    told = book.state.told[shared]
    book.tell(UpdateFailed(shared, "not now"))
    book.tell(UpdateDone(shared))
    assert book.state.told[shared] == told
    book.tell(ContainerExited(shared))
    book.tell(UpdateDone(shared))
    assert shared not in book.state.told, "who is gone has nothing"


def test_timers_carry_their_time_and_go_with_their_container(book: Playbook) -> None:
    key = book.run("a", 1000, annotations={"cold": "yes"})
    assert book.state.timers == {(key, Timer.COLD_START): 1060.0}
    decision = book.tell(TimerExpired(key, Timer.COLD_START))
    assert book.state.timers == {}
    assert decision.effects == ()
    other = book.run("b", 1000, annotations={"cold": "yes"})
    book.tell(ContainerExited(other))
    assert book.state.timers == {}


def listed(name: str, millicpu: int, state: ContainerState, pod_name: str = "p1") -> Container:
    return wanted(name, millicpu, pod_name, state=state, id=ContainerId(f"id-{name}"))


def test_synchronising_takes_what_runs_for_what_it_is(book: Playbook) -> None:
    kept = book.run("kept", 1000)
    ended = book.run("ended", 1000)
    book.run("gone", 1000)
    lists = Synchronised(
        (pod("p1"), pod("p3")),
        (
            listed("kept", 1000, ContainerState.RUNNING),
            listed("ended", 1000, ContainerState.EXITED),
            listed("small", 1000, ContainerState.RUNNING, "p3"),
            listed("large", 4000, ContainerState.RUNNING, "p3"),
            listed("dead", 1000, ContainerState.EXITED, "p3"),
        ),
    )
    decision = book.tell(lists)
    assert {kept: "0", "large": "1-4", "small": "5"} == {key: str(seats) for key, seats in book.state.policy.items()}
    assert {"large", "small"} == {effect.key for effect in decision.effects}, "strangers are told, the known are not"
    assert {"p1", "p3"} == set(book.state.workload.pods)
    assert book.state.workload.containers[ended].state is ContainerState.EXITED
    assert book.state.workload.containers[ContainerKey("large")].state is ContainerState.RUNNING


def test_synchronising_twice_changes_nothing(book: Playbook) -> None:
    lists = Synchronised((pod("p1"), pod("p2")), (listed("a", 2000, ContainerState.RUNNING),))
    book.tell(lists)
    before = book.state
    assert book.tell(lists).effects == ()
    assert before == book.state


def test_a_found_container_without_room_shares_what_is_left(book: Playbook) -> None:
    book.tell(Synchronised((pod("p1"),), (listed("a", 99_000, ContainerState.RUNNING),)))
    assert book.state.adjustments == {ContainerKey("a"): cpus("0-7")}
    assert book.state.workload.containers[ContainerKey("a")].state is ContainerState.RUNNING


def test_synchronising_leaves_a_container_alone_that_is_being_created(book: Playbook) -> None:
    book.tell(ContainerRequested(wanted("a", 2000)))
    book.tell(
        Synchronised((pod("p1"), pod("p2")), (attrs.evolve(listed("x", 2000, ContainerState.CREATED), name="a"),))
    )
    assert {ContainerKey("a")} == set(book.state.policy)


def test_a_later_attempt_that_is_found_does_not_end_the_one_that_runs(book: Playbook) -> None:
    """CRI-O finishes a creation that the kubelet has given up, while an earlier attempt runs on."""
    running = book.run("a", 2000)
    known = attrs.evolve(listed("a", 2000, ContainerState.RUNNING), id=book.state.workload.containers[running].id)
    late = attrs.evolve(listed("late", 2000, ContainerState.CREATED), name=known.name, attempt=1)
    book.tell(Synchronised((pod("p1"),), (known, late)))
    assert book.state.workload.containers[running].state is ContainerState.RUNNING
    granted = book.state.policy
    assert granted.keys() == {running, late.key}
    assert granted[running].isdisjoint(granted[late.key])
