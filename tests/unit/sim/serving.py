"""A served runtime and a client for it, in one process."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import grpc
import trio
import trio.testing
from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.const import Cardinality, Status

from crirm.cri.proto.runtime import v1
from crirm.rpc import bridge
from crirm.rpc.bytes_codec import BytesCodec
from crirm.sim.codec import BytesDetailsCodec
from crirm.sim.runtime import Runtime, open_runtime
from tests.unit.sim.nodes import container_config, pod_config

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    import betterproto

    from crirm.sim.settings import SimSettings

M = TypeVar("M", bound="betterproto.Message")
T = TypeVar("T")

SERVICE = "/runtime.v1.RuntimeService"
STATUS = f"{SERVICE}/Status"


@attrs.frozen
class Reply:
    """What a call came to."""

    messages: list[bytes]
    initial: dict[str, Any]
    trailing: dict[str, Any]
    status: Status = Status.OK
    text: str | None = None
    details: bytes | None = None


@attrs.frozen
class Client:
    """Calls from a Trio task; bytes in, bytes out."""

    channel: Channel

    async def raw(self, path: str, *requests: bytes, metadata: Any = None, timeout_s: float | None = None) -> Reply:
        return await bridge.call_asyncio(_call, self.channel, path, requests, metadata, timeout_s)

    async def call(self, method: str, request: bytes | betterproto.Message, answer: type[M]) -> M:
        """Call a method of the runtime service, or of ``Image.`` for the image service; GRPCError unless OK."""
        package, _, name = method.rpartition(".")
        reply = await self.raw(f"/runtime.v1.{package or 'Runtime'}Service/{name}", bytes(request))
        if reply.status is not Status.OK:
            raise GRPCError(reply.status, reply.text)
        return answer().parse(b"".join(reply.messages))


async def _call(
    channel: Channel, path: str, requests: Iterable[bytes], metadata: Any, timeout_s: float | None
) -> Reply:
    messages: list[bytes] = []
    stream = channel.request(path, Cardinality.STREAM_STREAM, bytes, bytes, timeout=timeout_s, metadata=metadata)
    try:
        async with stream:
            for request in requests:
                await stream.send_message(request)
            await stream.end()
            while (message := await stream.recv_message()) is not None:
                messages.append(message)
    except GRPCError as error:
        details = error.details
        return Reply(messages, *_metadata(stream), error.status, error.message, details)
    return Reply(messages, *_metadata(stream))


def _metadata(stream: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return dict(stream.initial_metadata or {}), dict(stream.trailing_metadata or {})


def with_runtime(body: Callable[[Runtime, Client], Awaitable[T]], settings: SimSettings | None = None) -> T:
    """Run the Trio-flavoured *body* with a served runtime and a client that is connected to it."""

    async def main() -> T:
        with tempfile.TemporaryDirectory() as folder:
            async with open_runtime(str(Path(folder) / "sim.sock"), settings) as runtime:
                with closing(new_channel(runtime)) as channel:
                    return await body(runtime, Client(channel))

    return bridge.run(main)


def new_channel(runtime: Runtime) -> Channel:
    """A connection that passes bytes through."""
    return Channel(path=runtime.socket_path, codec=BytesCodec(), status_details_codec=BytesDetailsCodec())


async def start(client: Client, *argv: str, name: str = "c", init: bool = False) -> tuple[str, str]:
    """Run a pod with one container; return both ids."""
    config = pod_config(f"pod-{name}")
    pod = (await client.call("RunPodSandbox", v1.RunPodSandboxRequest(config), v1.RunPodSandboxResponse)).pod_sandbox_id
    create = v1.CreateContainerRequest(pod, container_config(*argv, name=name, init=init), config)
    container = (await client.call("CreateContainer", create, v1.CreateContainerResponse)).container_id
    await client.call("StartContainer", v1.StartContainerRequest(container), v1.StartContainerResponse)
    return pod, container


async def status(client: Client, container: str) -> v1.ContainerStatus:
    request = v1.ContainerStatusRequest(container)
    return (await client.call("ContainerStatus", request, v1.ContainerStatusResponse)).status


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that happens on the server's side."""
    with trio.fail_after(5):
        while not condition():
            await trio.testing.wait_all_tasks_blocked(0.01)


def with_grpcio(body: Callable[[grpc.Channel], None], settings: SimSettings | None = None) -> None:
    """Run *body* in a thread, with a grpcio channel to a served runtime."""

    def run(path: str) -> None:
        with grpc.insecure_channel(f"unix:{path}", options=[("grpc.max_receive_message_length", -1)]) as channel:
            body(channel)

    async def main(runtime: Runtime, _client: Client) -> None:
        await trio.to_thread.run_sync(run, runtime.socket_path)

    with_runtime(main, settings)
