"""The calling side: a pool of connections to one runtime socket.

One connection carries all calls as long as the runtime takes that many streams at once (containerd and CRI-O set no
limit); where it does set one, the pool grows to ``MAX_CONNECTIONS``, and beyond that calls wait in order.
"""

from __future__ import annotations

from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from grpclib.const import Status
from h2.exceptions import NoAvailableStreamIDError, TooManyStreamsError

from crirm.errors import CrirmError
from crirm.rpc import bridge
from crirm.rpc.grpc_wire import RpcError, frame, request_headers
from crirm.rpc.http2 import Flusher, Http2Connection
from crirm.rpc.leg import CANCEL
from crirm.rpc.own_leg import OwnLeg

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crirm.rpc.call import Call

MAX_CONNECTIONS = 8
STREAM_BACKLOG = 1024  # messages of a stream of our own that wait to be read
GREETING_TIMEOUT_S = 5.0  # for the settings frame that an HTTP/2 server sends first


class NotGrpcError(CrirmError):
    """Something answers on the socket, but it does not speak gRPC."""


class Pool:
    """Connections to the runtime that listens on *socket_path*; empty until ``connect``."""

    def __init__(self, socket_path: str, flusher: Flusher) -> None:
        self.socket_path = socket_path
        self.lost = trio.Event()
        self._flusher = flusher
        self._connections: list[RuntimeConnection] = []
        self._waiting: deque[tuple[Call, bytes]] = deque()
        self._growing = False

    @property
    def connected(self) -> bool:
        """Whether calls can be made."""
        return bool(self._connections)

    async def connect(self) -> None:
        """Trio-flavoured: make the first connection; ``lost`` is set once the last one is gone.

        Raises:
            OSError: nothing listens there, or it says nothing (yet), or we may not connect.
            NotGrpcError: what listens there is no gRPC server.
        """
        connection = RuntimeConnection(self, self._flusher)
        await bridge.call_asyncio(bridge.connect_unix, connection, self.socket_path)
        try:
            with trio.move_on_after(GREETING_TIMEOUT_S):
                await connection.greeted.wait()
        except trio.Cancelled:
            connection.fail("nobody waits for it any more")
            raise
        if not connection.arrived_s:
            connection.fail("no HTTP/2 greeting")
            raise ConnectionError(f"{self.socket_path}: accepts connections, but no gRPC server answers there")
        if connection.lost or not connection.greeted.is_set():
            connection.fail("no HTTP/2 greeting")
            raise NotGrpcError(
                f"{self.socket_path}: something listens there but does not speak gRPC; "
                "give the CRI socket of containerd or CRI-O with --runtime-socket"
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

    # --- calls of others -----------------------------------------------------------------------------------------

    def start(self, call: Call, path: bytes) -> None:
        """Send *call* to the runtime under *path*, now or as soon as there is room for it."""
        if not self._connections:
            call.refuse(Status.UNAVAILABLE, f"crirm has lost the container runtime at {self.socket_path}")
        elif self._waiting or not self._try_start(call, path):
            self._waiting.append((call, path))
            self._grow()

    def _try_start(self, call: Call, path: bytes) -> bool:
        for connection in self._connections:
            if len(connection.legs) >= connection.h2.remote_settings.max_concurrent_streams:
                continue
            try:
                call.start(connection, path)
            except (TooManyStreamsError, NoAvailableStreamIDError):
                continue
            return True
        return False

    def start_waiting(self) -> None:
        """Start the calls that wait, as far as there is room."""
        while self._waiting:
            call, path = self._waiting[0]
            if not call.over and not self._try_start(call, path):
                return
            self._waiting.popleft()

    def _grow(self) -> None:
        if not self._growing and len(self._connections) < MAX_CONNECTIONS:
            self._growing = True
            bridge.spawn(self._add_connection)

    async def _add_connection(self) -> None:
        """asyncio-flavoured: one more connection beside those that are full."""
        connection = RuntimeConnection(self, self._flusher)
        try:
            await bridge.connect_unix(connection, self.socket_path)
        except OSError:
            return  # the calls wait for the connections that there are
        finally:
            self._growing = False
        self.add(connection)

    def forget(self, connection: RuntimeConnection, reason: str) -> None:
        """Take note that *connection* is gone, or takes no new calls."""
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        if self._connections:
            return
        waiting, self._waiting = self._waiting, deque()
        for call, _ in waiting:
            call.refuse(Status.UNAVAILABLE, f"crirm lost the container runtime at {self.socket_path}: {reason}")
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
        if not self._connections:
            raise RpcError(Status.UNAVAILABLE, f"not connected to {self.socket_path}")
        messages: list[bytes] = []
        leg = OwnLeg(self._connections[0], messages.append)
        leg.ask(request_headers(path.encode(), timeout_s), frame(message))
        with trio.move_on_after(timeout_s):
            await leg.ended.wait()
        if not leg.ended.is_set():
            leg.reset(CANCEL)
            raise RpcError(Status.DEADLINE_EXCEEDED, f"{path} was not answered within {timeout_s:g} s")
        leg.check()
        return messages[0] if messages else b""

    @asynccontextmanager
    async def open_stream(self, path: str, message: bytes) -> AsyncIterator[AsyncIterator[bytes]]:
        """Trio-flavoured: make one server-streaming call; the block may iterate over its messages as they come.

        Raises:
            RpcError: in the iteration, when the call has ended with another status than OK, or comes too fast.
        """
        if not self._connections:
            raise RpcError(Status.UNAVAILABLE, f"not connected to {self.socket_path}")
        send, receive = trio.open_memory_channel[bytes](STREAM_BACKLOG)
        leg = OwnLeg(self._connections[0], send.send_nowait, send.close)
        leg.ask(request_headers(path.encode(), None), frame(message))
        try:
            yield _messages(leg, receive)
        finally:
            leg.reset(CANCEL)


async def _messages(leg: OwnLeg, receive: trio.MemoryReceiveChannel[bytes]) -> AsyncIterator[bytes]:
    async for message in receive:
        yield message
    leg.check()


class RuntimeConnection(Http2Connection):
    """One connection of a pool."""

    def __init__(self, pool: Pool, flusher: Flusher) -> None:
        super().__init__(flusher, client_side=True)
        self._pool = pool
        self.greeted = trio.Event()

    def on_settings(self) -> None:
        """The runtime has said how many streams it takes; perhaps more than before."""
        self.greeted.set()
        self._pool.start_waiting()

    def on_goodbye(self, reason: str) -> None:
        """New calls are for another connection."""
        self._pool.forget(self, reason)

    def on_room(self) -> None:
        """There is room for another call."""
        super().on_room()
        self._pool.start_waiting()

    def on_lost(self, reason: str) -> None:
        """Tell the pool."""
        self.greeted.set()
        self._pool.forget(self, reason)
