"""Containers whose limits are those of their pod: together they are never promised more than it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.claims import CPUClaim
from crirm.model.cpuset import CPUSet
from crirm.model.events import ContainerExited, ContainerRequested, PodAdded, PodResized, ResizeRequested
from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.resources import LinuxResources, Requirements, estimate, millicpu_to_quota, millicpu_to_shares
from crirm.model.workload import Container, ContainerKey, ContainerState, Pod, PodId, Workload
from crirm.policy.api import Choice, Constraints, CPUConstraint
from crirm.policy.pipeline import initial, step
from crirm.policy.pod_level import within_pod
from crirm.policy.registry import make_policy
from tests.unit.policy.topology_aware.support import PATIENT

if TYPE_CHECKING:
    from crirm.model.decision import Decision, State
    from crirm.model.events import Event

GIB = 1 << 30
CAPACITY = Bytes(64 * GIB)


def sent(cpu: int, memory: float, *, limit: int | None = None) -> LinuxResources:
    """Return what the kubelet sends for a CPU request and limit in thousandths, and a memory limit in GiB."""
    quota = millicpu_to_quota(MilliCPU(cpu if limit is None else limit), 0)
    return LinuxResources(millicpu_to_shares(MilliCPU(cpu)), quota, 100_000, round(memory * GIB), -997)


def pod_of(cpu: int, memory: float, qos: QoSClass = QoSClass.GUARANTEED, limit: int | None = None) -> Pod:
    return Pod(PodId("p"), "uid", "p", "default", qos, resources=sent(cpu, memory, limit=limit))


def container(name: str, resources: LinuxResources, qos: QoSClass = QoSClass.GUARANTEED) -> Container:
    wanted = estimate(resources, qos, CAPACITY)
    return Container(ContainerKey(name), PodId("p"), name, ContainerState.CREATING, wanted, resources)


class Node:
    """A node with one pod."""

    def __init__(self, pod: Pod, policy: str = "topology-aware") -> None:
        constraints = Constraints(reserved=CPUConstraint(cpus=CPUSet.of(0)))
        topology = topology_of(parse_spec("1p.1n.16c.1t mem=64Gi"))
        self.policy = make_policy(Choice(policy, constraints), topology)
        self.state: State = initial(self.policy)
        self.do(PodAdded(pod))

    def do(self, event: Event) -> Decision:
        decision = step(self.policy, self.state, event, 0.0)
        assert decision.refusal is None
        self.state = decision.state
        return decision

    def requests(self) -> dict[str, int]:
        return {key: one.requirements.cpu_request for key, one in self.state.workload.containers.items()}

    def exclusive(self) -> dict[str, int]:
        return {key: len(cpus) for key, cpus in self.policy.exclusive(self.state.policy).items()}


@pytest.mark.parametrize("policy", ["topology-aware", "static"])
def test_two_without_limits_of_their_own_get_no_more_than_their_pod(policy: str) -> None:
    node = Node(pod_of(4000, 8), policy)
    for name in ("a", "b"):
        node.do(ContainerRequested(container(name, sent(4000, 8))))
    assert node.requests() == {"a": 4000, "b": 0}
    assert node.exclusive() == {"a": 4}


def test_what_the_first_leaves_is_exclusive_for_the_main_container() -> None:
    node = Node(pod_of(4000, 8))
    node.do(ContainerRequested(container("sidecar", sent(1000, 1))))
    decision = node.do(ContainerRequested(container("main", sent(4000, 8))))
    assert (node.requests(), node.exclusive()) == ({"sidecar": 1000, "main": 3000}, {"sidecar": 1, "main": 3})
    assert decision.trail is not None
    assert decision.trail.notes[-1] == (
        "its limits are those of its pod, which others of the pod use too; CPU request left for it: 3; "
        f"memory left for it: {7 * GIB} bytes"
    )


def test_exclusive_and_shared_in_one_pod() -> None:
    node = Node(pod_of(4000, 8))
    node.do(ContainerRequested(container("exclusive", sent(3000, 4))))
    decision = node.do(ContainerRequested(container("rest", sent(4000, 8))))
    node.do(ContainerRequested(container("third", sent(4000, 8))))
    assert node.requests() == {"exclusive": 3000, "rest": 1000, "third": 0}
    assert node.exclusive() == {"exclusive": 3, "rest": 1}
    assert decision.adjustment is not None
    assert decision.adjustment.cpu_shares == 4096, "the kubelet's weight stays"


def test_claims_of_others_count_as_requested() -> None:
    node = Node(pod_of(6000, 8))
    claimed = attrs.evolve(container("claimed", sent(6000, 2)), claims=(CPUClaim("u", CPUSet.parse("8-11")),))
    node.do(ContainerRequested(claimed))
    node.do(ContainerRequested(container("sidecar", sent(6000, 1))))
    assert node.exclusive() == {"claimed": 4, "sidecar": 2}


def test_an_init_container_that_has_ended_leaves_all_and_one_that_seems_to_run_has_crirm_look() -> None:
    node = Node(pod_of(4000, 8))
    node.do(ContainerRequested(container("init", sent(4000, 8))))
    assert node.do(ContainerRequested(container("main", sent(4000, 8)))).cramped
    node = Node(pod_of(4000, 8))
    node.do(ContainerRequested(container("init", sent(4000, 8))))
    node.do(ContainerExited(ContainerKey("init")))
    assert not node.do(ContainerRequested(container("main", sent(4000, 8)))).cramped
    assert node.exclusive() == {"main": 4}


def test_a_resize_of_the_pod_leaves_more() -> None:
    node = Node(pod_of(4000, 8))
    for name in ("a", "b"):
        node.do(ContainerRequested(container(name, sent(3000 if name == "a" else 4000, 1))))
    assert node.requests() == {"a": 3000, "b": 1000}
    node.do(PodResized(PodId("p"), None, sent(6000, 8)))
    grown = container("b", sent(6000, 1))
    node.do(ResizeRequested(grown.key, grown.resources, grown.requirements))
    assert node.requests() == {"a": 3000, "b": 3000}
    assert node.exclusive() == {"a": 3, "b": 3}


def test_an_ordinary_container_that_grows_to_what_its_pod_once_had_is_not_taken_for_another() -> None:
    """The runtime has not told the new sum."""
    node = Node(pod_of(4000, 8))
    for name in ("a", "b"):
        node.do(ContainerRequested(container(name, sent(2000, 4))))
    grown = container("b", sent(4000, 4))
    node.do(ResizeRequested(grown.key, grown.resources, grown.requirements))
    assert node.requests() == {"a": 2000, "b": 4000}
    node.do(ContainerExited(grown.key))
    again = attrs.evolve(grown, key=ContainerKey("b2"), attempt=1)
    node.do(ContainerRequested(again))
    assert node.requests()["b2"] == 4000
    assert node.exclusive() == {"a": 2, "b2": 4}


FOUR = pod_of(4000, 8)
OTHER = container("o", sent(1000, 1))


@pytest.mark.parametrize(
    ("pod", "one"),
    [
        pytest.param(FOUR, container("c", sent(3000, 7)), id="limits of its own"),
        pytest.param(attrs.evolve(FOUR, resources=None), container("c", sent(4000, 8)), id="a pod that tells nothing"),
        pytest.param(
            pod_of(4000, 8),
            attrs.evolve(
                container("c", sent(4000, 1)), requirements=Requirements(MilliCPU(3999), None, Bytes(1), Bytes(1))
            ),
            id="a request that an annotation or override tells",
        ),
        pytest.param(
            pod_of(2000, 8, QoSClass.BURSTABLE, limit=4000),
            container("c", sent(2000, 1, limit=4000), QoSClass.BURSTABLE),
            id="a request of its own below the limit of the pod",
        ),
        pytest.param(
            FOUR,
            attrs.evolve(container("c", sent(4000, 8)), claims=(CPUClaim("u", CPUSet.of(1)),)),
            id="CPUs of a claim",
        ),
    ],
)
def test_nothing_changes_for(pod: Pod, one: Container) -> None:
    workload = Workload({pod.id: pod}, {OTHER.key: OTHER})
    assert within_pod(workload, one) is one


def test_alone_it_has_all_of_its_pod() -> None:
    one = container("c", sent(4000, 8))
    assert within_pod(Workload({FOUR.id: FOUR}, {}), one) is one
    before = attrs.evolve(one, key=ContainerKey("earlier"), state=ContainerState.RUNNING)
    assert within_pod(Workload({FOUR.id: FOUR}, {before.key: before}), one) is one, "an earlier attempt"


def test_a_burstable_container_without_a_request_has_what_the_pods_request_leaves() -> None:
    pod = pod_of(2000, 8, QoSClass.BURSTABLE, limit=4000)
    first = container("o", sent(1500, 2), QoSClass.BURSTABLE)
    one = container("c", sent(4000, 8), QoSClass.BURSTABLE)
    wanted = within_pod(Workload({pod.id: pod}, {first.key: first}), one).requirements
    assert (wanted.cpu_request, wanted.unpromised_cpu, wanted.memory_limit) == (500, 3500, 6 * GIB)


@PATIENT
@given(
    pod=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    own=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8), st.booleans(), st.booleans()), max_size=5),
)
def test_a_pod_is_never_promised_more_than_it_has(pod: tuple[int, int], own: list[tuple[int, int, bool, bool]]) -> None:
    """Containers with limits of their own add up to no more than the pod's, as the API server demands."""
    cpus, memory = pod
    node, left, room = Node(pod_of(1000 * cpus, memory)), cpus, memory
    for number, (cpu, gib, inherits_cpu, inherits_memory) in enumerate(own):
        wants = cpus if inherits_cpu else min(cpu, left)
        needs = memory if inherits_memory else min(gib, room)
        if not wants or not needs:
            continue
        node.do(ContainerRequested(container(f"c{number}", sent(1000 * wants, needs))))
        inherited = node.state.workload.containers[ContainerKey(f"c{number}")].requirements
        left = max(left - inherited.cpu_request // 1000, 0)
        room = max(room - (inherited.memory_limit or 0) // GIB, 0)
    wanted = [one.requirements for one in node.state.workload.containers.values()]
    assert sum(one.cpu_request for one in wanted) <= 1000 * cpus
    assert sum(one.memory_limit or 0 for one in wanted) <= memory * GIB
