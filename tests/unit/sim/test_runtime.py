"""The served runtime, as clients of two gRPC implementations see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest
import trio
from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.rpc import bridge
from crirm.sim.exec_calls import duration_text
from crirm.sim.faults import Fault
from crirm.sim.padding import GARBAGE
from crirm.sim.runtime import open_runtime
from crirm.sim.settings import Api, SimSettings
from tests.unit.sim.serving import (
    SERVICE,
    STATUS,
    Client,
    eventually,
    new_channel,
    start,
    status,
    with_grpcio,
    with_runtime,
)

if TYPE_CHECKING:
    from pathlib import Path

    from crirm.sim.runtime import Runtime

EVENTS = f"{SERVICE}/GetContainerEvents"


def test_life_of_a_pod() -> None:
    async def body(_runtime: Runtime, client: Client) -> None:
        pod, container = await start(client, "sleep", "inf")
        assert (await status(client, container)).state == v1.ContainerState.CONTAINER_RUNNING
        execute = v1.ExecSyncRequest(container, ["sh", "-c", "echo hi; exit 3"], 5)
        done = await client.call("ExecSync", execute, v1.ExecSyncResponse)
        assert (done.stdout, done.exit_code) == (b"hi\n", 3)
        await client.call("StopContainer", v1.StopContainerRequest(container, 10), v1.StopContainerResponse)
        assert (await status(client, container)).exit_code == 143
        await client.call("RemovePodSandbox", v1.RemovePodSandboxRequest(pod), v1.RemovePodSandboxResponse)
        with pytest.raises(GRPCError, match="not found"):
            await status(client, container)

    with_runtime(body)


def test_process_ends_while_nobody_calls() -> None:
    async def body(runtime: Runtime, client: Client) -> None:
        _, container = await start(client, "sleep", "0.01")
        record = runtime.model.containers.get(container, "")
        exited = trio.Event()
        if record.is_running:
            record.on_exit.append(exited.set)
            with trio.fail_after(5):
                await exited.wait()
        assert (await status(client, container)).state == v1.ContainerState.CONTAINER_EXITED

    with_runtime(body)


def test_stubborn_process_is_killed_when_its_time_is_over() -> None:
    async def body(_runtime: Runtime, client: Client) -> None:
        _, container = await start(client, "sleep", "inf", init=True)
        await client.call("StopContainer", v1.StopContainerRequest(container, 1), v1.StopContainerResponse)
        assert (await status(client, container)).exit_code == 137

    with_runtime(body)


@pytest.mark.parametrize(
    ("argv", "timeout", "code", "text"),
    [
        pytest.param(["nope"], 0, Status.UNKNOWN, 'exec: "nope": executable file not found in $PATH', id="no program"),
        pytest.param([], 0, Status.UNKNOWN, "args must not be empty", id="no command"),
        pytest.param(
            ["sleep", "9"], 1, Status.DEADLINE_EXCEEDED, "timeout 1s exceeded: context deadline exceeded", id="too slow"
        ),
    ],
)
def test_exec_sync_refused(argv: list[str], timeout: int, code: Status, text: str) -> None:
    async def body(_runtime: Runtime, client: Client) -> None:
        _, container = await start(client, "sleep", "inf")
        with pytest.raises(GRPCError) as caught:
            await client.call("ExecSync", v1.ExecSyncRequest(container, argv, timeout), v1.ExecSyncResponse)
        assert caught.value.status is code
        assert (caught.value.message or "").startswith("failed to exec in container: ")
        assert (caught.value.message or "").endswith(text)

    with_runtime(body)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (60, "1m0s"), (90, "1m30s"), (3600, "1h0m0s"), (3725, "1h2m5s")]
)
def test_duration_as_go_prints_it(seconds: int, text: str) -> None:
    assert duration_text(seconds) == text


def test_lists_are_filtered() -> None:
    async def body(_runtime: Runtime, client: Client) -> None:
        pod, one = await start(client, "sleep", "inf", name="one")
        _, two = await start(client, "true", name="two")
        for filter_, expected in [
            (v1.ContainerFilter(), [one, two]),
            (v1.ContainerFilter(id=one[:12]), [one]),
            (v1.ContainerFilter(id="nope"), []),
            (v1.ContainerFilter(pod_sandbox_id=pod[:12]), [one]),
            (v1.ContainerFilter(label_selector={"container": "two"}), [two]),
            (v1.ContainerFilter(state=v1.ContainerStateValue(v1.ContainerState(1))), [one]),
            (v1.ContainerFilter(state=v1.ContainerStateValue(v1.ContainerState(0))), []),
        ]:
            listed = await client.call("ListContainers", v1.ListContainersRequest(filter_), v1.ListContainersResponse)
            assert [container.id for container in listed.containers] == expected
        not_ready = v1.PodSandboxFilter(state=v1.PodSandboxStateValue(v1.PodSandboxState(1)))
        for pod_filter, count in [(v1.PodSandboxFilter(), 2), (v1.PodSandboxFilter(id=pod[:5]), 1), (not_ready, 0)]:
            pods = await client.call("ListPodSandbox", v1.ListPodSandboxRequest(pod_filter), v1.ListPodSandboxResponse)
            assert len(pods.items) == count

    with_runtime(body)


def test_lists_are_fresh_after_each_change() -> None:
    async def body(_runtime: Runtime, client: Client) -> None:
        for count in range(3):
            listed = await client.call("ListContainers", b"", v1.ListContainersResponse)
            assert len(listed.containers) == count
            await start(client, "sleep", "inf", name=str(count))

    with_runtime(body)


@pytest.mark.parametrize(
    ("method", "answer", "field"),
    [
        pytest.param("RuntimeService/StreamPodSandboxes", v1.StreamPodSandboxesResponse, "pod_sandboxes", id="pods"),
        pytest.param("RuntimeService/StreamContainers", v1.StreamContainersResponse, "containers", id="containers"),
        pytest.param(
            "RuntimeService/StreamContainerStats", v1.StreamContainerStatsResponse, "container_stats", id="stats"
        ),
        pytest.param(
            "RuntimeService/StreamPodSandboxStats",
            v1.StreamPodSandboxStatsResponse,
            "pod_sandbox_stats",
            id="pod stats",
        ),
        pytest.param(
            "RuntimeService/StreamPodSandboxMetrics",
            v1.StreamPodSandboxMetricsResponse,
            "pod_sandbox_metrics",
            id="metrics",
        ),
        pytest.param("ImageService/StreamImages", v1.StreamImagesResponse, "images", id="images"),
    ],
)
def test_long_lists_come_in_several_messages(method: str, answer: type, field: str) -> None:
    async def body(_runtime: Runtime, client: Client) -> list[int]:
        reply = await client.raw(f"/runtime.v1.{method}", b"")
        return [len(getattr(answer().parse(message), field)) for message in reply.messages]

    sizes = with_runtime(body, SimSettings(pods=5, stream_chunk=2))
    assert sizes == ([2, 2] if field == "images" else [2, 2, 1])


def test_every_subscriber_is_told_and_forgotten_when_it_leaves() -> None:
    async def body(runtime: Runtime, client: Client) -> None:
        heard: list[list[str]] = [[], []]

        async def listen(index: int, channel: Channel) -> None:
            await bridge.call_asyncio(_listen, channel, heard[index], 4)

        channels = [Channel(path=runtime.socket_path) for _ in heard]
        async with trio.open_nursery() as nursery:
            for index, channel in enumerate(channels):
                nursery.start_soon(listen, index, channel)
            await eventually(lambda: runtime.model.events.subscriber_count == 2)
            pod, container = await start(client, "sleep", "inf")
        assert heard == [[pod, pod, container, container]] * 2
        for channel in channels:
            channel.close()
        await eventually(lambda: runtime.model.events.subscriber_count == 0)
        assert runtime.calls.cancelled[EVENTS] == 2

    with_runtime(body)


async def _listen(channel: Channel, heard: list[str], count: int) -> None:
    stub = v1.RuntimeServiceStub(channel)
    async for event in stub.get_container_events(v1.GetEventsRequest()):
        heard.append(event.container_id)
        if len(heard) == count:
            return


@pytest.mark.parametrize(
    ("api", "path", "answered"),
    [
        pytest.param(Api.V1, "/runtime.v1.RuntimeService/Version", True, id="v1 has v1"),
        pytest.param(Api.V1, "/runtime.v1alpha2.RuntimeService/Version", False, id="v1 has no v1alpha2"),
        pytest.param(Api.V1ALPHA2, "/runtime.v1.RuntimeService/Version", False, id="v1alpha2 has no v1"),
        pytest.param(Api.V1ALPHA2, "/runtime.v1alpha2.ImageService/ListImages", True, id="v1alpha2 has images"),
        pytest.param(Api.BOTH, "/runtime.v1alpha2.RuntimeService/Version", True, id="both have both"),
        pytest.param(Api.BOTH, "/runtime.v1alpha2.RuntimeService/RuntimeConfig", False, id="no newer method there"),
        pytest.param(Api.BOTH, "/runtime.v1.RuntimeService/Nope", False, id="no unknown method"),
        pytest.param(Api.BOTH, "/other.Service/Version", False, id="no unknown service"),
    ],
)
def test_api_version(api: Api, path: str, answered: bool) -> None:
    async def body(_runtime: Runtime, client: Client) -> Status:
        return (await client.raw(path, b"")).status

    expected = Status.OK if answered else Status.UNIMPLEMENTED
    assert with_runtime(body, SimSettings(api=api)) is expected


@pytest.mark.parametrize("package", ["v1", "v1alpha2"])
def test_version_names_the_api_it_was_asked_in(package: str) -> None:
    async def body(_runtime: Runtime, client: Client) -> v1.VersionResponse:
        reply = await client.raw(f"/runtime.{package}.RuntimeService/Version", b"")
        return v1.VersionResponse().parse(reply.messages[0])

    version = with_runtime(body, SimSettings(runtime_version="7.8"))
    assert version == v1.VersionResponse("0.1.0", "crirm-sim", "7.8", package)


def test_request_that_is_no_message_is_refused() -> None:
    async def body(_runtime: Runtime, client: Client) -> Status:
        replies = [await client.raw(f"{SERVICE}/StopContainer", request) for request in (GARBAGE, b"\x0a")]
        assert replies[1].text == "grpc: error unmarshalling request: unexpected EOF"
        assert replies[0].status is replies[1].status
        return replies[0].status

    assert with_runtime(body) is Status.INTERNAL


@pytest.mark.parametrize(
    ("path", "text"),
    [
        pytest.param("/other.Service/Version", "unknown service other.Service", id="service"),
        pytest.param(f"{SERVICE}/Nope", "unknown method Nope for service runtime.v1.RuntimeService", id="method"),
        pytest.param("/nonsense", 'malformed method name: "/nonsense"', id="neither"),
    ],
)
def test_refusal_names_what_is_unknown(path: str, text: str) -> None:
    async def body(_runtime: Runtime, client: Client) -> str | None:
        return (await client.raw(path, b"")).text

    assert with_runtime(body) == text


def test_exec_sync_keeps_so_much_output_as_containerd() -> None:
    async def body(_runtime: Runtime, client: Client) -> int:
        _, container = await start(client, "sleep", "inf")
        request = v1.ExecSyncRequest(container, ["head", "-c", str((16 << 20) + 1), "/dev/zero"])
        return len((await client.call("ExecSync", request, v1.ExecSyncResponse)).stdout)

    assert with_runtime(body) == 16 << 20


def test_restart_keeps_the_containers(tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "s.sock")
        async with open_runtime(path, SimSettings(pods=2)) as runtime:
            client = Client(new_channel(runtime))
            model = runtime.model
            assert len((await client.call("ListContainers", b"", v1.ListContainersResponse)).containers) == 2
            runtime.drop_connections()
        assert not (tmp_path / "s.sock").exists()
        async with open_runtime(path, model=model):
            assert len((await client.call("ListContainers", b"", v1.ListContainersResponse)).containers) == 2
        client.channel.close()

    bridge.run(main)


def test_stop_ends_calls_and_connections(tmp_path: Path) -> None:
    async def main() -> Runtime:
        async with open_runtime(str(tmp_path / "s.sock")) as runtime, trio.open_nursery() as nursery:
            runtime.faults.add(Fault("Status", hang=True))
            nursery.start_soon(hang, Client(new_channel(runtime)))
            await eventually(lambda: runtime.calls.in_flight[STATUS] == 1)
            nursery.start_soon(stop, runtime)
        return runtime

    async def hang(client: Client) -> None:
        with pytest.raises(Exception, match=r"[Cc]onnection"):
            await client.raw(STATUS, b"")
        client.channel.close()

    async def stop(runtime: Runtime) -> None:
        runtime.drop_connections()

    runtime = bridge.run(main)
    assert (runtime.connection_count, runtime.calls.in_flight[STATUS]) == (0, 0)


# grpcio, the other implementation


def test_grpcio_calls() -> None:
    def body(channel: grpc.Channel) -> None:
        listed = channel.unary_unary(f"{SERVICE}/ListContainers")(b"", timeout=5)
        assert len(v1.ListContainersResponse().parse(listed).containers) == 60
        messages = list(channel.unary_stream(f"{SERVICE}/StreamContainers")(b"", timeout=5))
        assert len(messages) == 2
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(f"{SERVICE}/ContainerStatus")(bytes(v1.ContainerStatusRequest("nope")), timeout=5)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        assert caught.value.details() == 'an error occurred when try to find container "nope": not found'

    with_grpcio(body, SimSettings(pods=60))


def test_grpcio_carries_64_mib_both_ways() -> None:
    def body(channel: grpc.Channel) -> None:
        message = bytes(64 << 20)
        assert channel.unary_unary("/crirm.test.Echo/Unary")(message, timeout=60) == message

    with_grpcio(body)
