"""A gRPC server for a few rarely called unary methods, each served by a Trio-flavoured function.

Callers cannot disturb the daemon: requests are limited in size and number before they are read, they are handled
one after another, and not on the event loop that relays calls. A request that was started is completed
even if its caller hangs up, since half a change is worse than a whole one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from grpclib.config import Configuration
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.metadata import Deadline
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream
from grpclib.utils import DeadlineWrapper

from crirm.config.nodes import MAX_BYTES
from crirm.logs import get_logger
from crirm.rpc import bridge
from crirm.rpc.bytes_codec import BytesCodec
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Mapping

    Method = Callable[[bytes], Awaitable[bytes]]

log = get_logger("config-server")

MAX_REQUEST_BYTES: Final = MAX_BYTES + (64 << 10)
"""The largest configuration, and what is around it."""
MAX_WAITING: Final = 8
"""Requests that are read or wait; the node agent sends one at a time."""
READ_WITHIN_S: Final = 10.0
"""For all of a message, once the call has begun."""
_WINDOW_BYTES: Final = 1 << 20
_PREFIX_BYTES: Final = 5  # of every gRPC message: whether it is compressed, and its length


class _Connection(H2Protocol):
    """Is known to its server as long as it is open."""

    def __init__(self, open_connections: set[_Connection], *args: Any) -> None:
        super().__init__(*args)
        self._open_connections = open_connections

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._open_connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._open_connections.discard(self)
        super().connection_lost(exc)


class _BytesServer(Server):
    """grpclib's server, which can also be stopped while callers stay connected."""

    def __init__(self, mapping: dict[str, Handler]) -> None:
        config = Configuration(http2_connection_window_size=4 * _WINDOW_BYTES, http2_stream_window_size=_WINDOW_BYTES)
        super().__init__([], codec=BytesCodec(), config=config)
        self._mapping = mapping
        self._open_connections: set[_Connection] = set()

    def _protocol_factory(self) -> H2Protocol:
        handler = super()._protocol_factory().handler
        return _Connection(self._open_connections, handler, self._config, self._h2_config)

    async def stop(self) -> None:
        """asyncio-flavoured: end listening, connections and handlers."""
        self.close()
        for connection in list(self._open_connections):
            connection.processor.close("crirm has stopped")
        await self.wait_closed()


@attrs.define(eq=False)
class _Job:
    """A request on its way from a caller to the worker and back."""

    method: Method
    message: bytes
    done: bridge.AsyncioEvent = attrs.field(factory=bridge.AsyncioEvent)
    reply: bytes = b""
    failure: GRPCError | None = None
    abandoned: bool = False


async def serve_methods(
    sock: socket.socket,
    methods: Mapping[str, Method],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Trio-flavoured: serve *methods* on *sock*, which listens, until cancelled.

    Args:
        sock: stays open.
        methods: by path ``/package.Service/Method``; each is given the request's bytes and returns the reply's, or
            raises RpcError to end the call with a status.
        task_status: told once calls are accepted.
    """
    send, receive = trio.open_memory_channel[_Job](MAX_WAITING)
    gate = _Gate(send)
    mapping = {
        path: Handler(gate.handler(method), Cardinality.UNARY_UNARY, bytes, bytes) for path, method in methods.items()
    }
    server = await bridge.call_asyncio(_start, mapping, sock)
    try:
        task_status.started()
        async for job in receive:
            await _do(job)
    finally:
        with trio.CancelScope(shield=True):
            await bridge.call_asyncio(server.stop)


async def _start(mapping: dict[str, Handler], sock: socket.socket) -> _BytesServer:
    """asyncio-flavoured: begin to serve."""
    server = _BytesServer(mapping)
    await server.start(sock=sock)
    return server


@attrs.define(eq=False)
class _Gate:
    """Lets requests in, as many as there is room for; asyncio-flavoured."""

    send: trio.MemorySendChannel[_Job]
    inside: int = 0

    def handler(self, method: Method) -> Callable[[Stream[bytes, bytes]], Awaitable[None]]:
        """Return what grpclib calls for *method*."""

        async def handle(stream: Stream[bytes, bytes]) -> None:
            if self.inside >= MAX_WAITING:
                raise _busy()
            self.inside += 1
            try:
                await stream.send_message(await self._pass(_Job(method, await _read(stream))))
            finally:
                self.inside -= 1

        return handle

    async def _pass(self, job: _Job) -> bytes:
        try:
            self.send.send_nowait(job)
        except trio.WouldBlock:  # full of those whose callers are gone
            raise _busy() from None
        try:
            await job.done.wait()
        finally:
            job.abandoned = True
        if job.failure is not None:
            raise job.failure
        return job.reply


def _busy() -> GRPCError:
    return GRPCError(Status.RESOURCE_EXHAUSTED, f"crirm already handles {MAX_WAITING} requests; try again")


async def _read(stream: Stream[bytes, bytes]) -> bytes:
    """asyncio-flavoured: read one message in time, but none that is larger than allowed; grpclib has no bounds."""
    deadline = DeadlineWrapper()
    try:
        with deadline.start(Deadline.from_timeout(READ_WITHIN_S)), deadline:
            return await _message(stream)
    except TimeoutError:
        problem = f"the message was incomplete after {READ_WITHIN_S:g} s"
        raise GRPCError(Status.DEADLINE_EXCEEDED, problem) from None


async def _message(stream: Stream[bytes, bytes]) -> bytes:
    prefix = await _receive(stream, _PREFIX_BYTES)
    if prefix[0]:
        raise GRPCError(Status.UNIMPLEMENTED, "compressed messages are not supported; send it uncompressed")
    size_bytes = int.from_bytes(prefix[1:], "big")
    if size_bytes > MAX_REQUEST_BYTES:
        problem = f"the message has {size_bytes} bytes; the limit is {MAX_REQUEST_BYTES}"
        raise GRPCError(Status.RESOURCE_EXHAUSTED, problem)
    return await _receive(stream, size_bytes)


async def _receive(stream: Stream[bytes, bytes], size_bytes: int) -> bytes:
    try:
        data = await stream._stream.recv_data(size_bytes)
    except AssertionError:  # grpclib's word for a stream that ends early
        data = b""
    if len(data) < size_bytes:
        raise GRPCError(Status.INVALID_ARGUMENT, "the call ended within its message")
    return data


async def _do(job: _Job) -> None:
    """Trio-flavoured: work on one request; nothing that goes wrong in it ends the server."""
    if job.abandoned:
        return  # its caller was gone before it was begun
    try:
        job.reply = await job.method(job.message)
    except RpcError as error:
        job.failure = GRPCError(error.status, error.message)
    except Exception:
        log.exception("a request failed, this is a bug in crirm")
        job.failure = GRPCError(Status.INTERNAL, "internal error, a bug in crirm; see its log")
    finally:
        job.done.set()
