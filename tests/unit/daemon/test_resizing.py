"""Resizes of containers and pods, from request to state, and what the kubelet is shown of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.model.decision import Adjustment
from crirm.model.resources import LinuxResources
from crirm.rpc.calls import Answer
from tests.unit.daemon.nodes import ID, FakeNode, good, pod_request, update, with_container, with_pod

if TYPE_CHECKING:
    import trio


async def test_the_kubelets_resize_is_merged_forwarded_and_kept(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    held, _ = node.call("UpdateContainerResources", update(4), good(v1.UpdateContainerResourcesResponse()))
    sent = v1.UpdateContainerResourcesRequest().parse(held.forwarded or b"")
    assert (sent.linux.cpuset_cpus, sent.linux.cpu_shares, sent.annotations) == ("0-3", 4096, {"keep": "me"})
    (container,) = node.engine.state.workload.containers.values()
    assert (container.requirements.cpu_request, container.resources.memory_limit_bytes) == (4000, 1 << 30)


async def test_a_resize_that_the_runtime_refuses_is_taken_back_whole(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    before = node.engine.state
    node.call("UpdateContainerResources", update(4), Answer(Status.UNKNOWN.value, None))
    assert (before.policy, before.workload) == (node.engine.state.policy, node.engine.state.workload)


async def test_a_resize_without_room_never_reaches_the_runtime(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    held = await node.begin("UpdateContainerResources", update(9))
    await held.decided.wait()
    assert held.forwarded is None
    assert held.refused is not None
    assert held.refused[0] is Status.RESOURCE_EXHAUSTED


async def test_an_update_of_an_unknown_container_passes(nursery: trio.Nursery) -> None:
    request = v1.UpdateContainerResourcesRequest(container_id="other", linux=v1.LinuxContainerResources(cpu_shares=2))
    held, _ = with_container(nursery).call("UpdateContainerResources", request, Answer(Status.NOT_FOUND.value, None))
    assert bytes(request) == held.forwarded


async def test_the_kubelet_sees_the_shares_that_it_asked_for(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    (key,) = node.engine.state.adjustments
    node.engine.state.adjustments[key] = Adjustment(cpu_shares=9999)  # type: ignore[index] # as a policy might decide
    told = v1.ContainerStatus(resources=v1.ContainerResources(linux=v1.LinuxContainerResources(cpu_shares=9999)))
    answer = v1.ContainerStatusResponse(status=told)
    _, reply = node.call("ContainerStatus", v1.ContainerStatusRequest(container_id=ID), good(answer))
    assert reply is not None
    assert v1.ContainerStatusResponse().parse(reply).status.resources.linux.cpu_shares == 2048


async def test_the_kubelet_sees_the_limit_that_it_asked_for_while_there_is_none(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    request = v1.LinuxContainerResources(cpu_shares=2048, cpu_period=100_000, cpu_quota=200_000)
    node.call(
        "UpdateContainerResources",
        v1.UpdateContainerResourcesRequest(ID, request),
        good(v1.UpdateContainerResourcesResponse()),
    )
    (key,) = node.engine.state.adjustments
    node.engine.state.adjustments[key] = Adjustment(cpu_quota_us=-1)  # type: ignore[index] # as a policy might decide
    told = v1.ContainerStatus(resources=v1.ContainerResources(linux=v1.LinuxContainerResources(cpu_quota=-1)))
    answer = v1.ContainerStatusResponse(status=told)
    _, reply = node.call("ContainerStatus", v1.ContainerStatusRequest(container_id=ID), good(answer))
    assert reply is not None
    assert v1.ContainerStatusResponse().parse(reply).status.resources.linux.cpu_quota == 200_000


async def test_a_status_that_needs_no_change_is_left_alone(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    _, reply = node.call(
        "ContainerStatus", v1.ContainerStatusRequest(container_id=ID), good(v1.ContainerStatusResponse())
    )
    assert reply is None


def pod_update(pod: str = "p1") -> v1.UpdatePodSandboxResourcesRequest:
    return v1.UpdatePodSandboxResourcesRequest(
        pod_sandbox_id=pod,
        overhead=v1.LinuxContainerResources(cpu_shares=102),
        resources=v1.LinuxContainerResources(cpu_shares=2048, cpu_quota=200_000, memory_limit_in_bytes=1 << 30),
    )


@pytest.mark.parametrize(
    ("request_", "answer", "given"),
    [
        pytest.param(
            pod_update(),
            good(v1.UpdatePodSandboxResourcesResponse()),
            (LinuxResources(102), LinuxResources(2048, 200_000, 0, 1 << 30)),
            id="what the runtime has taken note of is kept",
        ),
        pytest.param(
            v1.UpdatePodSandboxResourcesRequest("p1", resources=v1.LinuxContainerResources(cpu_shares=512)),
            good(v1.UpdatePodSandboxResourcesResponse()),
            (LinuxResources(10), LinuxResources(512)),
            id="what is not said stays",
        ),
        pytest.param(
            pod_update(),
            Answer(Status.UNIMPLEMENTED.value, None),
            (LinuxResources(10), LinuxResources(1024)),
            id="an older runtime's answer passes and nothing changes",
        ),
        pytest.param(
            pod_update("elsewhere"),
            good(v1.UpdatePodSandboxResourcesResponse()),
            (LinuxResources(10), LinuxResources(1024)),
            id="an unknown pod is the runtime's business",
        ),
    ],
)
async def test_a_pods_resize_passes_as_it_is_and_is_known_once_the_runtime_agrees(
    nursery: trio.Nursery,
    request_: v1.UpdatePodSandboxResourcesRequest,
    answer: Answer,
    given: tuple[LinuxResources, LinuxResources],
) -> None:
    node, pod = FakeNode(nursery), pod_request()
    assert pod.config.linux is not None
    pod.config.linux.overhead = v1.LinuxContainerResources(cpu_shares=10)
    pod.config.linux.resources = v1.LinuxContainerResources(cpu_shares=1024)
    node.call("RunPodSandbox", pod, good(v1.RunPodSandboxResponse(pod_sandbox_id="p1")))
    held, reply = node.call("UpdatePodSandboxResources", request_, answer)
    assert (bytes(request_), None) == (held.forwarded, reply)
    (known,) = node.engine.state.workload.pods.values()
    assert given == (known.overhead, known.resources)


@pytest.mark.parametrize(
    ("shortened", "left"), [pytest.param("p", 0, id="one pod"), pytest.param("", 1, id="no name means none")]
)
async def test_a_pods_id_may_be_shortened(nursery: trio.Nursery, shortened: str, left: int) -> None:
    node = with_pod(nursery)
    node.call("RemovePodSandbox", v1.RemovePodSandboxRequest(shortened), good(v1.RemovePodSandboxResponse()))
    assert left == len(node.engine.state.workload.pods)
