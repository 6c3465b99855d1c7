"""CPUs that a DRA driver has given out, under every policy that pins CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.claims import CPUClaim
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.decision import NO_QUOTA, Decision
from crirm.model.events import ContainerRemoved, ContainerRequested, PodAdded, ResizeRequested, Synchronised
from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.refusal import RefusalCode
from crirm.model.resources import LinuxResources, Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId
from crirm.policy.api import Choice, Constraints, CPUConstraint
from crirm.policy.pipeline import initial, step
from crirm.policy.registry import make_policy
from crirm.policy.restore import Saved, revive

if TYPE_CHECKING:
    from crirm.model.decision import State
    from crirm.policy.api import Policy

HOST = "1p.2n.4c.1t mem=8Gi"  # CPUs 0-3 and 4-7
BOTH = pytest.mark.parametrize("name", ["topology-aware", "static"])
POD = Pod(PodId("p"), "uid", "p", "default", QoSClass.GUARANTEED)
SHARING = Pod(PodId("b"), "uid-b", "b", "default", QoSClass.BURSTABLE)


def policy_of(name: str) -> Policy:
    return make_policy(
        Choice(name, Constraints(reserved=CPUConstraint(cpus=CPUSet.of(0)))), topology_of(parse_spec(HOST))
    )


def claim(cpus: str, uid: str = "u1") -> CPUClaim:
    return CPUClaim(uid, CPUSet.parse(cpus))


def container(name: str, *claims: CPUClaim, cpu: int = 1000, pod: Pod = POD) -> Container:
    memory = Bytes(1 << 30)
    wanted = Requirements(MilliCPU(cpu), MilliCPU(cpu), memory, memory)
    return Container(ContainerKey(name), pod.id, name, ContainerState.CREATING, wanted, claims=claims)


@attrs.define
class Node:
    policy: Policy
    state: State = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.state = initial(self.policy)
        for pod in (POD, SHARING):
            self.state = step(self.policy, self.state, PodAdded(pod), 0.0).state

    def add(self, made: Container) -> Decision:
        decision = step(self.policy, self.state, ContainerRequested(made), 0.0)
        self.state = decision.state
        return decision

    def cpus(self, name: str) -> str:
        return str(self.state.adjustments[ContainerKey(name)].cpus)


def node(name: str, *containers: Container) -> Node:
    made = Node(policy_of(name))
    for one in containers:
        assert made.add(one).refusal is None
    return made


@BOTH
def test_a_container_is_on_exactly_its_cpus_whatever_it_requests(name: str) -> None:
    decision = node(name).add(container("c", claim("5-6"), cpu=3000))
    assert decision.adjustment is not None
    assert (str(decision.adjustment.cpus), decision.adjustment.cpu_quota_us) == ("5-6", NO_QUOTA)
    assert decision.trail is not None
    assert "a DRA driver has given it these CPUs (claim u1)" in decision.trail.notes


@BOTH
def test_nobody_else_gets_its_cpus_exclusively_or_shared(name: str) -> None:
    made = node(name, container("c", claim("4-6")), container("s", pod=SHARING), container("x", cpu=1000))
    assert CPUSet.parse(made.cpus("s")).isdisjoint(CPUSet.parse("4-6"))
    assert CPUSet.parse(made.cpus("x")).isdisjoint(CPUSet.parse("4-6"))


@BOTH
def test_who_shares_is_shrunk_off_and_comes_back(name: str) -> None:
    made = node(name, container("s", pod=SHARING, cpu=100), container("c", claim("6-7")))
    assert CPUSet.parse(made.cpus("s")).isdisjoint(CPUSet.parse("6-7"))
    before = made.cpus("s")
    made.state = step(made.policy, made.state, ContainerRemoved(ContainerKey("c")), 0.0).state
    assert CPUSet.parse(before) < CPUSet.parse(made.cpus("s"))
    assert ContainerKey("c") not in made.policy.exclusive(made.state.policy)


@BOTH
def test_containers_with_one_claim_share_its_cpus_until_the_last_is_gone(name: str) -> None:
    made = node(name, container("c", claim("5-6")), container("d", claim("5-6")))
    assert (made.cpus("c"), made.cpus("d")) == ("5-6", "5-6")
    made.state = step(made.policy, made.state, ContainerRemoved(ContainerKey("c")), 0.0).state
    refused = made.add(container("e", claim("6-7", "u2")))
    assert refused.refusal is not None
    made.state = step(made.policy, made.state, ContainerRemoved(ContainerKey("d")), 0.0).state
    assert made.add(container("e", claim("6-7", "u2"))).refusal is None


@BOTH
@pytest.mark.parametrize(
    ("there", "claims", "code", "sentence"),
    [
        pytest.param(
            [container("x", cpu=6000)],
            [claim("4-5")],
            RefusalCode.DRA_CPUS_TAKEN,
            "CPUs 4-5 belong exclusively to default/p/x; delete one of the two pods",
            id="exclusive CPUs of another",
        ),
        pytest.param(
            [container("o", claim("3-4", "u0"))],
            [claim("4-5")],
            RefusalCode.DRA_CPUS_TAKEN,
            "claim u0 has CPUs 3-4 for another container",
            id="CPUs of another claim",
        ),
        pytest.param(
            [container("o", claim("3-4"))],
            [claim("3-5")],
            RefusalCode.DRA_CPUS_TAKEN,
            "claim u1 has CPUs 3-4 for another container",
            id="another size of the same claim",
        ),
        pytest.param([], [claim("0-1")], RefusalCode.DRA_CPUS_RESERVED, "CPUs 0 are reserved", id="reserved CPUs"),
        pytest.param([], [claim("7-9")], RefusalCode.DRA_CPUS_OFFLINE, "CPUs 8-9 are not online", id="no CPUs"),
    ],
)
def test_refused_for(
    name: str, there: list[Container], claims: list[CPUClaim], code: RefusalCode, sentence: str
) -> None:
    made = node(name)
    policy = made.policy
    if name == "topology-aware" and there and there[0].requirements.cpu_request == 7000:
        there = [attrs.evolve(there[0], requirements=attrs.evolve(there[0].requirements, cpu_request=MilliCPU(6000)))]
    for one in there:
        assert made.add(one).refusal is None
    before = made.state
    decision = made.add(container("c", *claims))
    assert decision.refusal is not None
    assert decision.refusal.code is code
    assert sentence in str(decision.refusal)
    assert not policy.fits(before.policy, before.workload, container("c", *claims))
    assert made.state == before
    assert policy.exclusive(made.state.policy) == policy.exclusive(before.policy)


@BOTH
def test_a_resize_leaves_it_on_its_cpus(name: str) -> None:
    made = node(name, container("c", claim("5-6")))
    wanted = container("c", cpu=4000).requirements
    decision = step(made.policy, made.state, ResizeRequested(ContainerKey("c"), LinuxResources(), wanted), 0.0)
    assert decision.adjustment is not None
    assert str(decision.adjustment.cpus) == "5-6"


@BOTH
def test_claims_survive_a_restart(name: str) -> None:
    made = node(name, container("c", claim("5-6")), container("d", claim("5-6")), container("x", cpu=1000))
    saved = Saved(made.state.workload, made.policy.save(made.state.policy))
    revived = revive(made.policy, saved)
    assert (revived.state.policy, revived.moved) == (made.state.policy, {})


@BOTH
def test_after_a_restart_without_grants_claims_come_first(name: str) -> None:
    """Without what was saved of the policy, every container is placed again, and the claims are where they were."""
    made = node(name, container("c", claim("1-3")), container("x", cpu=2000))
    revived = revive(made.policy, Saved(made.state.workload, {}))
    own = revived.state.adjustments[ContainerKey("x")].cpus
    assert str(revived.state.adjustments[ContainerKey("c")].cpus) == "1-3"
    assert own is not None
    assert own.isdisjoint(CPUSet.parse("1-3"))


@BOTH
def test_one_found_running_on_cpus_of_another_shares_what_is_left_and_says_so(name: str) -> None:
    made = node(name, container("x", cpu=6000))
    own = made.policy.exclusive(made.state.policy)[ContainerKey("x")]
    found = attrs.evolve(
        container("c", CPUClaim("u1", own)), id=ContainerId("i"), state=ContainerState.RUNNING, found_on=own
    )
    known = attrs.evolve(made.state.workload.containers[ContainerKey("x")], id=ContainerId("x"))
    made.state = attrs.evolve(
        made.state,
        workload=attrs.evolve(
            made.state.workload,
            containers={known.key: attrs.evolve(known, state=ContainerState.RUNNING)},
        ),
    )
    running = made.state.workload.containers[known.key]
    after = step(made.policy, made.state, Synchronised((POD, SHARING), (running, found)), 0.0).state
    given = after.adjustments[found.key].cpus
    assert given is not None
    assert given.isdisjoint(own)
    assert "dra-cpus-taken" in after.degraded[found.key]


def test_its_memory_is_that_of_its_cpus() -> None:
    decision = node("topology-aware").add(container("c", claim("5-6")))
    assert decision.adjustment is not None
    assert decision.adjustment.mems == NodeSet.of(1)


def test_who_cannot_stay_goes_to_the_pool_above_and_is_told_why() -> None:
    made = node("topology-aware", container("s", pod=SHARING, cpu=2500))
    home = CPUSet.parse(made.cpus("s"))
    decision = made.add(container("c", CPUClaim("u1", CPUSet(sorted(home)[:3]))))
    assert decision.refusal is None
    assert not CPUSet.parse(made.cpus("s")).isdisjoint(CPUSet.parse("0-7") - home)
    moves = [move for move in decision.moves if move.key == "s" and move.what == "CPUs"]
    assert [(move.before, move.after) for move in moves] == [(str(home), made.cpus("s"))]
    assert moves[0].why == "a DRA driver gave CPUs of its pool to default/p/c"


def test_where_nothing_above_has_room_the_claim_is_refused() -> None:
    made = node("topology-aware", container("s", pod=SHARING, cpu=6500))
    decision = made.add(container("c", claim("4-6")))
    assert decision.refusal is not None
    assert decision.refusal.code is RefusalCode.DRA_CPUS_SHARED
