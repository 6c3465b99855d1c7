"""A shadow decides about the same events as the policy in force, whatever that has refused, and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, run_state_machine_as_test

from crirm.model.cpuset import CPUSet
from crirm.model.decision import Adjustment, Decision, State
from crirm.model.events import (
    ContainerCreated,
    ContainerExited,
    ContainerRemoved,
    ContainerRequested,
    ContainerStarted,
    CreateFailed,
    Event,
    PodAdded,
    ResizeRequested,
    Synchronised,
    Timer,
    TimerExpired,
    UpdateFailed,
)
from crirm.model.quantity import MilliCPU
from crirm.model.resources import LinuxResources, Requirements
from crirm.model.workload import ContainerId, ContainerKey
from crirm.policy import pipeline
from crirm.policy.activation import Change, Plan, plan
from crirm.policy.api import Choice, Policy
from crirm.policy.pipeline import HOLDING
from crirm.policy.registry import POLICIES, make_policy
from crirm.replay.decisions import canonical, decision_record, state_record
from crirm.replay.shadow import Counts, Happened, Overridden, Shadow, counts, expire, follow, plan_counts, pruned
from crirm.replay.shadow_report import ABSENT, View, compare, needed_nodes
from tests.unit.policy.nodes import waiting_for_the_budget
from tests.unit.policy.test_policies import STEP_S, PolicyMachine
from tests.unit.replay.scenes import AWARE, RESERVED, STATIC, Scene, container, pod

if TYPE_CHECKING:
    from crirm.model.topology import Topology


class Beside:
    """A node with a policy in force and a shadow."""

    def __init__(self, shadow: Choice, in_force: Choice = STATIC, host: str = "2p.4c.1t mem=8Gi") -> None:
        self.scene = Scene(host, in_force)
        self.shadow = begun(self.scene.policy, self.scene.state, shadow, self.scene.topology, self.scene.now_s)

    def tell(self, *events: Event) -> None:
        for event in events:
            decision = self.scene.tell(event)
            self.shadow = follow(self.shadow, Happened(self.scene.now_s, event, counts(event, decision)))

    def run(self, key: str, cpus: float) -> None:
        one = container(key, cpus, pod_name=f"pod-{key}")
        self.tell(PodAdded(pod(f"pod-{key}")), ContainerRequested(one))
        if one.key in self.scene.state.workload.containers:
            self.tell(ContainerCreated(one.key, ContainerId(f"id-{key}")), ContainerStarted(one.key))

    def figures(self) -> dict[str, tuple[int, int]]:
        view = View(self.scene.policy, self.scene.choice, self.scene.state)
        found = compare(view, self.shadow, self.scene.now_s)
        return {figure.what.strip(): (figure.one, figure.other) for figure in found.figures}


def begun(in_force: Policy, state: State, choice: Choice, topology: Topology, now_s: float) -> Shadow:
    policy = make_policy(choice, topology)
    grants = in_force.save(state.policy) if in_force.name == policy.name else {}
    found = plan(policy, grants, state, Adjustment(cpus=topology.online, mems=topology.memory_nodes))
    return Shadow(policy, choice, topology, found.state, now_s)


def test_what_the_policy_in_force_refuses_does_not_come_to_be() -> None:
    """Three reserved CPUs leave five to the policy in force, one leaves seven to the shadow."""
    beside = Beside(STATIC, Choice("static", _reserved(3)))
    beside.run("a", 6)
    assert beside.scene.state.workload.containers == {}
    assert beside.shadow.state.workload.containers == {}
    assert beside.figures()["requests refused"] == (1, 0)
    assert beside.figures()["refused by one of them only"] == (1, 0)
    beside.run("b", 4)
    assert beside.figures()["exclusive CPUs"] == (4, 4)


def _reserved(cpus: int) -> Any:
    return attrs.evolve(RESERVED, reserved=attrs.evolve(RESERVED.reserved, millicpu=MilliCPU(1000 * cpus)))


def test_what_the_shadow_refuses_is_missing_until_it_ends() -> None:
    beside = Beside(Choice("static", _reserved(3)), STATIC)
    beside.run("a", 6)
    assert [(one.name, one.id) for one in beside.shadow.missing.values()] == [("default/pod-a/a", "id-a")]
    figures = beside.figures()
    assert (figures["requests refused"], figures["not placed now"]) == ((0, 1), (0, 1))
    there = beside.scene.state.workload
    beside.tell(Synchronised(tuple(there.pods.values()), tuple(there.containers.values())))
    assert beside.shadow.state.workload.containers == {}, "a list does not bring back what was refused"
    beside.tell(ContainerExited(ContainerKey("a")))
    assert beside.figures()["not placed now"] == (0, 0)
    beside.tell(ContainerRemoved(ContainerKey("a")))
    beside.run("b", 4)
    assert beside.figures()["exclusive CPUs"] == (4, 4), "the shadow goes on with what comes"


def test_a_container_that_the_runtime_refuses_is_not_missing() -> None:
    beside = Beside(Choice("static", _reserved(3)), STATIC)
    one = container("a", 6)
    beside.tell(PodAdded(pod()), ContainerRequested(one))
    assert list(beside.shadow.missing) == ["a"]
    beside.tell(CreateFailed(one.key))
    assert not pruned(beside.shadow, beside.scene.state.workload).missing


def test_one_of_several_tries_that_fails_leaves_it_missing() -> None:
    beside = Beside(Choice("static", _reserved(3)), STATIC)
    one = container("a", 6)
    beside.tell(PodAdded(pod()), ContainerRequested(one), ContainerRequested(one))
    beside.tell(ContainerCreated(one.key, ContainerId("id-a")), CreateFailed(one.key))
    assert list(pruned(beside.shadow, beside.scene.state.workload).missing) == ["a"]


def test_who_was_refused_and_asks_again_is_placed() -> None:
    beside = Beside(Choice("static", _reserved(3)), STATIC)
    one = container("a", 6)
    less = attrs.evolve(one, requirements=container("a", 4).requirements)
    beside.tell(PodAdded(pod()), ContainerRequested(one), ContainerRequested(less))
    assert not beside.shadow.missing
    assert list(beside.shadow.state.workload.containers) == ["a"]


@pytest.mark.parametrize(
    ("in_force", "shadow", "has"),
    [
        pytest.param(1, 3, 2000, id="the shadow refuses: it keeps the old size"),
        pytest.param(3, 1, 2000, id="the policy in force refuses: there is nothing to keep"),
        pytest.param(1, 1, 6000, id="none refuses"),
    ],
)
def test_a_resize_is_what_both_admit(in_force: int, shadow: int, has: int) -> None:
    beside = Beside(Choice("static", _reserved(shadow)), Choice("static", _reserved(in_force)))
    beside.run("a", 2)
    more = container("a", 6).requirements
    beside.tell(ResizeRequested(ContainerKey("a"), LinuxResources(), more))
    assert beside.shadow.state.workload.containers[ContainerKey("a")].requirements.cpu_request == has


def test_an_override_is_followed() -> None:
    beside = Beside(STATIC)
    beside.run("a", 2)
    wanted = Requirements(MilliCPU(3000), MilliCPU(3000))
    beside.shadow = follow(beside.shadow, Overridden(beside.scene.now_s, {ContainerKey("a"): wanted}))
    assert beside.figures()["exclusive CPUs"] == (2, 3)
    assert not beside.shadow.state.resizing


def test_a_plan_of_the_policy_in_force_counts_for_it() -> None:
    """As when it brings containers together: the shadow moves nothing then."""
    beside = Beside(STATIC)
    for key in ("a", "b"):
        beside.run(key, 1)
    cpus = {key: Adjustment(cpus=CPUSet.of(number)) for number, key in enumerate(("a", "b"))}
    changes = {ContainerKey(key): Change(cpus[key], Adjustment(cpus=CPUSet.of(5)), "defrag") for key in ("a", "b")}
    found = Plan(beside.scene.state, changes=changes)
    counted = plan_counts(found, {ContainerKey("a"): Requirements()})
    assert counted == Counts(moves=1)
    beside.shadow = follow(beside.shadow, Overridden(beside.scene.now_s, {}, counted))
    assert beside.figures()["moves"] == (1, 0)


def test_its_timers_run_out_by_themselves() -> None:
    beside = Beside(AWARE)
    cold = {"cold-start.cri-resource-manager.intel.com/pod": "duration: 60s"}
    beside.tell(PodAdded(pod(annotations=cold)), ContainerRequested(container("a", 1, 1)))
    key = ContainerKey("a")
    beside.tell(ContainerCreated(key, ContainerId("id")), ContainerStarted(key))
    timers = dict(beside.shadow.state.timers)
    beside.tell(TimerExpired(key, Timer.COLD_START), UpdateFailed(key, "no"))
    assert dict(beside.shadow.state.timers) == timers, "those of the policy in force are not its own"
    assert expire(beside.shadow, beside.scene.now_s + 3600).state.timers == {}


def test_containers_that_differ_are_told_apart_from_those_with_other_numbers() -> None:
    beside = Beside(Choice("static", _reserved(3)), STATIC)
    beside.run("a", 6)
    beside.run("b", 0.5)
    view = View(beside.scene.policy, beside.scene.choice, beside.scene.state)
    found = compare(view, beside.shadow, beside.scene.now_s)
    first = found.differences[0]
    assert (first.name, first.here, first.alike) == ("default/pod-a/a", ABSENT, False)
    assert first.reason


@pytest.mark.parametrize(
    ("cpus", "nodes"),
    [pytest.param(1, 1, id="one"), pytest.param(4, 1, id="a whole node"), pytest.param(5, 2, id="one more")],
)
def test_how_many_nodes_are_needed(cpus: int, nodes: int) -> None:
    assert needed_nodes(Scene().topology, cpus) == nodes


# --- whatever happens -----------------------------------------------------------------------------------------------


class ShadowedMachine(PolicyMachine):
    """A node under one policy, with another one beside it."""

    beside: str

    def __init__(self) -> None:
        super().__init__()
        self.records: list[str] = []
        self.timed = False

    @initialize(more=st.integers(0, 2))
    def start_shadow(self, more: int) -> None:
        """Begin before anything happens; the shadow may have more reserved CPUs."""
        self.more = more
        self.shadow: Shadow | None = None

    def begin(self) -> None:
        ordinary = sorted(self.topology.online - self.topology.isolated)
        reserved = CPUSet(ordinary[: min(len(self.reserved) + self.more, len(ordinary) - 1)])
        constraints = attrs.evolve(self.constraints, reserved=attrs.evolve(self.constraints.reserved, cpus=reserved))
        same = self.beside == self.kind.name
        choice = Choice(self.beside, constraints, self.options if same else POLICIES[self.beside].options())
        policy = make_policy(choice, self.topology)
        self.alike = same and reserved == self.reserved
        self.shadow = Shadow(policy, choice, self.topology, pipeline.initial(policy), 0.0)

    def do(self, event: Event) -> Decision:
        if self.shadow is None:
            self.begin()
        assert self.shadow is not None
        self.timed |= isinstance(event, TimerExpired | UpdateFailed)
        now_s = STEP_S * len(self.journal)
        decision = super().do(event)
        shown = canonical(state_record(self.policy, self.state))
        self.shadow = follow(self.shadow, Happened(now_s, event, counts(event, decision)))
        assert shown == canonical(state_record(self.policy, self.state)), "the shadow has no effect"
        self.records.append(canonical(decision_record(decision)))
        return decision

    @invariant()
    def the_shadow_has_all_that_runs_but_what_it_has_refused(self) -> None:
        if getattr(self, "shadow", None) is None or not hasattr(self, "state"):
            return
        assert self.shadow is not None
        self.shadow = pruned(self.shadow, self.state.workload)
        there, here = (
            {one.key for one in state.workload.containers.values() if one.state in HOLDING}
            for state in (self.state, self.shadow.state)
        )
        assert here.isdisjoint(self.shadow.missing)
        assert there == here | self.shadow.missing.keys()

    @invariant()
    def a_shadow_of_the_same_policy_decides_the_same(self) -> None:
        if getattr(self, "shadow", None) is None or not hasattr(self, "state") or self.timed or not self.alike:
            return
        assert self.shadow is not None
        assert self.shadow.state.policy == self.state.policy
        assert self.shadow.state.adjustments == self.state.adjustments
        assert self.shadow.here == self.shadow.there

    @invariant()
    def the_figures_can_be_told(self) -> None:
        if getattr(self, "shadow", None) is None or not hasattr(self, "state"):
            return
        assert self.shadow is not None
        choice = Choice(self.kind.name, self.constraints, self.options)
        found = compare(View(self.policy, choice, self.state), self.shadow, STEP_S * len(self.journal))
        figures = {figure.what: (figure.one, figure.other) for figure in found.figures}
        placed = figures["containers placed now"]
        assert placed[0] == placed[1] + figures["not placed now"][1]
        assert min(value for pair in figures.values() for value in pair) >= 0

    def teardown(self) -> None:
        records, self.records = self.records, []
        journal = list(self.journal)
        super().teardown()
        if not hasattr(self, "state"):
            return
        state = pipeline.initial(self.policy)
        for index, (event, record) in enumerate(zip(journal, records, strict=True)):
            decision = pipeline.step(self.policy, state, event, STEP_S * index)
            assert canonical(decision_record(decision)) == record, "without the shadow, every byte is the same"
            state = decision.state


SETTINGS = settings(
    max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.mark.parametrize(
    ("in_force", "beside"),
    [("static", "static"), ("static", "topology-aware"), ("topology-aware", "topology-aware"), ("none", "static")],
)
def test_any_sequence(in_force: str, beside: str) -> None:
    class Machine(ShadowedMachine):
        kind = POLICIES[in_force]

    Machine.beside = beside
    run_state_machine_as_test(Machine, settings=SETTINGS)


def test_who_waited_for_the_budget_and_is_moved_counts_as_moved() -> None:
    one, event = waiting_for_the_budget()
    assert counts(event, one.do(event)).moves == 1


def test_counts_add_up() -> None:
    assert Counts(1, 0, 2) + Counts(1, 1, 1, 1, 1) == Counts(2, 1, 3, 1, 1)
