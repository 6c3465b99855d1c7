"""A kubelet and a runtime made of bare HTTP/2 state machines, with the relay between them and no socket anywhere."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING

import attrs
import h2.events as h2e
from h2.config import H2Configuration
from h2.connection import H2Connection

from crirm.rpc.client import Pool, RuntimeConnection
from crirm.rpc.flusher import Flusher
from crirm.rpc.grpc_wire import frame
from crirm.rpc.server import Refusal, Route, Served, Server

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from crirm.rpc.held import Interceptor
    from crirm.rpc.http2 import Http2Connection
    from crirm.rpc.tap import Outcome, Tap

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

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def take(self) -> bytes:
        data, self.written = bytes(self.written), bytearray()
        return data

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closed = True


@attrs.define
class Stream:
    """What a peer has seen of one stream."""

    headers: list[Pairs] = attrs.field(factory=list)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None


class Peer:
    """One end of an HTTP/2 connection whose other end is crirm's."""

    def __init__(self, other: Http2Connection, *, client_side: bool, acknowledges: bool = True) -> None:
        self.h2 = H2Connection(H2Configuration(client_side=client_side, header_encoding=None))
        self.h2.initiate_connection()
        self.other = other
        self.transport = Transport()
        self.acknowledges = acknowledges
        self.streams: dict[int, Stream] = defaultdict(Stream)
        self.order: list[int] = []
        self.goodbye = False
        other.connection_made(self.transport)

    def exchange(self, piece_bytes: int) -> bool:
        """Move what both sides have written, *piece_bytes* at a time towards crirm; True when anything moved."""
        outgoing, incoming = self.h2.data_to_send(), self.transport.take()
        for start in range(0, len(outgoing), piece_bytes):
            if not self.other.lost:
                self.other.data_received(outgoing[start : start + piece_bytes])
            while self.other.behind and not self.other.lost:
                self.other.handle_some()  # as the loop would
        for event in self.h2.receive_data(incoming) if incoming else ():
            self._note(event)
        return bool(outgoing or incoming)

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
                stream.body += event.data
                stream.ended = stream.ended or event.stream_ended is not None
                if self.acknowledges:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case h2e.StreamReset():
                self.streams[event.stream_id].reset = int(event.error_code or 0)
            case h2e.ConnectionTerminated():
                self.goodbye = True
            case _:
                pass


class Rig:
    """kubelet — crirm — runtime."""

    def __init__(
        self, *, tap: Tap | None = None, kubelet_acknowledges: bool = True, piece_bytes: int = 1 << 16
    ) -> None:
        self.outcomes: list[tuple[bytes, Outcome]] = []
        self.finished = asyncio.Event()
        self.refusal: Refusal | None = None
        self.renamed: dict[bytes, bytes] = {}
        self.interceptor: Interceptor | None = None
        self.endless = False
        self.piece_bytes = piece_bytes
        self.flusher = Flusher()
        self.pool = Pool("/run/test.sock", self.flusher)
        self.server = Server(Served(self._route, tap, self._finish), self.flusher)
        self.upstream = RuntimeConnection(self.pool, self.flusher)
        self.runtime = Peer(self.upstream, client_side=False)
        self.pool.add(self.upstream)
        self.downstream = self.server.new_connection()
        self.kubelet = Peer(self.downstream, client_side=True, acknowledges=kubelet_acknowledges)
        self.settle()

    def _route(self, path: bytes) -> Route | Refusal:
        return self.refusal or Route(self.pool, self.renamed.get(path, path), self.interceptor, self.endless)

    def _finish(self, path: bytes, outcome: Outcome) -> None:
        self.outcomes.append((path, outcome))
        self.finished.set()

    def settle(self) -> None:
        """Move bytes until nobody has anything to say."""
        self.flusher.flush()
        while self.kubelet.exchange(self.piece_bytes) | self.runtime.exchange(self.piece_bytes):
            pass

    def call(self, *more: tuple[bytes, bytes], path: bytes = VERSION, body: bytes | None = frame(b"hi")) -> int:
        """Let the kubelet begin a call; *body* None leaves its request open."""
        stream_id = self.kubelet.h2.get_next_available_stream_id()
        self.kubelet.h2.send_headers(stream_id, request(path, *more))
        if body is not None:
            self.send(self.kubelet, stream_id, body, end=True)
        self.settle()
        return stream_id

    def send(self, peer: Peer, stream_id: int, body: bytes, *, end: bool = False) -> None:
        """Let *peer* send *body*, as its windows allow."""
        rest = body
        while rest:
            if peer.h2.local_flow_control_window(stream_id) <= 0:
                self.settle()
            room = min(peer.h2.local_flow_control_window(stream_id), peer.h2.max_outbound_frame_size)
            assert room > 0, "no window left; send less"
            peer.h2.send_data(stream_id, rest[:room])
            rest = rest[room:]
        if end:
            peer.h2.send_data(stream_id, b"", end_stream=True)

    def answer(self, stream_id: int, body: bytes = frame(b"yo"), trailers: Pairs = OK) -> None:
        """Let the runtime answer completely."""
        self.runtime.h2.send_headers(stream_id, REPLY)
        self.send(self.runtime, stream_id, body)
        self.runtime.h2.send_headers(stream_id, trailers, end_stream=True)
        self.settle()

    @property
    def idle(self) -> bool:
        """Nothing of any call is left in crirm."""
        return not (self.server.calls or self.upstream.legs or self.downstream.legs)


def on_loop(test: Callable[..., Coroutine[None, None, None]]) -> Callable[..., None]:
    """Run the coroutine function *test* on an event loop of its own."""

    def run(*args: object, **kwargs: object) -> None:
        asyncio.run(test(*args, **kwargs))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    run.__signature__ = __import__("inspect").signature(test)  # type: ignore[attr-defined] # pytest reads it
    return run
