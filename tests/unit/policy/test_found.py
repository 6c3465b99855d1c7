"""Containers that run already when crirm learns of them: they stay where they are, as far as the policy allows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.decision import Adjustment
from crirm.model.events import ContainerRequested, PodAdded, Synchronised
from crirm.model.qos import QoSClass
from crirm.model.quantity import MilliCPU
from crirm.model.resources import Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId
from crirm.policy.activation import plan
from crirm.policy.api import Constraints, CPUConstraint, Policy
from crirm.policy.pipeline import initial, step
from crirm.policy.registry import POLICIES
from crirm.policy.static.options import StaticOptions
from crirm.policy.topology_aware.options import TopologyAwareOptions

if TYPE_CHECKING:
    from crirm.model.decision import State

OPTIONS = {"static": StaticOptions(), "topology-aware": TopologyAwareOptions()}


def policy(name: str) -> Policy:
    """Two packages of four CPUs each; CPU 0 is reserved, CPU 7 isolated."""
    constraints = Constraints(reserved=CPUConstraint(cpus=CPUSet.of(0)))
    return POLICIES[name].make(topology_of(parse_spec("2p.4c isolated=7")), constraints, OPTIONS[name])


def found(name: str, cpus: int, on: str, qos: QoSClass = QoSClass.GUARANTEED) -> tuple[Pod, Container]:
    pod = Pod(PodId(name), name, name, "shop", qos)
    asked = Requirements(MilliCPU(1000 * cpus), MilliCPU(1000 * cpus))
    running = Container(ContainerKey(name), pod.id, "main", ContainerState.RUNNING, asked, id=ContainerId(f"id-{name}"))
    return pod, attrs.evolve(running, found_on=CPUSet.parse(on))


def synchronise(name: str, *there: tuple[Pod, Container]) -> State:
    made = policy(name)
    pods, containers = zip(*there, strict=True)
    return step(made, initial(made), Synchronised(pods, containers), 0.0).state


@pytest.mark.parametrize("name", sorted(OPTIONS))
@pytest.mark.parametrize(
    ("there", "has"),
    [
        pytest.param([("a", 2, "2,5"), ("b", 1, "3")], {"a": "2,5", "b": "3"}, id="each keeps its own, wherever it is"),
        pytest.param([("a", 1, "7")], {"a": "7"}, id="isolated ones too"),
        pytest.param([("a", 4, ""), ("b", 1, "2")], {"b": "2"}, id="a larger one that is bound nowhere comes after"),
    ],
)
def test_what_runs_stays_where_it_is(name: str, there: list[tuple[str, int, str]], has: dict[str, str]) -> None:
    state = synchronise(name, *(found(*one) for one in there))
    assert has == {key: str(state.adjustments[ContainerKey(key)].cpus) for key in has}


@pytest.mark.parametrize("name", sorted(OPTIONS))
@pytest.mark.parametrize(
    "there",
    [
        pytest.param([("a", 1, "0")], id="reserved CPUs belong to nobody"),
        pytest.param([("a", 2, "2-7")], id="it is bound to more than its own"),
        pytest.param([("a", 1, "3"), ("b", 1, "3")], id="two on the same CPU"),
        pytest.param([("a", 1, "99")], id="CPUs that are not there"),
        pytest.param([("a", 2, "6-7")], id="isolated and ordinary ones together"),
    ],
)
def test_what_cannot_stay_is_placed_as_any_other(name: str, there: list[tuple[str, int, str]]) -> None:
    state = synchronise(name, *(found(*one) for one in there))
    own = {key: state.adjustments[ContainerKey(key)].cpus or CPUSet() for key, _, _ in there}
    assert {key: len(cpus) for key, cpus in own.items()} == {key: count for key, count, _ in there}
    assert len(CPUSet.union(own.values())) == sum(count for _, count, _ in there)
    assert CPUSet.union(own.values()).isdisjoint(CPUSet.of(0))


def test_who_shares_keeps_what_was_promised_to_it() -> None:
    made = policy("topology-aware")
    sharing = found("s", 3, "", QoSClass.BURSTABLE)
    state = step(made, initial(made), Synchronised((sharing[0],), (sharing[1],)), 0.0).state
    taking = found("a", 2, "5-6")
    both = Synchronised((sharing[0], taking[0]), (sharing[1], taking[1]))
    state = step(made, state, both, 0.0).state
    shared = state.adjustments[ContainerKey("s")].cpus
    assert shared is not None
    assert len(shared) >= 3


@pytest.mark.parametrize(("old", "new"), [("static", "topology-aware"), ("topology-aware", "static")])
def test_another_policy_leaves_exclusive_containers_where_they_are(old: str, new: str) -> None:
    there = [found("a", 2, "2-3"), found("b", 1, "7"), found("c", 2, "5-6")]
    state = synchronise(old, *there)
    moved = {key: attrs.evolve(one, found_on=CPUSet()) for key, one in state.workload.containers.items()}
    state = attrs.evolve(state, workload=attrs.evolve(state.workload, containers=moved))
    machine = Adjustment(cpus=CPUSet(range(8)), mems=NodeSet.of(0, 1))
    after = plan(policy(new), {}, state, machine).state
    assert after.workload == state.workload
    has = {key: str(one.cpus) for key, one in after.adjustments.items()}
    assert has == {"a": "2-3", "b": "7", "c": "5-6"}


def test_who_is_found_where_no_shared_cpu_is_left_runs_on_reserved_ones() -> None:
    state = synchronise("topology-aware", found("a", 6, "1-6"), found("b", 0, "1-6", QoSClass.BEST_EFFORT))
    assert {key: str(one.cpus) for key, one in state.adjustments.items()} == {"a": "1-6", "b": "0"}
    assert "wants shared CPUs, but no pool has shared CPUs left" in state.degraded[ContainerKey("b")]


def test_overflow_where_no_shared_cpu_is_left_is_refused_with_both_reasons() -> None:
    state = synchronise("topology-aware", found("a", 6, "1-6"))
    pod, late = found("late", 2, "")
    state = step(policy("topology-aware"), state, PodAdded(pod), 0.0).state
    asked = ContainerRequested(attrs.evolve(late, state=ContainerState.CREATING, found_on=CPUSet()))
    decision = step(policy("topology-aware"), state, asked, 0.0, overflow=True)
    assert decision.state is state
    assert str(decision.refusal) == (
        "shop/late/main wants 2 exclusive CPUs, but no pool has enough: socket #0, the best one, has 0 to spare; "
        "with nothing reserved for it (overflow) it does not fit either: "
        "shop/late/main wants shared CPUs, but no pool has shared CPUs left [too-little-shared-cpu]"
    )
