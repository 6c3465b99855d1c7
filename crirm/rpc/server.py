"""The server: connections of callers, and the routing of every new call.

asyncio-flavoured but for what says that it is Trio-flavoured: the daemon's tasks use it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio
from grpclib.const import Status

from crirm.rpc import bridge
from crirm.rpc.budget import Budget
from crirm.rpc.calls import Refusal
from crirm.rpc.connection import CallerConnection
from crirm.rpc.followed import Followed
from crirm.rpc.grpc_wire import find, format_timeout, parse_timeout_s, status_of, status_trailers
from crirm.rpc.header_blocks import MAX_HEADER_LIST_BYTES, MAX_HEADERS, TooLong, literal, literals
from crirm.rpc.held import Held
from crirm.rpc.spliced_streams import Kept, Passing
from crirm.rpc.tap import Both, Latency, Outcome

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from crirm.rpc.calls import Handler
    from crirm.rpc.client import Pool
    from crirm.rpc.header_blocks import Headers
    from crirm.rpc.tap import CallTap, Tap


@attrs.frozen
class Route:
    """The route of a call: pool, path, and handler or observer."""

    pool: Pool
    path: bytes
    handler: Handler | None = None
    observer: CallTap | None = None


_TOO_MUCH_METADATA: Final = Refusal(
    Status.RESOURCE_EXHAUSTED,
    f"metadata is too large: more than {MAX_HEADER_LIST_BYTES} bytes or {MAX_HEADERS} headers",
)
MOST_CALLS: Final = 10_000  # of one caller at once; the kubelet has some dozens
_TOO_MANY_CALLS: Final = Refusal(
    Status.RESOURCE_EXHAUSTED, f"too many calls in flight: at most {MOST_CALLS} per caller"
)
_MOST_REMEMBERED: Final = 256
_SHORT_BYTES: Final = 4 << 10
NO_TIME: Final = Latency(0.0, 0.0, 0.0)


@attrs.frozen
class Served:
    """The behaviour of a server.

    Args:
        route: decides by path; called once per call on the event loop, so it must be quick.
        runtime: the pool of the runtime to which callers are spliced; None while it is away.
        nursery: of held calls.
        tap: receives messages of chosen calls; None: none.
        finished: called with path and outcome of every ended call while `listens` is true.
        listens: whether `finished` is needed.
        connect: asyncio-flavoured: connects a protocol to a socket.
    """

    route: Callable[[bytes], Route | Refusal]
    runtime: Callable[[], Pool | None]
    nursery: trio.Nursery
    tap: Tap | None = None
    finished: Callable[[bytes, Outcome], None] = lambda _path, _outcome: None
    listens: Callable[[], bool] = lambda: True
    connect: Callable[[bridge.Protocol, str], Coroutine[Any, Any, None]] = bridge.connect_unix


class Server:
    """All connections of callers and all calls in flight."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._shut: Refusal | None = None
        self._idle = trio.Event()
        self._handled: set[Held] = set()  # held calls whose task has not ended
        self._requests = RequestBlocks()
        self.budget = Budget()
        self.connections: set[CallerConnection] = set()

    def new_connection(self) -> CallerConnection:
        """Make the protocol of a connection that was just accepted."""
        return CallerConnection(self)

    async def connect(self, protocol: bridge.Protocol, path: str) -> None:
        """asyncio-flavoured: connect *protocol* to the socket at *path*."""
        await self._served.connect(protocol, path)

    def runtime_socket(self) -> str | None:
        """Return the runtime's socket for a new caller; None while the runtime is away."""
        pool = self._served.runtime()
        return pool.socket_path if pool is not None and self._shut is None else None

    def refusal_while_away(self, path: bytes) -> Refusal:
        """Return the refusal of the call of *path* while the runtime is away."""
        route = self._shut or self._served.route(path)
        if isinstance(route, Refusal):
            return route
        why = f"container runtime at {route.pool.socket_path} is not reachable"
        if route.observer is not None:
            route.observer.close(Outcome(Status.UNAVAILABLE.value, why, NO_TIME))
        return Refusal(Status.UNAVAILABLE, why)

    # --- calls ----------------------------------------------------------------------------------------------------

    def begin(self, connection: CallerConnection, stream_id: int, headers: Headers) -> Passing | Kept:
        """Take on a new call."""
        path = find(headers, b":path") or b""
        if type(headers) is TooLong:
            return _refused(stream_id, path, _TOO_MUCH_METADATA)
        too_many = _TOO_MANY_CALLS if len(connection.splice.streams) >= MOST_CALLS else None
        route = too_many or self._shut or self._served.route(path)  # whoever is to observe begins with its route
        if isinstance(route, Refusal):
            return _refused(stream_id, path, route)
        tap = self._tap(path, route)
        if route.handler is not None or route.pool is not self._served.runtime():
            held = Held(headers, route.handler, route.pool, route.path, tap, connection.account)
            kept = Kept(stream_id, path, held)
            connection.hold(kept, held)
            return kept
        watch = None
        if tap is not None or self._served.listens():
            watch = Followed(headers, tap, connection.account, partial(self._finish, path))
        spent_s = bridge.loop().time() - connection.splice.now_s
        return Passing(stream_id, path, self._requests.block_for(headers, route.path, spent_s), watch)

    def _tap(self, path: bytes, route: Route) -> CallTap | None:
        dumped = self._served.tap.open(path.decode("ascii", "replace")) if self._served.tap is not None else None
        if route.observer is None or dumped is None:
            return route.observer or dumped
        return Both(route.observer, dumped)

    def start(self, held: Held) -> None:
        """Handle a held call whose request is complete."""
        self._handled.add(held)
        self._served.nursery.start_soon(self._run, held)

    async def _run(self, held: Held) -> None:
        try:
            await held.run()
        finally:
            self._handled.discard(held)
            self.look_whether_idle()

    def answered(self, stream: Passing | Kept, trailers: Headers) -> None:
        """Note that a call got its complete reply."""
        if type(stream) is Kept:
            self._end_kept(stream, *status_of(trailers), answered=True)
        self.look_whether_idle()

    def broken(self, stream: Passing | Kept, status: int, message: str) -> None:
        """Note that a call ended without a reply."""
        if type(stream) is Kept:
            self._end_kept(stream, status, message, answered=False)
        self.look_whether_idle()

    def _end_kept(self, stream: Kept, status: int, message: str, *, answered: bool) -> None:
        outcome = Outcome(status, message, NO_TIME)
        if isinstance(stream.sink, Held):
            certain = stream.sink.is_certain(answered=answered)
            outcome = Outcome(status, message, stream.sink.latency(), certain)
            stream.sink.close_tap(outcome)
        self._finish(stream.path, outcome)

    def _finish(self, path: bytes, outcome: Outcome) -> None:
        self._served.finished(path, outcome)

    # --- for the daemon -------------------------------------------------------------------------------------------

    @property
    def calls(self) -> list[bytes]:
        """The paths of all calls in flight."""
        return [stream.path for stream in self._in_flight()]

    def _in_flight(self) -> Iterator[Passing | Kept]:
        streams = (stream for each in self.connections for stream in each.splice.streams.values())
        return (stream for stream in streams if not stream.over)

    def look_whether_idle(self) -> None:
        """Note that a call, or a connection, ended."""
        if self._shut is not None and not self._handled and not any(self._in_flight()):
            self._idle.set()

    def shut_gate(self, refusal: Refusal, endless: Callable[[bytes], bool]) -> None:
        """Refuse new calls from now on, and end endless calls in flight.

        Args:
            refusal: sent to callers.
            endless: whether the call of a path is endless.
        """
        self._shut = refusal
        self._cut(refusal.status, refusal.message, endless)
        self.look_whether_idle()

    def _cut(self, status: Status, message: str, chosen: Callable[[bytes], bool]) -> None:
        for connection in list(self.connections):
            for stream in list(connection.splice.streams.values()):
                if not stream.over and chosen(stream.path):
                    connection.cut(stream, status, message)
            connection.flush()

    async def wait_idle(self) -> None:
        """Trio-flavoured: wait until the last call in flight is over; only after ``shut_gate``."""
        await self._idle.wait()

    def runtime_is_back(self) -> None:
        """Make callers without a runtime reconnect."""
        for connection in list(self.connections):
            connection.runtime_is_back()

    async def hang_up(self, reason: str) -> None:
        """Trio-flavoured: like ``close``, then wait until pending data was sent to callers."""
        connections = list(self.connections)
        self.close(reason)
        for connection in connections:
            await connection.closed.wait()

    def close(self, reason: str) -> None:
        """Close every connection; calls still in flight end with UNAVAILABLE and *reason*, forwarded ones too."""
        self._cut(Status.UNAVAILABLE, reason, lambda _path: True)
        for held in list(self._handled):
            held.cut_off(Status.UNAVAILABLE, reason)
        for connection in list(self.connections):
            connection.close()


def _refused(stream_id: int, path: bytes, refusal: Refusal) -> Kept:
    return Kept(stream_id, path, None, status_trailers(refusal.status, refusal.message, alone=True))


class RequestBlocks:
    """Header blocks for the runtime: those of callers with a changed path and the remaining deadline.

    The lists that a `BlockDecoder` returns are shared, so most blocks are cached.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[Headers, bytes, bytes | None]] = {}

    def block_for(self, headers: Headers, path: bytes, spent_s: float) -> bytes:
        """Return the block of *headers* with *path*, *spent_s* seconds after they arrived."""
        known = self._known.get(id(headers))
        if known is None or known[0] is not headers:
            rest = literals(header for header in headers if header[0] not in {b":path", b"grpc-timeout"})
            known = (headers, rest, find(headers, b"grpc-timeout"))
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            if len(rest) < _SHORT_BYTES:
                self._known[id(headers)] = known
        block = literal((b":path", path)) + known[1]
        if (timeout := known[2]) is None:
            return block
        timeout_s = parse_timeout_s(timeout)
        if timeout_s is not None:
            timeout = format_timeout(max(0.0, timeout_s - spent_s))
        return block + literal((b"grpc-timeout", timeout))


@asynccontextmanager
async def open_server(sock: socket.socket, served: Served) -> AsyncIterator[Server]:
    """Trio-flavoured: serve on *sock*, already listening, until the block is left; then every connection is closed."""
    server = Server(served)
    listener = await bridge.call_asyncio(bridge.listen_unix, server.new_connection, sock)
    try:
        yield server
    finally:
        listener.close()
        server.close("crirm stopped")
