from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.model.cpuset import CPUSet
from crirm.model.decision import Adjustment, UpdateContainer
from crirm.model.events import ContainerCreated, ContainerRequested, PodAdded, ResizeRequested
from crirm.model.qos import QoSClass
from crirm.model.quantity import MilliCPU
from crirm.model.resources import LinuxResources, Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId
from crirm.policy.activation import plan
from crirm.policy.pipeline import initial, step
from crirm.policy.readjust import BUSY, plan_requirements
from tests.unit.policy.counting import Counting

if TYPE_CHECKING:
    from crirm.model.decision import State
    from crirm.model.events import Event

POLICY = Counting(8)
POD = Pod(PodId("p"), "u", "pod", "shop", QoSClass.GUARANTEED)


def cpus(count: int) -> Requirements:
    return Requirements(cpu_request=MilliCPU(count * 1000))


def node(**counts: int) -> State:
    """Containers by name, with so many CPUs each, of which the runtime knows."""
    events: list[Event] = [PodAdded(POD)]
    for name, count in counts.items():
        container = Container(ContainerKey(name), POD.id, name, ContainerState.CREATING, cpus(count))
        events += [ContainerRequested(container), ContainerCreated(container.key, ContainerId(f"id-{name}"))]
    state = initial(POLICY)
    for event in events:
        decision = step(POLICY, state, event, 0.0)
        assert decision.refusal is None
        state = decision.state
    return state


def wanted(**counts: int) -> dict[ContainerKey, Requirements]:
    return {ContainerKey(name): cpus(count) for name, count in counts.items()}


def test_every_container_that_changes_is_told_the_one_resized_included() -> None:
    state = node(a=2, b=1, shared=0)
    found = plan_requirements(POLICY, state, wanted(a=3), "why", 0.0)
    told = {effect.id: effect.adjustment.cpus for effect in found.effects if isinstance(effect, UpdateContainer)}
    assert told == {"id-a": CPUSet.parse("0-1,3"), "id-shared": CPUSet.parse("4-7")}
    assert {key: change.why for key, change in found.changes.items()} == {"a": "why", "shared": "why"}
    assert (found.unfit, found.state.workload.containers[ContainerKey("a")].requirements) == ({}, cpus(3))
    assert found.state.told == found.state.adjustments
    assert not found.state.resizing


def test_nothing_is_told_where_nothing_changes() -> None:
    state = node(a=2)
    half = {ContainerKey("a"): Requirements(cpu_request=MilliCPU(2500))}
    found = plan_requirements(POLICY, state, half, "why", 0.0)
    assert (found.effects, found.changes) == ((), {})
    assert found.state.workload.containers[ContainerKey("a")].requirements == half[ContainerKey("a")]


def test_what_is_given_back_goes_to_those_who_grow() -> None:
    state = node(grows=3, shrinks=4)
    found = plan_requirements(POLICY, state, wanted(grows=6, shrinks=1), "why", 0.0)
    assert not found.unfit
    assert [len(found.state.policy[ContainerKey(name)]) for name in ("grows", "shrinks")] == [6, 1]


def test_what_does_not_fit_is_named_and_stays_as_it_is() -> None:
    state = node(a=3, b=3)
    found = plan_requirements(POLICY, state, wanted(a=7, b=2), "why", 0.0)
    assert {ContainerKey("a"): "wants 7 CPUs, 6 are free and one must stay [too-few-exclusive-cpus]"} == found.unfit
    assert found.state.policy[ContainerKey("a")] == state.policy[ContainerKey("a")]


def test_a_container_in_the_middle_of_a_resize_is_left_alone() -> None:
    key = ContainerKey("a")
    state = step(POLICY, node(a=2, b=2), ResizeRequested(key, LinuxResources(), cpus(3)), 0.0).state
    found = plan_requirements(POLICY, state, wanted(a=1, b=1), "why", 0.0)
    assert {key: BUSY} == found.unfit
    assert found.state.resizing[key] == state.resizing[key]


def test_a_container_that_is_being_created_is_told_once_it_has_an_id() -> None:
    container = Container(ContainerKey("new"), POD.id, "new", ContainerState.CREATING, cpus(2))
    state = step(POLICY, node(a=1), ContainerRequested(container), 0.0).state
    found = plan_requirements(POLICY, state, wanted(new=3), "why", 0.0)
    assert not found.effects
    created = step(POLICY, found.state, ContainerCreated(container.key, ContainerId("id-new")), 0.0)
    assert (
        UpdateContainer(container.key, ContainerId("id-new"), Adjustment(cpus=CPUSet.parse("1-3"))),
    ) == created.effects


@pytest.mark.parametrize("count", [1, 3, 5])
def test_the_way_there_and_back_ends_where_it_began(count: int) -> None:
    state = node(a=2, shared=0)
    there = plan_requirements(POLICY, state, wanted(a=count), "why", 0.0).state
    back = plan_requirements(POLICY, there, wanted(a=2), "why", 0.0).state
    assert attrs.evolve(back, workload=state.workload) == attrs.evolve(state, workload=state.workload)
    assert back.workload.containers == state.workload.containers


def test_who_keeps_its_cpus_has_them_again_when_an_override_is_rolled_back() -> None:
    keeping = attrs.evolve(POD, annotations={"keep.cri-resource-manager.intel.com": "cpus"})
    before = node(a=2, shared=0)
    before = step(POLICY, before, PodAdded(keeping), 0.0).state
    key = ContainerKey("shared")
    found = plan_requirements(POLICY, before, wanted(shared=1), "why", 0.0).state
    assert found.adjustments[key].cpus == CPUSet.parse("2")
    asked = attrs.evolve(found, workload=before.workload)
    machine = Adjustment(cpus=CPUSet(range(8)))
    back = plan(POLICY, POLICY.save(before.policy), asked, machine, had=before.adjustments)
    assert back.state.adjustments == before.adjustments
