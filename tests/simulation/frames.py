"""HTTP/2 without its bytes: connections of ``crirm.rpc.http2`` that hand frames to each other as tuples.

Pool, server, calls, held calls and legs are crirm's own. What is left out is what makes bytes of frames (h2, hpack,
asyncio); what those forbid is forbidden here too: more streams than the peer allows, frames of streams that nobody has
opened, and frames after the end of a stream.
"""

from __future__ import annotations

from time import monotonic
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import h2.events as h2e
from h2.exceptions import NoSuchStreamError, StreamClosedError, TooManyStreamsError

from crirm.rpc.client import RuntimeConnection
from crirm.rpc.http2 import Http2Connection
from crirm.rpc.server import CallerConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc.http2 import Headers

Frame = tuple[Any, ...]
"""What the frame is, its stream, and what it carries."""

HEADERS, DATA, RESET, SETTINGS = "headers", "data", "reset", "settings"
NO_LIMIT = (1 << 31) - 1
_OURS, _THEIRS = 1, 2  # the ends of a stream


class Peer(Protocol):
    """Who is at the other end of a wire."""

    def frames_received(self, frames: list[Frame]) -> None:
        """Take a batch of frames."""

    def connection_lost(self, exc: BaseException | None) -> None:
        """Take note that the connection is closed."""


@attrs.define(eq=False)
class Wire:
    """One direction of a connection.

    Args:
        peer: who receives.
        later: calls a function after some seconds.
        latency_s: of every batch, so that they stay in order.
    """

    peer: Peer
    later: Callable[..., object]
    latency_s: float
    cut: bool = False

    def send(self, frames: list[Frame]) -> None:
        """Let the peer have *frames* in a moment."""
        if not self.cut:
            self.later(self.latency_s, self._deliver, frames)

    def _deliver(self, frames: list[Frame]) -> None:
        if not self.cut:
            self.peer.frames_received(frames)

    def close(self) -> None:
        """Let the peer know in a moment that nothing more will come."""
        if not self.cut:
            self.later(self.latency_s, self._closed)

    def _closed(self) -> None:
        if not self.cut:
            self.cut = True
            self.peer.connection_lost(None)


class PlainH2:
    """What legs and calls ask of h2's connection."""

    max_outbound_frame_size = 1 << 24
    outbound_flow_control_window = (1 << 31) - 1

    def __init__(self, *, client_side: bool) -> None:
        self.config = SimpleNamespace(client_side=client_side)
        self.remote_settings = SimpleNamespace(max_concurrent_streams=NO_LIMIT, max_header_list_size=None)
        self.waiting: list[Frame] = []
        self.streams: dict[int, int] = {}
        self._next = 1

    def get_next_available_stream_id(self) -> int:
        """Return the number that the next stream will have; it is taken only by the headers that open it."""
        return self._next

    def open(self, stream_id: int) -> None:
        """Take note of a stream that the peer has opened."""
        self.streams[stream_id] = 0

    def send_headers(self, stream_id: int, headers: Headers, end_stream: bool = False) -> None:
        """Open a stream, answer on one, or end one."""
        if stream_id not in self.streams:
            if not self.config.client_side or stream_id < self._next:
                raise StreamClosedError(stream_id)
            if len(self.streams) >= self.remote_settings.max_concurrent_streams:
                raise TooManyStreamsError(f"the peer takes {len(self.streams)} streams")
            self._next = stream_id + 2
            self.streams[stream_id] = 0
        self.waiting.append((HEADERS, stream_id, headers, end_stream))
        if end_stream:
            self.ended(stream_id, _OURS)

    def send_data(self, stream_id: int, data: bytes, end_stream: bool = False) -> None:
        """Send bytes."""
        self._check(stream_id)
        self.waiting.append((DATA, stream_id, data, end_stream))
        if end_stream:
            self.ended(stream_id, _OURS)

    def reset_stream(self, stream_id: int, error_code: int = 0) -> None:
        """End a stream at once."""
        self._check(stream_id)
        del self.streams[stream_id]
        self.waiting.append((RESET, stream_id, error_code))

    def local_flow_control_window(self, stream_id: int) -> int:
        """Return how many bytes fit."""
        self._check(stream_id)
        return 1 << 24

    def acknowledge_received_data(self, size: int, stream_id: int) -> None:
        """Windows are as large as can be."""

    def ended(self, stream_id: int, end: int) -> None:
        """Take note of one end of a stream; with both it is closed."""
        ends = self.streams.get(stream_id, 0) | end
        if ends == _OURS | _THEIRS:
            self.streams.pop(stream_id, None)
        elif stream_id in self.streams:
            self.streams[stream_id] = ends

    def ended_by_peer(self, stream_id: int) -> None:
        """Take note of the peer's end of a stream."""
        self.ended(stream_id, _THEIRS)

    def _check(self, stream_id: int) -> None:
        if stream_id not in self.streams:
            raise NoSuchStreamError(stream_id) if stream_id >= self._next else StreamClosedError(stream_id)


@attrs.define
class Plug:
    """What ``grpclib.protocol.Connection`` is for HTTP/2: where frames that wait go out."""

    h2: PlainH2
    wire: Wire
    closed: Callable[[], object]
    _closing: bool = False

    def flush(self) -> None:
        """Send what waits."""
        if self.h2.waiting:
            frames, self.h2.waiting = self.h2.waiting, []
            self.wire.send(frames)

    def is_closing(self) -> bool:
        """Tell whether it is over."""
        return self._closing

    def close(self) -> None:
        """End the connection."""
        if not self._closing:
            self._closing = True
            self.wire.close()
            self.closed()


def _event(kind: Any, **values: Any) -> Any:
    """Return an event of h2; versions of it differ in whether events are made with values or get them afterwards."""
    event = kind.__new__(kind)
    for name, value in values.items():
        setattr(event, name, value)
    return event


class _Plain(Http2Connection):
    """The part of `Http2Connection` that is about bytes, done with frames."""

    h2: Any
    connection: Any

    def plug(self, wire: Wire, soon: Callable[..., object]) -> None:
        """Join it to a wire; stands for ``connection_made``."""
        self.h2 = PlainH2(client_side=self.h2.config.client_side)
        self.connection = Plug(self.h2, wire, lambda: soon(self.connection_lost, None))

    def frames_received(self, frames: list[Frame]) -> None:
        """Handle one batch of frames, and send what comes of it; stands for ``data_received``."""
        if self.lost:
            return
        self.arrived_s = monotonic()
        self.flusher.hold()
        self.flusher.add(self)
        try:
            for frame in frames:
                self._take(*frame)
            self._conclude_turn()
        finally:
            self.flusher.flush()

    def _take(self, kind: str, stream_id: int, *rest: Any) -> None:
        if kind == SETTINGS:
            self.h2.remote_settings.max_concurrent_streams = rest[0]
            self._settings(_event(h2e.RemoteSettingsChanged))
        elif kind == RESET:
            if self.h2.streams.pop(stream_id, None) is not None:
                self._reset(_event(h2e.StreamReset, stream_id=stream_id, error_code=rest[0]))
        elif kind == HEADERS and not self.h2.config.client_side and stream_id not in self.legs:
            self.h2.open(stream_id)
            self.on_request(_event(h2e.RequestReceived, stream_id=stream_id, headers=rest[0], stream_ended=None))
        elif stream_id in self.h2.streams:
            if rest[1]:
                self.h2.ended_by_peer(stream_id)
            leg = self.legs.get(stream_id)
            if leg is None:
                return
            if kind == HEADERS:
                leg.on_headers(rest[0], end=rest[1])
            else:
                leg.on_data(rest[0], len(rest[0]), end=rest[1])


class PlainRuntimeConnection(_Plain, RuntimeConnection):
    """Crirm's connection to the runtime."""


class PlainCallerConnection(_Plain, CallerConnection):
    """A caller's connection to crirm."""
