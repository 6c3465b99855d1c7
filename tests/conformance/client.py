"""gRPC clients for the tests: generic calls of bytes, by two implementations that share nothing with crirm's relay.

grpcio (the C core) is the main one; grpclib's own client is the second. Both hide behind `Client`, synchronously.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs
import grpc
import grpclib.client
import grpclib.const
import grpclib.exceptions

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from pathlib import Path

T = TypeVar("T")
Metadata = tuple[tuple[str, str | bytes], ...]

_CALL_TIMEOUT_S = 30.0
_UNREAD_MESSAGES = 100
_STREAMING = grpclib.const.Cardinality.UNARY_STREAM


@attrs.frozen
class Reply:
    """Everything that a caller can see of a finished call."""

    code: int
    text: str
    messages: tuple[bytes, ...] = ()
    initial: Metadata = ()
    trailing: Metadata = ()

    @property
    def message(self) -> bytes:
        (only,) = self.messages
        return only


class Call(Protocol):
    """A call in flight."""

    def __iter__(self) -> Iterator[bytes]: ...  # reply messages as they come; ends without error whatever the status
    def cancel(self) -> None: ...
    def finish(self) -> Reply: ...  # waits; messages already iterated over are not repeated


class Client(Protocol):
    def start(
        self, path: str, request: bytes, *, metadata: Metadata = (), timeout_s: float = _CALL_TIMEOUT_S
    ) -> Call: ...
    def close(self) -> None: ...


def unary(
    client: Client, path: str, request: bytes, *, metadata: Metadata = (), timeout_s: float = _CALL_TIMEOUT_S
) -> Reply:
    return client.start(path, request, metadata=metadata, timeout_s=timeout_s).finish()


# --- grpcio ---------------------------------------------------------------------------------------------------------


@attrs.define(eq=False)
class GrpcioCall:
    _call: Any

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._call
        except grpc.RpcError:
            return

    def cancel(self) -> None:
        self._call.cancel()

    def finish(self) -> Reply:
        messages = tuple(self)
        return Reply(
            code=self._call.code().value[0],
            text=self._call.details() or "",
            messages=messages,
            initial=_metadata(self._call.initial_metadata()),
            trailing=_metadata(self._call.trailing_metadata()),
        )


class GrpcioClient:
    """Every call is made as a server-streaming one: on the wire a unary call is no different."""

    def __init__(self, socket: Path) -> None:
        self._channel = grpc.insecure_channel(
            f"unix:{socket}",
            options=[
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.use_local_subchannel_pool", 1),  # a connection of its own for each client
                ("grpc.enable_retries", 0),
            ],
        )

    def start(
        self, path: str, request: bytes, *, metadata: Metadata = (), timeout_s: float = _CALL_TIMEOUT_S
    ) -> GrpcioCall:
        return GrpcioCall(self._channel.unary_stream(path)(request, metadata=metadata, timeout=timeout_s))

    def close(self) -> None:
        self._channel.close()


# --- grpclib --------------------------------------------------------------------------------------------------------


class _Bytes:
    """grpclib codec that leaves messages as they are."""

    __content_subtype__ = "proto"

    def encode(self, message: bytes, _type: object) -> bytes:
        return message

    def decode(self, data: bytes, _type: object) -> bytes:
        return data


@attrs.define(eq=False)
class GrpclibCall:
    _loop: asyncio.AbstractEventLoop
    _queue: asyncio.Queue[bytes | None] = attrs.field(factory=lambda: asyncio.Queue(_UNREAD_MESSAGES))
    _task: Any = None
    _reply: Reply | None = None
    _ended: bool = False

    async def run(
        self, channel: grpclib.client.Channel, path: str, request: bytes, metadata: Metadata, timeout_s: float
    ) -> None:
        code, text = 0, ""
        stream = channel.request(path, _STREAMING, bytes, bytes, timeout=timeout_s, metadata=list(metadata))
        try:
            async with stream:
                await stream.send_message(request, end=True)
                while (message := await stream.recv_message()) is not None:
                    await self._queue.put(message)
        except grpclib.exceptions.GRPCError as error:
            code, text = error.status.value, error.message or ""
        except TimeoutError:
            code, text = grpclib.const.Status.DEADLINE_EXCEEDED.value, "Deadline Exceeded"
        except asyncio.CancelledError:
            code, text = grpclib.const.Status.CANCELLED.value, "cancelled by the client"
        finally:
            initial, trailing = _pairs(stream.initial_metadata), _pairs(stream.trailing_metadata)
            self._reply = Reply(code, text, (), initial, trailing)
            await self._queue.put(None)

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.run_coroutine_threadsafe(work, self._loop)

    def __iter__(self) -> Iterator[bytes]:
        while not self._ended:
            message = asyncio.run_coroutine_threadsafe(self._queue.get(), self._loop).result()
            self._ended = message is None
            if message is not None:
                yield message

    def cancel(self) -> None:
        self._task.cancel()

    def finish(self) -> Reply:
        messages = tuple(self)
        assert self._reply is not None
        if not self._task.cancelled():
            self._task.result()  # what grpclib itself could not do is a fault of the test
        return attrs.evolve(self._reply, messages=messages)


class GrpclibClient:
    """grpclib's channel on a loop in a thread of its own."""

    def __init__(self, socket: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="grpclib client")
        self._thread.start()
        self._channel = self._on_loop(_open_channel(socket))

    def start(
        self, path: str, request: bytes, *, metadata: Metadata = (), timeout_s: float = _CALL_TIMEOUT_S
    ) -> GrpclibCall:
        call = GrpclibCall(self._loop)
        call.begin(call.run(self._channel, path, request, metadata, timeout_s))
        return call

    def close(self) -> None:
        self._on_loop(_close_channel(self._channel))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _open_channel(socket: Path) -> grpclib.client.Channel:
    return grpclib.client.Channel(path=str(socket), codec=_Bytes())  # type: ignore[arg-type]


async def _close_channel(channel: grpclib.client.Channel) -> None:
    channel.close()
    for _ in range(2):  # the transport closes in a later turn of the loop
        await asyncio.sleep(0)


def _pairs(metadata: Any) -> Metadata:
    return _metadata(metadata.items() if metadata else ())


def _metadata(items: Sequence[tuple[str, str | bytes]] | Any) -> Metadata:
    """Pairs in an order of their own: gRPC keeps the order of values of one key only."""
    return tuple(sorted(((key, value) for key, value in items or ()), key=lambda pair: pair[0]))
