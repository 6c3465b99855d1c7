"""A kubelet and a runtime made of bare HTTP/2 state machines, with crirm's half between them and no socket anywhere."""

from __future__ import annotations

import asyncio
import functools
import socket
from collections import defaultdict
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import h2.events as h2e
import trio
import trio.testing
from h2.config import H2Configuration
from h2.connection import H2Connection

from crirm.rpc import bridge
from crirm.rpc.budget import Account, Budget
from crirm.rpc.client import Pool, RuntimeConnection
from crirm.rpc.grpc_wire import frame
from crirm.rpc.server import Route, Served, Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import hyperframe.frame

    from crirm.rpc.calls import Handler, HeldCall, Refusal
    from crirm.rpc.tap import CallTap, Outcome, Tap

VERSION = b"/runtime.v1.RuntimeService/Version"
Pairs = list[tuple[bytes, bytes]]
REPLY: Pairs = [(b":status", b"200"), (b"content-type", b"application/grpc")]
OK: Pairs = [(b"grpc-status", b"0"), (b"grpc-message", b"")]


def request(path: bytes = VERSION, *more: tuple[bytes, bytes]) -> Pairs:
    return [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"grpc-go/1.65.0"),
        (b"te", b"trailers"),
        *more,
    ]


class Transport(asyncio.Transport):
    """Keeps what is written until somebody takes it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.closed = False
        self.reading = True
        self.socket: socket.socket | None = None

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.socket if name == "socket" else default

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def take(self) -> bytes:
        data, self.written = bytes(self.written), bytearray()
        return data

    def is_closing(self) -> bool:
        return self.closed

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True


@attrs.define
class Stream:
    """What a peer has seen of one stream."""

    headers: list[Pairs] = attrs.field(factory=list)
    pieces: list[bytes] = attrs.field(factory=list)
    ended: bool = False
    reset: int | None = None

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


class Half(Protocol):
    """crirm's end of a connection."""

    lost: bool

    def connection_made(self, transport: bridge.BaseTransport) -> None: ...

    def data_received(self, data: bytes) -> None: ...

    def connection_lost(self, exc: BaseException | None) -> None: ...

    def pause_writing(self) -> None: ...

    def resume_writing(self) -> None: ...


class _H2Connection(H2Connection):
    """As strict as h2's own, but GOAWAY leaves the streams that there are, as it does with grpc-go."""

    def _receive_goaway_frame(self, frame: hyperframe.frame.GoAwayFrame) -> tuple[list[hyperframe.frame.Frame], Any]:
        event = h2e.ConnectionTerminated()
        event.error_code, event.last_stream_id = frame.error_code, frame.last_stream_id
        return [], [event]


class Peer:
    """One end of an HTTP/2 connection whose other end is crirm's."""

    def __init__(self, other: Half, *, client_side: bool, acknowledges: bool = True) -> None:
        self.h2 = _H2Connection(H2Configuration(client_side=client_side, header_encoding=None))
        self.h2.initiate_connection()
        self.other = other
        self.transport = Transport()
        self.acknowledges = acknowledges
        self.precise = False  # it gives back just what it gets; h2 by itself lets it come to half a window
        self.streams: dict[int, Stream] = defaultdict(Stream)
        self.order: list[int] = []
        self.goodbye: int | None = None  # the last stream that the other end's GOAWAY leaves in
        self.raw = bytearray()  # bytes to send that are no frames of h2
        other.connection_made(self.transport)

    def exchange(self, piece_bytes: int) -> bool:
        """Move what both sides have written, *piece_bytes* at a time towards crirm; True when anything moved."""
        incoming = self.transport.take()
        for event in self.h2.receive_data(incoming) if incoming else ():
            self._note(event)
        if not self.transport.reading:
            return bool(incoming)
        outgoing = bytes(self.raw) + self.h2.data_to_send()
        self.raw.clear()
        for start in range(0, len(outgoing), piece_bytes):
            if not self.transport.closed:
                self.other.data_received(outgoing[start : start + piece_bytes])
        return bool(outgoing or incoming)

    def _give_back(self, stream_id: int, size_bytes: int, *, ended: bool) -> None:
        if size_bytes:
            self.h2.increment_flow_control_window(size_bytes)
            if not ended and stream_id in self.h2.streams and not self.h2.streams[stream_id].closed:
                self.h2.increment_flow_control_window(size_bytes, stream_id)

    def vanish(self, exc: BaseException | None = None, unread: bytes = b"") -> None:
        """Be gone; *unread* lies in the socket."""
        ours, theirs = socket.socketpair(socket.AF_UNIX)
        with ours, theirs:
            theirs.sendall(unread)
            self.transport.closed, self.transport.socket = True, ours
            self.other.connection_lost(exc)

    def _note(self, event: h2e.Event) -> None:
        match event:
            case h2e.RequestReceived() | h2e.ResponseReceived() | h2e.TrailersReceived():
                stream = self.streams[event.stream_id]
                if isinstance(event, h2e.RequestReceived):
                    self.order.append(event.stream_id)
                stream.headers.append([(bytes(k), bytes(v)) for k, v in event.headers])
                stream.ended = stream.ended or event.stream_ended is not None
            case h2e.DataReceived():
                stream = self.streams[event.stream_id]
                stream.pieces.append(event.data)
                stream.ended = stream.ended or event.stream_ended is not None
                if self.precise:
                    self._give_back(event.stream_id, event.flow_controlled_length, ended=stream.ended)
                elif self.acknowledges:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2e.StreamReset():
                self.streams[event.stream_id].reset = int(event.error_code or 0)
            case h2e.ConnectionTerminated():
                self.goodbye = event.last_stream_id
            case _:
                pass


class Rig:
    """kubelet — crirm — runtime; the runtime has one connection for the kubelet's, and one for crirm's pool."""

    def __init__(self, nursery: trio.Nursery, *, tap: Tap | None, kubelet_acknowledges: bool, piece_bytes: int) -> None:
        self.outcomes: list[tuple[bytes, Outcome]] = []
        self.refusal: Refusal | None = None
        self.renamed: dict[bytes, bytes] = {}
        self.handler: Handler | None = None
        self.observer: CallTap | None = None
        self.route: Callable[[bytes], Route | Refusal] | None = None
        self.away = False
        self.piece_bytes = piece_bytes
        self.pool = Pool("/run/test.sock")
        served = Served(
            self._route, lambda: None if self.away else self.pool, nursery, tap, self._finish, connect=self._connect
        )
        self.server = Server(served)
        self.others: list[Peer] = []
        self.elsewhere: Pool | None = None
        self.pool_runtime = self.connect_pool(self.pool)
        self.runtime: Peer | None = None
        self.downstream = self.server.new_connection()
        self.kubelet = Peer(self.downstream, client_side=True, acknowledges=kubelet_acknowledges)

    def _route(self, path: bytes) -> Route | Refusal:
        if self.route is not None:
            return self.route(path)
        if self.refusal is not None:
            return self.refusal
        return Route(self.elsewhere or self.pool, self.renamed.get(path, path), self.handler, self.observer)

    def connect_pool(self, pool: Pool) -> Peer:
        """Let *pool* have a connection, or one more, and return its other end."""
        connection = RuntimeConnection(pool)
        self.others.append(Peer(connection, client_side=False))
        pool.add(connection)
        return self.others[-1]

    def route_elsewhere(self) -> Peer:
        """Have calls go to another socket than that of the runtime, and return the other end of that."""
        self.elsewhere = Pool("/run/elsewhere.sock")
        return self.connect_pool(self.elsewhere)

    async def another_kubelet(self) -> Peer:
        """Return another caller, whose connection to the runtime is the last of `others`, if it has one."""
        self.others.append(Peer(self.server.new_connection(), client_side=True))
        caller = self.others[-1]
        await self.settle()
        return caller

    def limit(self, *, most_bytes: int, most_of_one_bytes: int) -> None:
        """Let callers have crirm hold no more than that."""
        self.server.budget = Budget(most_bytes, most_of_one_bytes)
        self.downstream.account = Account(self.server.budget)

    async def _connect(self, half: Any, _path: str) -> None:
        peer = Peer(half, client_side=False)
        if self.runtime is None:
            self.runtime = peer
        else:
            self.others.append(peer)

    def _finish(self, path: bytes, outcome: Outcome) -> None:
        self.outcomes.append((path, outcome))

    @property
    def beyond(self) -> Peer:
        """The runtime's end of the kubelet's connection."""
        assert self.runtime is not None
        return self.runtime

    @property
    def peers(self) -> list[Peer]:
        return [peer for peer in (self.kubelet, self.runtime, *self.others) if peer is not None]

    async def settle(self) -> None:
        """Move bytes and let tasks run until nobody has anything to say."""
        quiet, left = 0, 5_000
        while quiet < 3:
            left -= 1
            assert left, "they never come to rest"
            moved = [peer.exchange(self.piece_bytes) for peer in self.peers]
            splice = self.downstream.splice
            behind = not self.downstream.lost and (splice.caller.reader.unread or splice.runtime.reader.unread)
            quiet = 0 if any(moved) or behind else quiet + 1
            await trio.testing.wait_all_tasks_blocked()
            await bridge.call_asyncio(asyncio.sleep, 0)

    async def call(
        self,
        *more: tuple[bytes, bytes],
        path: bytes = VERSION,
        body: bytes | None = frame(b"hi"),
        peer: Peer | None = None,
    ) -> int:
        """Let the kubelet, or *peer*, begin a call; *body* None leaves its request open."""
        peer = peer or self.kubelet
        stream_id = peer.h2.get_next_available_stream_id()
        peer.h2.send_headers(stream_id, request(path, *more))
        if body is not None:
            await self.send(peer, stream_id, body, end=True)
        await self.settle()
        return stream_id

    async def send(self, peer: Peer, stream_id: int, body: bytes, *, end: bool = False) -> None:
        """Let *peer* send *body*, as its windows allow."""
        at = 0
        while at < len(body):
            if peer.h2.local_flow_control_window(stream_id) <= 0:
                await self.settle()
            room = min(peer.h2.local_flow_control_window(stream_id), peer.h2.max_outbound_frame_size)
            assert room > 0, "no window left; send less"
            peer.h2.send_data(stream_id, body[at : at + room])
            at += room
        if end:
            peer.h2.send_data(stream_id, b"", end_stream=True)

    async def answer(
        self, stream_id: int, body: bytes = frame(b"yo"), trailers: Pairs = OK, *, peer: Peer | None = None
    ) -> None:
        """Let the runtime answer completely; on the connection of the pool where *peer* says so."""
        peer = peer or self.runtime
        assert peer is not None
        peer.h2.send_headers(stream_id, REPLY)
        await self.send(peer, stream_id, body)
        peer.h2.send_headers(stream_id, trailers, end_stream=True)
        await self.settle()

    @property
    def idle(self) -> bool:
        """Nothing of any call is left in crirm."""
        legs = [leg for peer in self.others for leg in getattr(peer.other, "legs", ())]
        tasks = self.server._handled
        splice = self.downstream.splice
        return not (legs or tasks or self.server.calls or splice.streams or self.server.budget.held_bytes) and (
            self.downstream.lost or not splice.window.waits
        )


@asynccontextmanager
async def open_rig(
    *, tap: Tap | None = None, kubelet_acknowledges: bool = True, piece_bytes: int = 1 << 16, precise: bool = False
) -> AsyncIterator[Rig]:
    """Trio-flavoured: a rig whose connections are open."""
    async with trio.open_nursery() as nursery:
        rig = Rig(nursery, tap=tap, kubelet_acknowledges=kubelet_acknowledges, piece_bytes=piece_bytes)
        try:
            await rig.settle()
            rig.kubelet.precise = rig.beyond.precise = precise
            yield rig
        finally:
            nursery.cancel_scope.cancel()
            for pool in (rig.pool, rig.elsewhere):
                if pool is not None:
                    pool.close("the test is over")  # a call that was forwarded waits for its answer


async def forwarding(call: HeldCall) -> None:
    """Handle a held call by passing it on as it is."""
    await call.forward(call.message)


def in_guest_mode(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run the Trio-flavoured *test* as the daemon runs: as a guest of an asyncio loop."""

    @functools.wraps(test)
    def run(*args: object, **kwargs: object) -> None:
        bridge.run(functools.partial(test, *args, **kwargs))

    return run
