"""The calling side: a pool of connections to one runtime socket.

One connection carries all calls unless the runtime limits its streams (containerd and CRI-O do not); then the pool
grows to ``MAX_CONNECTIONS``, and beyond that calls wait in order, crirm's own among the others.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

import trio
from grpclib.const import Status
from h2.exceptions import NoAvailableStreamIDError, TooManyStreamsError

from crirm.errors import CrirmError
from crirm.rpc import bridge
from crirm.rpc.grpc_wire import RpcError
from crirm.rpc.http2 import Http2Connection
from crirm.rpc.own_leg import OwnCall
from crirm.rpc.rest_of_frames import RestOfFrames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


MAX_CONNECTIONS = 8
_TIDY_LENGTH = 64  # waiting calls before abandoned ones are removed
STREAM_BACKLOG = 1024  # unread messages of a stream of our own
GREETING_TIMEOUT_S = 5.0  # for the settings frame that an HTTP/2 server sends first


class NotGrpcError(CrirmError):
    """The server on the socket does not speak gRPC."""


class Startable(Protocol):
    """A call that wants a stream to the runtime."""

    @property
    def wanted(self) -> bool:
        """Whether the call is still wanted."""

    def start(self, connection: Http2Connection, path: bytes) -> None:
        """Open the stream; raises ProtocolError of h2 when there is no room for it."""

    def refuse(self, status: Status, message: str) -> None:
        """End without a stream."""


class _Queue:
    """Calls that wait for a stream, in order."""

    def __init__(self) -> None:
        self._calls: deque[tuple[Startable, bytes]] = deque()
        self._tidy_at = _TIDY_LENGTH

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, call: Startable, path: bytes) -> None:
        """Append *call*; abandoned calls are removed now and then, not only at the front."""
        if len(self._calls) >= self._tidy_at:
            self._calls = deque(item for item in self._calls if item[0].wanted)
            self._tidy_at = 2 * len(self._calls) + _TIDY_LENGTH
        self._calls.append((call, path))

    def first(self) -> tuple[Startable, bytes] | None:
        """Return the call whose turn it is, and its path."""
        while self._calls and not self._calls[0][0].wanted:
            self._calls.popleft()
        return self._calls[0] if self._calls else None

    def pop(self) -> None:
        """Take the first out."""
        self._calls.popleft()

    def take_all(self) -> list[Startable]:
        """Take everything out."""
        calls, self._calls = self._calls, deque()
        return [call for call, _ in calls if call.wanted]


class Pool:
    """Connections to the runtime on *socket_path*; empty until ``connect``."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path
        self.lost = trio.Event()
        self._connections: list[RuntimeConnection] = []
        self._waiting = _Queue()
        self._growing = False

    @property
    def connected(self) -> bool:
        """Whether calls can be made."""
        return bool(self._connections)

    @property
    def waiting(self) -> int:
        """How many calls wait for a stream."""
        return len(self._waiting)

    async def connect(self) -> None:
        """Trio-flavoured: make the first connection; ``lost`` is set once the last one is gone.

        Raises:
            OSError: nothing listens there, it does not answer (yet), or permission is denied.
            NotGrpcError: it is not a gRPC server.
        """
        connection = RuntimeConnection(self)
        await bridge.call_asyncio(bridge.connect_unix, connection, self.socket_path)
        try:
            with trio.move_on_after(GREETING_TIMEOUT_S):
                await connection.greeted.wait()
        except trio.Cancelled:
            connection.fail("no longer needed")
            raise
        if not connection.arrived_s:
            connection.fail("no SETTINGS frame received")
            raise ConnectionError(f"{self.socket_path}: connected, but no gRPC server answers")
        if connection.lost or not connection.greeted.is_set():
            connection.fail("no SETTINGS frame received")
            raise NotGrpcError(
                f"{self.socket_path}: the server does not speak gRPC; "
                "set --runtime-socket to the CRI socket of containerd or CRI-O"
            )
        self.add(connection)

    def add(self, connection: RuntimeConnection) -> None:
        """Use *connection*, which is open, for calls."""
        if not self._connections:
            self.lost = trio.Event()
        self._connections.append(connection)
        self.start_waiting()

    def close(self, reason: str) -> None:
        """Close all connections; calls in flight end with UNAVAILABLE."""
        for connection in list(self._connections):
            connection.fail(reason)

    # --- calls ---------------------------------------------------------------------------------------------------

    def start(self, call: Startable, path: bytes) -> None:
        """Send *call* to the runtime under *path*, now or as soon as a stream is available.

        Args:
            call: of a caller, or of our own.
            path: ``/package.Service/Method``.
        """
        if not self._connections:
            call.refuse(Status.UNAVAILABLE, f"container runtime at {self.socket_path} is not reachable")
            return
        if self._waiting.first() or not self._try_start(call, path):
            if self._connections:
                self._waiting.add(call, path)
                self._grow()
            else:  # the last one had no stream numbers left
                self.start(call, path)

    def _try_start(self, call: Startable, path: bytes) -> bool:
        for connection in list(self._connections):
            if len(connection.legs) >= connection.h2.remote_settings.max_concurrent_streams:
                continue
            try:
                call.start(connection, path)
            except TooManyStreamsError:
                continue
            except NoAvailableStreamIDError:
                connection.retire("stream numbers are exhausted")
                continue
            return True
        return False

    def start_waiting(self) -> None:
        """Start waiting calls as far as streams are available, and add connections."""
        while (first := self._waiting.first()) and self._try_start(*first):
            self._waiting.pop()
        if self._connections and self._waiting:
            self._grow()

    def _grow(self) -> None:
        if not self._growing and len(self._connections) < MAX_CONNECTIONS:
            self._growing = True
            bridge.spawn(self._add_connection)

    async def _add_connection(self) -> None:
        """asyncio-flavoured: add a connection beside the full ones, once it has sent its limit."""
        connection = RuntimeConnection(self, joins=True)
        try:
            await bridge.connect_unix(connection, self.socket_path)
        except OSError:
            self._growing = False
            return  # the calls wait for existing connections
        bridge.loop().call_later(GREETING_TIMEOUT_S, connection.expect_greeting)

    def joined(self, connection: RuntimeConnection) -> None:
        """Add *connection*, opened because the others are full, unless those are lost meanwhile."""
        self._growing = False
        if self._connections:
            self.add(connection)
        else:
            connection.fail("other connections were lost")

    def did_not_join(self) -> None:
        """A new connection was lost before it joined."""
        self._growing = False

    def forget(self, connection: RuntimeConnection, reason: str) -> None:
        """Note that *connection* is gone, or accepts no new calls."""
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        if self._connections:
            return
        for call in self._waiting.take_all():
            call.refuse(Status.UNAVAILABLE, f"lost the container runtime at {self.socket_path}: {reason}")
        self.lost.set()

    # --- calls of our own ----------------------------------------------------------------------------------------

    async def unary(self, path: str, message: bytes, *, timeout_s: float) -> bytes:
        """Trio-flavoured: make one unary call and return the bytes of its answer.

        Args:
            path: ``/package.Service/Method``.
            message: the encoded request.
            timeout_s: seconds, sent as the call's deadline and enforced here too.

        Raises:
            RpcError: the call ended with another status than OK.
        """
        messages: list[bytes] = []

        def keep(answer: bytes) -> None:
            if messages:
                call.fail(Status.INTERNAL, f"{path}: more than one reply to a unary call")
            else:
                messages.append(answer)

        call = OwnCall(message, timeout_s, keep)
        self.start(call, path.encode())
        try:
            with trio.move_on_after(timeout_s):
                await call.ended.wait()
            if call.wanted:
                raise RpcError(Status.DEADLINE_EXCEEDED, f"{path}: no reply within {timeout_s:g} s")
        finally:
            call.cancel()
        call.check()
        return messages[0] if messages else b""

    @asynccontextmanager
    async def open_stream(self, path: str, message: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        """Trio-flavoured: make one server-streaming call; the block may iterate over its messages as they come.

        Raises:
            RpcError: in the iteration, if the call ends with another status than OK, or messages arrive too fast.
        """
        send, receive = trio.open_memory_channel[bytes](STREAM_BACKLOG)
        call = OwnCall(message, None, send.send_nowait, send.close)
        self.start(call, path.encode())
        try:
            yield _messages(call, receive)
        finally:
            call.cancel()


async def _messages(call: OwnCall, receive: trio.MemoryReceiveChannel[bytes]) -> AsyncIterator[bytes]:
    async for message in receive:
        yield message
    call.check()


class RuntimeConnection(Http2Connection):
    """One connection of a pool."""

    def __init__(self, pool: Pool, *, joins: bool = False) -> None:
        super().__init__()
        self._pool = pool
        self._joins = joins  # added to the pool once it has sent its limit of streams
        self.greeted = trio.Event()
        self._rest = RestOfFrames(self)

    def data_received(self, data: bytes) -> None:
        """Handle one batch of frames; the rest of an incomplete one must follow in time."""
        super().data_received(data)
        self._rest.received(len(data))

    def on_settings(self) -> None:
        """The runtime sent its limit of streams, possibly a higher one."""
        self.greeted.set()
        if self._joins:
            self._joins = False
            self._pool.joined(self)
        else:
            self._pool.start_waiting()

    def expect_greeting(self) -> None:
        """Give up if the runtime has not sent anything yet."""
        if self._joins:
            self.fail("no SETTINGS frame received")

    def retire(self, reason: str) -> None:
        """Accept no more calls; existing ones run to their end."""
        self.goodbye = reason
        self._pool.forget(self, reason)
        self._leave_when_idle()

    def on_goodbye(self, reason: str) -> None:
        """New calls use another connection."""
        self._pool.forget(self, reason)

    def on_room(self) -> None:
        """A stream is available for another call."""
        super().on_room()
        self._pool.start_waiting()

    def on_lost(self, reason: str) -> None:
        """Tell the pool."""
        self.greeted.set()
        if self._joins:
            self._joins = False
            self._pool.did_not_join()
        self._pool.forget(self, reason)
