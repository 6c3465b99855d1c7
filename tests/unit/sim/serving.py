"""A served runtime and a client for it, in one process."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from grpclib import GRPCError
from grpclib.client import Channel
from grpclib.const import Cardinality, Status

from crirm.rpc import bridge
from crirm.sim.codec import BytesCodec, BytesDetailsCodec
from crirm.sim.runtime import Runtime, open_runtime

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    import betterproto

    from crirm.sim.settings import Settings

M = TypeVar("M", bound="betterproto.Message")
T = TypeVar("T")


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
            async for message in stream:
                messages.append(message)
    except GRPCError as error:
        details = error.details
        return Reply(messages, *_metadata(stream), error.status, error.message, details)
    return Reply(messages, *_metadata(stream))


def _metadata(stream: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    return dict(stream.initial_metadata or {}), dict(stream.trailing_metadata or {})


def with_runtime(body: Callable[[Runtime, Client], Awaitable[T]], settings: Settings | None = None) -> T:
    """Run the Trio-flavoured *body* with a served runtime and a client that is connected to it."""

    async def main() -> T:
        with tempfile.TemporaryDirectory() as folder:
            async with open_runtime(str(Path(folder) / "sim.sock"), settings) as runtime:
                with new_channel(runtime) as channel:
                    return await body(runtime, Client(channel))

    return bridge.run(main)


def new_channel(runtime: Runtime) -> Channel:
    """A connection that passes bytes through."""
    return Channel(path=runtime.socket_path, codec=BytesCodec(), status_details_codec=BytesDetailsCodec())
