"""The listening side: connections of callers, and the gate that every new call passes.

asyncio-flavoured but for what says that it is Trio-flavoured: the daemon's tasks use it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs
import trio
from grpclib.const import Status

from crirm.rpc import bridge
from crirm.rpc.budget import Account, Budget
from crirm.rpc.call import Call, CallerLeg
from crirm.rpc.grpc_wire import find
from crirm.rpc.header_cache import MAX_HEADERS, TooLong
from crirm.rpc.held import HeldCall, Interceptor
from crirm.rpc.http2 import Http2Connection
from crirm.rpc.lean_h2 import MAX_HEADER_LIST_BYTES

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable

    import h2.events as h2e

    from crirm.rpc.client import Pool
    from crirm.rpc.flusher import Flusher
    from crirm.rpc.http2 import Headers
    from crirm.rpc.tap import Outcome, Tap


@attrs.frozen
class Route:
    """Where a call goes, under which path, who takes part in it, if anybody, and whether it ever ends by itself."""

    pool: Pool
    path: bytes
    interceptor: Interceptor | None = None
    endless: bool = False


@attrs.frozen
class Refusal:
    """Why a call goes nowhere, as the caller is told."""

    status: Status
    message: str


CALL_BYTES = 8 << 10  # about what a call in flight takes besides its messages
_TOO_MUCH_METADATA = Refusal(
    Status.RESOURCE_EXHAUSTED,
    f"the call comes with more than {MAX_HEADER_LIST_BYTES} bytes or {MAX_HEADERS} headers of metadata",
)


@attrs.frozen
class Served:
    """What a server does with calls.

    Args:
        route: decides by path; called once per call on the event loop, so it must be quick.
        tap: shows chosen calls' messages to somebody else; None when nobody looks.
        finished: told the path and the outcome of every call.
    """

    route: Callable[[bytes], Route | Refusal]
    tap: Tap | None
    finished: Callable[[bytes, Outcome], None]


class Server:
    """All connections of callers and all calls in flight."""

    def __init__(self, served: Served, flusher: Flusher) -> None:
        self._served = served
        self._flusher = flusher
        self._shut: Refusal | None = None
        self._idle = trio.Event()
        self.budget = Budget()
        self.calls: set[Call] = set()
        self.connections: set[CallerConnection] = set()

    def new_connection(self) -> CallerConnection:
        """Make the protocol of a connection that was just accepted."""
        return CallerConnection(self, self._flusher)

    def begin(self, connection: Http2Connection, event: h2e.RequestReceived) -> None:
        """Take on a new call."""
        leg = CallerLeg(connection, event.stream_id)
        leg.received_end = event.stream_ended is not None
        headers = list(event.headers)
        if type(event.headers) is TooLong:
            route: Route | Refusal = _TOO_MUCH_METADATA
        else:
            route = self._shut or self._served.route(find(headers, b":path") or b"")
        leg.call = call = self._make_call(leg, headers, route)
        self.calls.add(call)
        call.hold(CALL_BYTES + call.header_list_bytes)
        if not call.wanted:
            return
        if self._served.tap is not None and (tap := self._served.tap.open(call.path.decode("ascii", "replace"))):
            call.watch(tap)
        if isinstance(route, Refusal):
            call.refuse(route.status, route.message)
        elif route.interceptor is None:
            route.pool.start(call, route.path, endless=route.endless)

    def _make_call(self, leg: CallerLeg, headers: Headers, route: Route | Refusal) -> Call:
        if isinstance(route, Refusal) or route.interceptor is None:
            return Call(leg, headers, self._end)
        return HeldCall(leg, headers, self._end, route.interceptor, route.pool, route.path)

    def _end(self, call: Call, outcome: Outcome) -> None:
        self.calls.discard(call)
        self._served.finished(call.path, outcome)
        if self._shut is not None and not self.calls:
            self._idle.set()

    # --- for the daemon ------------------------------------------------------------------------------------------

    def shut_gate(self, refusal: Refusal, endless: Callable[[bytes], bool]) -> None:
        """Refuse new calls from now on, and end at once those in flight that never end by themselves.

        Args:
            refusal: what callers are told.
            endless: whether the call of a path is such a one.
        """
        self._shut = refusal
        for call in [c for c in self.calls if endless(c.path)]:
            call.refuse(refusal.status, refusal.message)
        if not self.calls:
            self._idle.set()

    async def wait_idle(self) -> None:
        """Trio-flavoured: wait until the last call in flight is over; only after ``shut_gate``."""
        await self._idle.wait()

    async def hang_up(self, reason: str) -> None:
        """Trio-flavoured: as ``close``, then wait until callers were sent what still lay here for them."""
        connections = list(self.connections)
        self.close(reason)
        for connection in connections:
            await connection.closed.wait()

    def close(self, reason: str) -> None:
        """Close every connection; calls still in flight end with UNAVAILABLE and *reason*."""
        for call in list(self.calls):
            call.refuse(Status.UNAVAILABLE, reason)
        self._flusher.flush()
        for connection in list(self.connections):
            connection.fail(reason)


class CallerConnection(Http2Connection):
    """A connection that a caller has opened."""

    def __init__(self, server: Server, flusher: Flusher) -> None:
        super().__init__(flusher, client_side=False)
        self._server = server
        self.account = Account(server.budget)
        self.closed = trio.Event()  # the socket too: nothing is left to send
        server.connections.add(self)

    def on_request(self, event: h2e.RequestReceived) -> None:
        """Take on a new call."""
        self._server.begin(self, event)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take note that the socket is closed."""
        super().connection_lost(exc)
        self.closed.set()

    def on_lost(self, reason: str) -> None:  # noqa: ARG002 - callers come and go
        """Forget it."""
        self._server.connections.discard(self)


@asynccontextmanager
async def open_server(sock: socket.socket, served: Served, flusher: Flusher) -> AsyncIterator[Server]:
    """Trio-flavoured: serve on *sock*, already listening, until the block is left; then every connection is closed."""
    server = Server(served, flusher)
    listener = await bridge.call_asyncio(bridge.listen_unix, server.new_connection, sock)
    try:
        yield server
    finally:
        listener.close()
        server.close("crirm has stopped")
