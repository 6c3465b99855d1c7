"""Every remaining call of both services, over a socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from grpclib import GRPCError
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from tests.unit.sim.serving import Client, start, status, with_runtime

if TYPE_CHECKING:
    from collections.abc import Callable

    import betterproto

    from crirm.sim.runtime import Runtime

    Ask = Callable[[str, str], betterproto.Message]

REFUSED: list[object] = [
    pytest.param("StopPodSandbox", lambda _p, _c: v1.StopPodSandboxRequest(""), Status.UNKNOWN, id="stop of no pod"),
    pytest.param("PodSandboxStatus", lambda _p, _c: v1.PodSandboxStatusRequest("x"), Status.NOT_FOUND, id="no pod"),
    pytest.param("PortForward", lambda _p, _c: v1.PortForwardRequest("x"), Status.NOT_FOUND, id="ports of no pod"),
    pytest.param(
        "ExecSync", lambda _p, _c: v1.ExecSyncRequest("x", ["true"]), Status.NOT_FOUND, id="exec sync nowhere"
    ),
    pytest.param("Exec", lambda _p, _c: v1.ExecRequest("x", stdout=True), Status.NOT_FOUND, id="exec nowhere"),
    pytest.param("Exec", lambda _p, c: v1.ExecRequest(c), Status.INVALID_ARGUMENT, id="exec without streams"),
    pytest.param(
        "Attach",
        lambda _p, c: v1.AttachRequest(c, tty=True, stderr=True, stdout=True),
        Status.INVALID_ARGUMENT,
        id="a terminal has no standard error",
    ),
    pytest.param("ContainerStats", lambda _p, _c: v1.ContainerStatsRequest("x"), Status.NOT_FOUND, id="no stats"),
    pytest.param("PodSandboxStats", lambda _p, _c: v1.PodSandboxStatsRequest("x"), Status.NOT_FOUND, id="no pod stats"),
    pytest.param(
        "UpdatePodSandboxResources",
        lambda _p, _c: v1.UpdatePodSandboxResourcesRequest("x"),
        Status.NOT_FOUND,
        id="resources of no pod",
    ),
    pytest.param(
        "CheckpointContainer", lambda _p, _c: v1.CheckpointContainerRequest("x"), Status.NOT_FOUND, id="no checkpoint"
    ),
    pytest.param(
        "CheckpointContainer",
        lambda _p, c: v1.CheckpointContainerRequest(c),
        Status.UNIMPLEMENTED,
        id="checkpoint of a container",
    ),
    pytest.param(
        "CheckpointPod", lambda p, _c: v1.CheckpointPodRequest(p), Status.UNIMPLEMENTED, id="checkpoint of a pod"
    ),
    pytest.param("RestorePod", lambda _p, _c: v1.RestorePodRequest(), Status.UNIMPLEMENTED, id="restore"),
    pytest.param(
        "Image.ImageStatus", lambda _p, _c: v1.ImageStatusRequest(), Status.UNKNOWN, id="an image's empty name"
    ),
    pytest.param(
        "Image.PullImage", lambda _p, _c: v1.PullImageRequest(v1.ImageSpec("A B")), Status.UNKNOWN, id="a bad reference"
    ),
]


@pytest.mark.parametrize(("method", "ask", "code"), REFUSED)
def test_refused(method: str, ask: Ask, code: Status) -> None:
    async def body(_runtime: Runtime, client: Client) -> None:
        pod, container = await start(client, "sleep", "inf")
        with pytest.raises(GRPCError) as caught:
            await client.call(method, ask(pod, container), v1.VersionResponse)
        assert caught.value.status is code
        assert caught.value.message

    with_runtime(body)


@pytest.mark.parametrize(
    ("method", "ask", "code"),
    [
        pytest.param("ExecSync", lambda _p, c: v1.ExecSyncRequest(c, ["true"]), Status.UNKNOWN, id="exec sync"),
        pytest.param("Exec", lambda _p, c: v1.ExecRequest(c, stdout=True), Status.UNKNOWN, id="exec"),
        pytest.param("ContainerStats", lambda _p, c: v1.ContainerStatsRequest(c), Status.UNKNOWN, id="stats"),
        pytest.param("PortForward", lambda p, _c: v1.PortForwardRequest(p, [80]), Status.UNKNOWN, id="ports"),
        pytest.param("PodSandboxStats", lambda p, _c: v1.PodSandboxStatsRequest(p), Status.UNAVAILABLE, id="pod stats"),
        pytest.param("ReopenContainerLog", lambda _p, c: v1.ReopenContainerLogRequest(c), Status.UNKNOWN, id="log"),
    ],
)
def test_refused_in_a_stopped_pod(method: str, ask: Ask, code: Status) -> None:
    async def body(_runtime: Runtime, client: Client) -> None:
        pod, container = await start(client, "sleep", "inf")
        await client.call("StopPodSandbox", v1.StopPodSandboxRequest(pod), v1.StopPodSandboxResponse)
        with pytest.raises(GRPCError) as caught:
            await client.call(method, ask(pod, container), v1.VersionResponse)
        assert caught.value.status is code

    with_runtime(body)


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        pytest.param("StopContainer", v1.StopContainerRequest("nope", 1), id="stop of no container"),
        pytest.param("RemoveContainer", v1.RemoveContainerRequest("nope"), id="removal of no container"),
        pytest.param("Image.RemoveImage", v1.RemoveImageRequest(v1.ImageSpec("nope")), id="removal of no image"),
        pytest.param("Image.ImageStatus", v1.ImageStatusRequest(v1.ImageSpec("nope")), id="status of no image"),
        pytest.param("UpdateRuntimeConfig", v1.UpdateRuntimeConfigRequest(), id="configuration"),
    ],
)
def test_answer_is_empty(method: str, request_: betterproto.Message) -> None:
    async def body(_runtime: Runtime, client: Client) -> bytes:
        return bytes(await client.call(method, request_, v1.VersionResponse))

    assert with_runtime(body) == b""


def test_images_come_and_go() -> None:
    async def body(_runtime: Runtime, client: Client) -> None:
        before = await client.call("Image.ImageFsInfo", b"", v1.ImageFsInfoResponse)
        pulled = await client.call(
            "Image.PullImage", v1.PullImageRequest(v1.ImageSpec("me/app:1")), v1.PullImageResponse
        )
        ask = v1.ImageStatusRequest(v1.ImageSpec("docker.io/me/app:1"), verbose=True)
        found = await client.call("Image.ImageStatus", ask, v1.ImageStatusResponse)
        assert (found.image.id, found.image.repo_tags) == (pulled.image_ref, ["docker.io/me/app:1"])
        assert json.loads(found.info["info"])
        after = await client.call("Image.ImageFsInfo", b"", v1.ImageFsInfoResponse)
        sizes = [answer.image_filesystems[0].used_bytes.value for answer in (before, after)]
        assert sizes[1] - sizes[0] == found.image.size
        remove = v1.RemoveImageRequest(v1.ImageSpec(pulled.image_ref))
        await client.call("Image.RemoveImage", remove, v1.RemoveImageResponse)
        assert (await client.call("Image.ImageStatus", ask, v1.ImageStatusResponse)).image.id == ""
        listed = await client.call("Image.ListImages", b"", v1.ListImagesResponse)
        assert pulled.image_ref not in [image.id for image in listed.images]

    with_runtime(body)


def test_figures_of_running_and_ended_containers() -> None:
    async def body(_runtime: Runtime, client: Client) -> None:
        pod, container = await start(client, "sleep", "inf", name="a")
        await start(client, "true", name="b")
        one = await client.call("ContainerStats", v1.ContainerStatsRequest(container), v1.ContainerStatsResponse)
        assert one.stats.memory.working_set_bytes.value > 0
        listed = await client.call("ListContainerStats", b"", v1.ListContainerStatsResponse)
        used = [stats.memory.working_set_bytes.value > 0 for stats in listed.stats]
        assert used == [True, False]
        mine = v1.ListContainerStatsRequest(v1.ContainerStatsFilter(pod_sandbox_id=pod[:9]))
        assert len((await client.call("ListContainerStats", mine, v1.ListContainerStatsResponse)).stats) == 1
        whole = await client.call("PodSandboxStats", v1.PodSandboxStatsRequest(pod), v1.PodSandboxStatsResponse)
        assert whole.stats.linux.process.process_count.value == 1
        assert whole.stats.linux.memory.working_set_bytes == one.stats.memory.working_set_bytes
        pods = await client.call("ListPodSandboxStats", b"", v1.ListPodSandboxStatsResponse)
        assert len(pods.stats) == 2

    with_runtime(body)


def test_metrics_have_their_descriptors() -> None:
    async def body(_runtime: Runtime, client: Client) -> None:
        await start(client, "sleep", "inf")
        descriptors = await client.call("ListMetricDescriptors", b"", v1.ListMetricDescriptorsResponse)
        metrics = await client.call("ListPodSandboxMetrics", b"", v1.ListPodSandboxMetricsResponse)
        labels = {descriptor.name: len(descriptor.label_keys) for descriptor in descriptors.descriptors}
        [container] = metrics.pod_metrics[0].container_metrics
        assert {metric.name: len(metric.label_values) for metric in container.metrics} == labels

    with_runtime(body)


def test_verbose_answers_explain_themselves() -> None:
    async def body(_runtime: Runtime, client: Client) -> None:
        pod, container = await start(client, "sleep", "inf")
        overhead = v1.LinuxContainerResources(cpu_shares=7)
        update = v1.UpdatePodSandboxResourcesRequest(pod, overhead=overhead)
        await client.call("UpdatePodSandboxResources", update, v1.UpdatePodSandboxResourcesResponse)
        of_pod = await client.call(
            "PodSandboxStatus", v1.PodSandboxStatusRequest(pod, verbose=True), v1.PodSandboxStatusResponse
        )
        assert json.loads(of_pod.info["info"])["overhead"] == {"cpuShares": "7"}
        ask = v1.ContainerStatusRequest(container, verbose=True)
        info = json.loads((await client.call("ContainerStatus", ask, v1.ContainerStatusResponse)).info["info"])
        assert (info["sandboxID"], info["pid"] > 0) == (pod, True)
        of_node = await client.call("Status", v1.StatusRequest(verbose=True), v1.StatusResponse)
        assert json.loads(of_node.info["config"])["api"] == "both"

    with_runtime(body)


def test_status_says_ready() -> None:
    async def body(_runtime: Runtime, client: Client) -> None:
        answer = await client.call("Status", b"", v1.StatusResponse)
        ready = {condition.type: condition.status for condition in answer.status.conditions}
        assert ready == {"RuntimeReady": True, "NetworkReady": True}
        assert [handler.name for handler in answer.runtime_handlers] == ["", "runc"]
        config = await client.call("RuntimeConfig", b"", v1.RuntimeConfigResponse)
        assert config.linux.cgroup_driver == v1.CgroupDriver.CGROUPFS

    with_runtime(body)


def test_update_shows_in_the_status_whatever_the_state() -> None:
    async def body(_runtime: Runtime, client: Client) -> None:
        _, container = await start(client, "true")
        update = v1.UpdateContainerResourcesRequest(container, v1.LinuxContainerResources(cpuset_cpus="0-1"))
        await client.call("UpdateContainerResources", update, v1.UpdateContainerResourcesResponse)
        shown = await status(client, container)
        assert (shown.state, shown.resources.linux.cpuset_cpus) == (v1.ContainerState.CONTAINER_EXITED, "0-1")

    with_runtime(body)
