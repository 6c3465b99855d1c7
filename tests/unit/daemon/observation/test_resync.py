"""What the runtime has, asked and understood."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.daemon.observation.resync import cgroup_parent, resync, spec_cpus, spec_resources
from crirm.daemon.observation.settle import settle_creations
from crirm.model.cpuset import CPUSet
from crirm.model.events import ContainerExited
from crirm.model.qos import QoSClass
from crirm.model.resources import LinuxResources
from crirm.model.workload import ContainerId, ContainerState, PodId
from crirm.rpc.grpc_wire import RpcError
from tests.unit.daemon.nodes import (
    FakeNode,
    FakeRuntime,
    create_request,
    good,
    granted,
    pod_request,
    with_pod,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import betterproto
    import trio

ID = "c" * 64
PODS = v1.ListPodSandboxResponse(
    items=[v1.PodSandbox(id="p1", metadata=v1.PodSandboxMetadata(name="web", uid="u", namespace="shop"))]
)
CONTAINERS = v1.ListContainersResponse(
    containers=[
        v1.Container(
            id=ID,
            pod_sandbox_id="p1",
            metadata=v1.ContainerMetadata(name="c"),
            state=v1.ContainerState(v1.ContainerState.CONTAINER_RUNNING),
        )
    ]
)
GIVEN = {"cpu_shares": 2048, "cpu_quota": 200_000, "cpu_period": 100_000, "memory_limit_in_bytes": 1 << 30}
POD_INFO = {"info": json.dumps({"config": {"linux": {"cgroup_parent": "/kubepods/podu", "resources": GIVEN}}})}
SPEC = {
    "runtimeSpec": {"linux": {"resources": {"cpu": {"shares": 2048, "quota": -1, "period": 100000, "cpus": "4,6"}}}}
}
TOLD = v1.ContainerStatus(
    resources=v1.ContainerResources(linux=v1.LinuxContainerResources(cpu_shares=2048, cpuset_cpus="4,6"))
)


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(v1.ContainerStatusResponse(status=TOLD), id="a runtime that tells resources"),
        pytest.param(
            v1.ContainerStatusResponse(info={"info": json.dumps(SPEC)}), id="one that only shows the OCI spec"
        ),
    ],
)
async def test_what_runs_is_taken_over_with_its_class_and_resources(
    nursery: trio.Nursery, status: v1.ContainerStatusResponse
) -> None:
    node = FakeNode(nursery)
    runtime = FakeRuntime(
        {
            "ListPodSandbox": PODS,
            "ListContainers": CONTAINERS,
            "PodSandboxStatus": v1.PodSandboxStatusResponse(info=POD_INFO),
            "ContainerStatus": status,
        }
    )
    await resync(runtime, node.engine, node.intake)
    (pod,) = node.engine.state.workload.pods.values()
    (container,) = node.engine.state.workload.containers.values()
    assert (pod.qos, pod.namespace) == (QoSClass.GUARANTEED, "shop")
    assert (container.state, container.requirements.cpu_request) == (ContainerState.RUNNING, 2000)
    assert (pod.resources, pod.overhead) == (LinuxResources(2048, 200_000, 100_000, 1 << 30), None)
    assert container.found_on == CPUSet.parse("4,6")
    assert len(next(iter(node.engine.state.policy.values()))) == 2
    asked = len(runtime.calls)
    await resync(runtime, node.engine, node.intake)
    assert len(runtime.calls) == asked + 2, "what is known is not asked for again"


@pytest.mark.parametrize(
    ("environment", "claims"),
    [
        pytest.param(["DRA_CPUSET_u1=4,6", "PATH=/bin"], ["4,6"], id="that its CDI file tells as well"),
        pytest.param(["DRA_CPUSET_u1=0-7"], [], id="not such as contradict it"),
        pytest.param(["DRA_CPUSET_u2=4,6"], [], id="not such as no file tells"),
        pytest.param(["DRA_CPUSET_u1"], [], id="nor half a variable"),
        pytest.param([7, None], [], id="nor something else"),
    ],
)
async def test_what_runs_has_the_claims_in_its_environment(
    nursery: trio.Nursery, environment: list[object], claims: list[str]
) -> None:
    node = FakeNode(nursery)
    file = {"dra.k8s.io/cpu=claim-u1": ("DRA_CPUSET_u1=4,6",)}
    node.intake.find_variables = lambda devices: {device: file[device] for device in devices if device in file}
    info = {"info": json.dumps({"runtimeSpec": {"process": {"env": environment}}})}
    status = v1.ContainerStatusResponse(status=TOLD, info=info)
    await resync(FakeRuntime({**ANSWERS, "ContainerStatus": status}), node.engine, node.intake)
    (container,) = node.engine.state.workload.containers.values()
    assert [str(claim.cpus) for claim in container.claims] == claims


async def test_a_runtime_that_tells_no_details_loses_no_container(nursery: trio.Nursery) -> None:
    node = FakeNode(nursery)
    runtime = FakeRuntime({"ListPodSandbox": PODS, "ListContainers": CONTAINERS, "ContainerStatus": Status.UNKNOWN})
    await resync(runtime, node.engine, node.intake)
    (pod,) = node.engine.state.workload.pods.values()
    assert pod.qos is QoSClass.BEST_EFFORT
    assert len(node.engine.state.workload.containers) == 1


async def test_a_container_that_goes_away_while_we_ask_is_left_out(nursery: trio.Nursery) -> None:
    node = FakeNode(nursery)
    runtime = FakeRuntime({"ListPodSandbox": PODS, "ListContainers": CONTAINERS, "ContainerStatus": Status.NOT_FOUND})
    await resync(runtime, node.engine, node.intake)
    assert not node.engine.state.workload.containers


async def test_a_pod_that_goes_away_while_we_ask_is_left_out(nursery: trio.Nursery) -> None:
    node = FakeNode(nursery)
    await resync(FakeRuntime({**ANSWERS, "PodSandboxStatus": Status.NOT_FOUND}), node.engine, node.intake)
    assert known(node) == (set(), {}, [])


@pytest.mark.parametrize(
    ("info", "parent"),
    [
        pytest.param('{"config":{"linux":{"cgroup_parent":"/a"}}}', "/a", id="containerd"),
        pytest.param(
            '{"runtimeSpec":{"annotations":{"io.kubernetes.cri-o.CgroupParent":"b.slice"}}}', "b.slice", id="CRI-O"
        ),
        pytest.param('{"config":null}', "", id="nothing of the kind"),
        pytest.param("not JSON", "", id="no JSON"),
        pytest.param("[" * 100_000, "", id="JSON that nobody can read"),
        pytest.param("", "", id="nothing"),
    ],
)
def test_cgroup_parents_are_found_in_verbose_info(info: str, parent: str) -> None:
    assert parent == cgroup_parent(info)


@pytest.mark.parametrize(
    "info", ["", "[]", '{"runtimeSpec":{"linux":{"resources":{"cpu":{"shares":"many","cpus":"all of them"}}}}}']
)
def test_strange_specs_say_nothing(info: str) -> None:
    assert (LinuxResources(), CPUSet()) == (spec_resources(info), spec_cpus(info))


class Garbled(FakeRuntime):
    """Answers some methods with what is no message."""

    def __init__(self, answers: dict[str, betterproto.Message | Status], *garbled: str) -> None:
        super().__init__(answers)
        self.garbled = garbled

    async def call(self, method: str, message: bytes, *, timeout_s: float) -> bytes:
        answer = await super().call(method, message, timeout_s=timeout_s)
        return b"\x0a\xff" if method in self.garbled else answer


ANSWERS: dict[str, betterproto.Message | Status] = {
    "ListPodSandbox": PODS,
    "ListContainers": CONTAINERS,
    "PodSandboxStatus": v1.PodSandboxStatusResponse(info=POD_INFO),
    "ContainerStatus": v1.ContainerStatusResponse(status=TOLD),
}


@pytest.mark.parametrize("method", ["ListPodSandbox", "ListContainers"])
async def test_a_list_that_cannot_be_read_is_a_failure_of_the_runtime(nursery: trio.Nursery, method: str) -> None:
    node = FakeNode(nursery)
    with pytest.raises(RpcError, match=f"cannot read the answer to {method}"):
        await resync(Garbled(ANSWERS, method), node.engine, node.intake)
    assert not node.engine.state.workload.pods


@pytest.mark.parametrize("method", ["PodSandboxStatus", "ContainerStatus"])
async def test_details_that_cannot_be_read_are_not_known(nursery: trio.Nursery, method: str) -> None:
    node = FakeNode(nursery)
    await resync(Garbled(ANSWERS, method), node.engine, node.intake)
    assert len(node.engine.state.workload.containers) == 1


class Meanwhile(FakeRuntime):
    """Plays what happens on the node between a question and its answer."""

    def __init__(
        self, answers: dict[str, betterproto.Message | Status], method: str, play: Callable[[], object]
    ) -> None:
        super().__init__(answers)
        self.method, self.play = method, play

    async def call(self, method: str, message: bytes, *, timeout_s: float) -> bytes:
        answer = await super().call(method, message, timeout_s=timeout_s)
        if method == self.method:
            self.play()
        return answer


def lives(node: FakeNode, pod: str, id_: str) -> None:
    """Play that the kubelet runs a pod with one container."""
    node.call("RunPodSandbox", pod_request(uid=f"u-{pod}"), good(v1.RunPodSandboxResponse(pod_sandbox_id=pod)))
    node.call("CreateContainer", create_request(pod=pod), good(v1.CreateContainerResponse(container_id=id_)))
    node.call("StartContainer", v1.StartContainerRequest(container_id=id_), good(v1.StartContainerResponse()))


def removed(node: FakeNode, pod: str, id_: str) -> None:
    node.call("RemoveContainer", v1.RemoveContainerRequest(container_id=id_), good(v1.RemoveContainerResponse()))
    node.call("RemovePodSandbox", v1.RemovePodSandboxRequest(pod_sandbox_id=pod), good(v1.RemovePodSandboxResponse()))


def stopped(node: FakeNode, pod: str, id_: str) -> None:
    del id_
    node.call("StopPodSandbox", v1.StopPodSandboxRequest(pod_sandbox_id=pod), good(v1.StopPodSandboxResponse()))


def started(node: FakeNode, id_: str) -> None:
    node.call("StartContainer", v1.StartContainerRequest(container_id=id_), good(v1.StartContainerResponse()))


def known(node: FakeNode) -> tuple[set[PodId], dict[ContainerId | None, str], list[str]]:
    """Return the pods, the containers with their states, and all grants."""
    workload = node.engine.state.workload
    containers = {one.id: one.state.value for one in workload.containers.values()}
    return set(workload.pods), containers, granted(node)


EMPTY: dict[str, betterproto.Message | Status] = {
    "ListPodSandbox": v1.ListPodSandboxResponse(),
    "ListContainers": v1.ListContainersResponse(),
}
OTHER = "d" * 64


@pytest.mark.parametrize("method", ["ListPodSandbox", "ListContainers"])
async def test_what_is_made_while_the_runtime_is_asked_is_not_forgotten(nursery: trio.Nursery, method: str) -> None:
    node = FakeNode(nursery)
    lives(node, "gone", OTHER)
    await resync(Meanwhile(EMPTY, method, lambda: lives(node, "p1", ID)), node.engine, node.intake)
    assert known(node) == ({"p1"}, {ID: "running"}, ["2-3"])


@pytest.mark.parametrize("method", ["ListPodSandbox", "ListContainers", "ContainerStatus"])
async def test_what_goes_while_the_runtime_is_asked_does_not_come_back(nursery: trio.Nursery, method: str) -> None:
    """Neither what was known nor what has come and gone between question and answer."""
    node = FakeNode(nursery)
    if method != "ContainerStatus":  # which is asked about strangers only
        lives(node, "p1", ID)
    else:
        node.call("RunPodSandbox", pod_request(), good(v1.RunPodSandboxResponse(pod_sandbox_id="p1")))

    def play() -> None:
        if method == "ContainerStatus":
            lives(node, "p1", ID)
        removed(node, "p1", ID)

    await resync(Meanwhile(ANSWERS, method, play), node.engine, node.intake)
    assert known(node) == (set(), {}, [])


@pytest.mark.parametrize(
    ("method", "ends"),
    [
        pytest.param("ListPodSandbox", removed, id="the pod and its container are removed"),
        pytest.param("PodSandboxStatus", removed, id="they are removed after all lists"),
        pytest.param("ContainerStatus", removed, id="they are removed at last"),
        pytest.param("ContainerStatus", stopped, id="the pod is stopped at last"),
    ],
)
async def test_a_stranger_that_ends_while_the_runtime_is_asked_is_not_taken_in(
    nursery: trio.Nursery, method: str, ends: Callable[[FakeNode, str, str], None]
) -> None:
    node = FakeNode(nursery)
    await resync(Meanwhile(ANSWERS, method, lambda: ends(node, "p1", ID)), node.engine, node.intake)
    assert known(node) == (set(), {}, [])


async def test_a_stranger_in_a_pod_that_was_stopped_meanwhile_is_not_taken_in(nursery: trio.Nursery) -> None:
    node = with_pod(nursery)
    play = lambda: stopped(node, "p1", ID)  # noqa: E731
    await resync(Meanwhile(ANSWERS, "ContainerStatus", play), node.engine, node.intake)
    assert known(node) == ({"p1"}, {}, [])


async def test_a_list_does_not_take_a_container_back_to_a_state_that_it_has_left(nursery: trio.Nursery) -> None:
    node = FakeNode(nursery)
    lives(node, "p1", ID)
    exit_ = v1.StopContainerRequest(container_id=ID)
    play = lambda: node.call("StopContainer", exit_, good(v1.StopContainerResponse()))  # noqa: E731
    await resync(Meanwhile(ANSWERS, "ListContainers", play), node.engine, node.intake)
    assert known(node) == ({"p1"}, {ID: "exited"}, [])


async def test_who_runs_though_crirm_took_it_for_ended_is_placed_again(nursery: trio.Nursery) -> None:
    node = FakeNode(nursery)
    lives(node, "p1", ID)
    (key,) = node.engine.state.workload.containers
    node.engine.apply(ContainerExited(key))
    await resync(FakeRuntime(ANSWERS), node.engine, node.intake)
    assert known(node) == ({"p1"}, {ID: "running"}, ["0-1"])


async def test_creations_of_an_earlier_process_are_not_settled_by_a_list_that_is_older_than_their_answer(
    nursery: trio.Nursery,
) -> None:
    node = with_pod(nursery)
    create, _ = node.call("CreateContainer", create_request())
    play = lambda: create.answer(good(v1.CreateContainerResponse(container_id=ID)))  # noqa: E731
    await settle_creations(Meanwhile(EMPTY, "ListContainers", play), node.engine)
    assert known(node) == ({"p1"}, {ID: "created"}, ["0-1"])
