"""A node under another configuration, as a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from crirm.hosts.synthetic import HostSpec, topology_of
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.decision import Adjustment, State, UpdateContainer
from crirm.model.events import (
    ContainerCreated,
    ContainerRequested,
    ContainerStarted,
    Event,
    PodAdded,
    ResizeFailed,
    ResizeRequested,
    Synchronised,
    Timer,
    TimerExpired,
    UpdateFailed,
)
from crirm.model.qos import QoSClass
from crirm.model.quantity import MilliCPU
from crirm.model.resources import LinuxResources, Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId
from crirm.policy.activation import OTHER_POLICY, RECONFIGURED, Plan, plan
from crirm.policy.api import Constraints, CPUConstraint
from crirm.policy.none import NonePolicy
from crirm.policy.pipeline import initial, step
from crirm.policy.registry import POLICIES
from tests.unit.policy.counting import Counting

if TYPE_CHECKING:
    from crirm.policy.api import Policy

MACHINE = Adjustment(cpus=CPUSet(range(8)), mems=NodeSet.of(0))
POD = Pod(PodId("p"), "uid", "p", "default", QoSClass.GUARANTEED)
NOTHING = NonePolicy()


def key(name: str) -> ContainerKey:
    return ContainerKey(name)


def after(policy: Policy, *events: Event, state: State | None = None) -> State:
    state = initial(policy) if state is None else state
    for event in events:
        decision = step(policy, state, event, 0.0)
        assert decision.refusal is None
        state = decision.state
    return state


def asked(name: str, cpus: int) -> ContainerRequested:
    wanted = Requirements(cpu_request=MilliCPU(cpus * 1000))
    return ContainerRequested(Container(key(name), POD.id, name, ContainerState.CREATING, wanted))


def run(name: str, cpus: int) -> list[Event]:
    return [asked(name, cpus), ContainerCreated(key(name), ContainerId(f"id-{name}")), ContainerStarted(key(name))]


def planned(old: Policy, new: Policy, state: State) -> Plan:
    grants = old.save(state.policy) if old.name == new.name else {}
    return plan(new, grants, state, MACHINE)


def shown(found: Plan) -> dict[str, tuple[str, str, str]]:
    changes = {name: (one.before.cpus, one.after.cpus, one.why) for name, one in found.changes.items()}
    return {name: (str(before), str(now), why) for name, (before, now, why) in changes.items()}


def updates(found: Plan) -> dict[str, str]:
    return {one.key: str(one.adjustment.cpus) for one in found.effects if isinstance(one, UpdateContainer)}


def test_what_fits_stays_and_nobody_is_told_anything() -> None:
    policy = Counting(8)
    state = after(policy, PodAdded(POD), *run("a", 2), *run("b", 0))
    found = planned(policy, Counting(8), state)
    assert found == Plan(state)


@pytest.mark.parametrize(
    ("new", "changes"),
    [
        pytest.param(
            Counting(6),
            {"c": ("3-7", "3-5", RECONFIGURED)},
            id="who shares is given what is left of a smaller machine",
        ),
        pytest.param(
            Counting(8, name="other"),
            {"a": ("0", "2", OTHER_POLICY), "b": ("1-2", "0-1", OTHER_POLICY)},
            id="another policy places all anew, in an order of its own",
        ),
        pytest.param(
            NOTHING,
            {
                "a": ("0", "0-7", OTHER_POLICY),
                "b": ("1-2", "0-7", OTHER_POLICY),
                "c": ("3-7", "0-7", OTHER_POLICY),
            },
            id="who is not bound any more has the whole machine",
        ),
    ],
)
def test_who_moves_is_told_with_the_reason(new: Policy, changes: dict[str, tuple[str, str, str]]) -> None:
    policy = Counting(8)
    state = after(policy, PodAdded(POD), *run("a", 1), *run("b", 2), *run("c", 0))
    found = planned(policy, new, state)
    assert shown(found) == changes
    assert updates(found) == {name: now for name, (_, now, _) in changes.items()}
    assert found.state.workload == state.workload


def test_what_is_new_goes_to_those_who_share() -> None:
    policy = Counting(8)
    state = after(policy, PodAdded(POD), *run("a", 5), *run("b", 1), *run("c", 0))
    assert shown(planned(policy, Counting(9), state)) == {"c": ("6-7", "6-8", RECONFIGURED)}


def test_who_has_no_room_is_named_and_would_share_what_is_left() -> None:
    policy = Counting(8)
    state = after(policy, PodAdded(POD), *run("a", 5), *run("b", 2))
    found = planned(policy, Counting(4), state)
    assert found.unfit == {"a": "wants 5 CPUs, 4 are free and one must stay [too-few-exclusive-cpus]"}
    assert {name: str(one.cpus) for name, one in found.state.adjustments.items()} == {"a": "2-3", "b": "0-1"}


def test_who_could_not_be_told_last_is_set_free_as_well() -> None:
    """Its update has failed, so nobody knows what it has; it was bound to something."""
    old = Counting(8)
    state = after(old, PodAdded(POD), *run("a", 2), UpdateFailed(key("a"), "not now"))
    assert not state.told
    found = planned(old, NOTHING, state)
    assert updates(found) == {"a": "0-7"}


def test_a_container_in_the_middle_of_its_creation_is_told_once_it_is_there() -> None:
    policy = Counting(8)
    state = after(policy, PodAdded(POD), asked("a", 2))
    found = planned(policy, NOTHING, state)
    assert updates(found) == {}
    created = step(NOTHING, found.state, ContainerCreated(key("a"), ContainerId("x")), 0.0)
    assert [one.adjustment for one in created.effects if isinstance(one, UpdateContainer)] == [
        Adjustment(cpus=MACHINE.cpus)
    ]


def test_a_resize_that_fails_afterwards_asks_the_new_policy_for_the_old_size() -> None:
    old, new = Counting(8), Counting(8, name="other")
    more = ResizeRequested(key("a"), LinuxResources(), Requirements(cpu_request=MilliCPU(3000)))
    state = after(old, PodAdded(POD), *run("a", 1), more)
    found = planned(old, new, state)
    undone = step(new, found.state, ResizeFailed(key("a")), 0.0).state
    assert undone.workload.containers[key("a")].requirements.cpu_request == 1000
    assert undone.adjustments == {"a": Adjustment(cpus=CPUSet.of(0))}


@pytest.mark.parametrize("new", [Counting(6), Counting(8, name="other"), NOTHING], ids=["smaller", "other", "none"])
def test_going_back_gives_everybody_what_it_had(new: Any) -> None:
    old = Counting(8)
    state = after(old, PodAdded(POD), *run("a", 1), *run("b", 2), *run("c", 0))
    found = planned(old, new, state)
    back = plan(old, old.save(state.policy), found.state, MACHINE)
    assert (back.state.policy, back.state.adjustments) == (state.policy, state.adjustments)
    assert updates(back) == {name: str(state.adjustments[key(name)].cpus) for name in found.changes}


def test_going_back_keeps_who_came_meanwhile() -> None:
    old, new = Counting(8), Counting(8, name="other")
    state = after(old, PodAdded(POD), *run("a", 1), *run("c", 0))
    found = after(new, *run("d", 2), state=planned(old, new, state).state)
    back = plan(old, old.save(state.policy), found, MACHINE)
    assert {name: str(one.cpus) for name, one in back.state.adjustments.items()} == {"a": "0", "c": "3-7", "d": "1-2"}


STATIC = POLICIES["static"].make(
    topology_of(HostSpec(packages=1, cores=8, threads=1)),
    Constraints(reserved=CPUConstraint(cpus=CPUSet.of(0))),
    POLICIES["static"].options(),
)
MALFORMED = attrs.evolve(
    POD, id=PodId("q"), annotations={"prefer-isolated-cpus.cri-resource-manager.intel.com": "perhaps"}
)


def with_malformed(policy: Policy) -> State:
    odd = asked("m", 2).container
    there: list[Event] = [ContainerCreated(key("m"), ContainerId("id-m")), ContainerStarted(key("m"))]
    request = ContainerRequested(attrs.evolve(odd, pod=MALFORMED.id))
    return after(policy, PodAdded(POD), PodAdded(MALFORMED), *run("a", 2), request, *there)


def test_who_cannot_be_placed_by_another_policy_shares_with_others_and_is_degraded() -> None:
    old = Counting(8)
    found = planned(old, STATIC, with_malformed(old))
    assert {name: str(one.cpus) for name, one in found.state.adjustments.items()} == {"a": "1-2", "m": "0,3-7"}
    assert "perhaps" in found.state.degraded[key("m")]
    assert found.unfit.keys() == {"m"}
    taken = step(STATIC, found.state, asked("b", 3), 0.0).state
    assert taken.adjustments[key("m")].cpus == CPUSet.parse("0,6-7"), "it makes room as the others do"


def test_where_nobody_is_bound_who_cannot_be_placed_is_not_either() -> None:
    host = topology_of(HostSpec(packages=1, cores=8, threads=1))
    reserved = Constraints(reserved=CPUConstraint(cpus=CPUSet.of(0)))
    kind = POLICIES["memtier"]
    binding, loose = (kind.make(host, reserved, kind.options(pin_cpu=pin)) for pin in (True, False))
    bound = planned(Counting(8), binding, with_malformed(Counting(8))).state
    assert bound.adjustments[key("m")].cpus == CPUSet.parse("3-7")
    found = planned(binding, loose, bound)
    assert found.state.degraded.keys() == {"m"}
    assert {name: str(one.cpus) for name, one in found.state.adjustments.items()} == {"a": "0-7", "m": "0-7"}


def test_who_cannot_be_placed_is_tried_again_and_heals() -> None:
    old = Counting(8)
    found = planned(old, STATIC, with_malformed(old))
    pods = {POD.id: POD, MALFORMED.id: attrs.evolve(MALFORMED, annotations={})}
    state = attrs.evolve(found.state, workload=attrs.evolve(found.state.workload, pods=pods))
    healed = step(STATIC, state, TimerExpired(key("m"), Timer.REPAIR), 100.0).state
    assert (healed.degraded, str(healed.adjustments[key("m")].cpus)) == ({}, "3-4")


def test_a_stranger_that_cannot_be_placed_is_known_and_shares() -> None:
    stranger = attrs.evolve(
        asked("m", 2).container, pod=MALFORMED.id, id=ContainerId("x"), state=ContainerState.RUNNING
    )
    state = after(STATIC, PodAdded(POD), *run("a", 2), Synchronised((POD, MALFORMED), (*there("a"), stranger)))
    assert (str(state.adjustments[key("m")].cpus), list(state.degraded)) == ("0,3-7", ["m"])


def test_a_stranger_that_topology_aware_cannot_read_is_known_and_shares() -> None:
    policy = POLICIES["topology-aware"].make(
        topology_of(HostSpec(packages=1, cores=8, threads=1)),
        Constraints(reserved=CPUConstraint(cpus=CPUSet.of(0))),
        POLICIES["topology-aware"].options(),
    )
    pod = attrs.evolve(MALFORMED, annotations={"prefer-shared-cpus.cri-resource-manager.intel.com": "perhaps"})
    stranger = attrs.evolve(asked("m", 2).container, pod=pod.id, id=ContainerId("x"), state=ContainerState.RUNNING)
    state = after(policy, PodAdded(POD), *run("a", 2), Synchronised((POD, pod), (*there("a"), stranger)))
    assert {name: str(one.cpus) for name, one in state.adjustments.items()} == {"a": "1-2", "m": "3-7"}
    assert "perhaps" in state.degraded[key("m")]


def there(name: str) -> tuple[Container, ...]:
    return (attrs.evolve(asked(name, 2).container, id=ContainerId(f"id-{name}"), state=ContainerState.RUNNING),)
