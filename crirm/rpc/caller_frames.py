"""Frames from the caller of a spliced connection; the rules are in ``splice``.

Each handler returns what to send to the runtime in place of the frame: None for the frame itself, b"" for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grpclib.const import Status

from crirm.rpc import frames as h2
from crirm.rpc.floods import Allowances, Kind
from crirm.rpc.frame_reader import FrameReader
from crirm.rpc.frames import FrameError
from crirm.rpc.header_blocks import NO_TABLE, BlockDecoder
from crirm.rpc.spliced_streams import Kept, Passing

if TYPE_CHECKING:
    from collections.abc import Generator

    from crirm.rpc.header_blocks import Headers
    from crirm.rpc.splice_state import SpliceState

_PING_BYTES: Final = 8  # RFC 9113 section 6.7
_SMALL_PIECE_BYTES: Final = 1 << 10  # of a header block; whoever sends it in such pieces means no good


class CallerFrames:
    """Handles the frames of the caller.

    Args:
        splice: the connection of which this is one half.
    """

    def __init__(self, splice: SpliceState) -> None:
        self.reader = FrameReader()
        self.reads = True  # otherwise crirm's replies pile up
        self._splice = splice
        self._allowances = Allowances()
        self._preface_bytes = len(h2.PREFACE)  # still expected
        self._first = NO_TABLE  # prefix of the first block for the runtime
        self._handlers = (
            self._data, self._headers, self._dropped, self._reset, self._settings,
            self._push, self._ping, self._goaway, self._update, self._continuation, self._dropped,
        )  # fmt: skip

    def work(self) -> None:
        """Handle the next frames.

        Raises:
            FrameError, HPACKError: they are invalid.
        """
        if self._preface_bytes:
            self._take_preface()
        self.reader.work(self._handlers, self._splice.to_runtime)

    def _take_preface(self) -> None:
        reader, begin = self.reader, len(h2.PREFACE) - self._preface_bytes
        data = reader.data[reader.at : reader.at + self._preface_bytes]
        if data != h2.PREFACE[begin : begin + len(data)]:
            raise FrameError(h2.PROTOCOL_ERROR, "invalid HTTP/2 preface")
        self._splice.to_runtime.append(data)
        reader.at += len(data)
        self._preface_bytes -= len(data)

    def _count(self, kind: Kind) -> None:
        """Count a frame that does not advance a call."""
        within = self._allowances.spend(kind, self._splice.now_s)
        if not self.reads:
            within = self._allowances.spend(Kind.UNREAD, self._splice.now_s) and within
        if not within:
            raise FrameError(h2.ENHANCE_YOUR_CALM, f"too many {kind.called}")

    # --- header blocks --------------------------------------------------------------------------------------------

    def _headers(self, stream_id: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        if not stream_id & 1:
            raise FrameError(h2.PROTOCOL_ERROR, f"client opened the server's stream {stream_id}")
        if not self.reads:
            self._count(Kind.UNREAD)
        piece = data[at:end]
        if flags & (h2.PADDED | h2.WITH_PRIORITY):
            piece = h2.content(h2.HEADERS, flags, piece)
        if flags & h2.END_HEADERS:
            return self._block(stream_id, flags, piece)
        self.reader.begin_block(stream_id, flags, piece)
        return b""

    def _continuation(self, stream_id: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        if end - at < _SMALL_PIECE_BYTES and not flags & h2.END_HEADERS:
            self._count(Kind.IDLE)
        self.reader.go_on_with_block(stream_id, data[at:end])
        if not flags & h2.END_HEADERS:
            return b""
        return self._block(stream_id, self.reader.flags, self.reader.end_block())

    def _block(self, stream_id: int, flags: int, block: bytes) -> bytes:
        ended = bool(flags & h2.END_STREAM)
        if BlockDecoder.is_short(block):
            return self._begin(stream_id, self._splice.requests.decode(block), ended=ended)
        self.reader.steps = self._begin_slowly(stream_id, block, ended=ended)
        return b""

    def _begin_slowly(self, stream_id: int, block: bytes, *, ended: bool) -> Generator[None, None, None]:
        headers = yield from self._splice.requests.decoding(block)
        self._splice.to_runtime.append(self._begin(stream_id, headers, ended=ended))

    def _begin(self, stream_id: int, headers: Headers, *, ended: bool) -> bytes:
        """Begin a call and return what to send to the runtime."""
        splice = self._splice
        stream = splice.streams.get(stream_id)
        if stream is not None:  # trailers of a request; gRPC defines none, so their content is dropped
            return self._trailers(stream) if ended else b""
        if stream_id <= splice.latest or stream_id > splice.last or splice.leaving:
            return b""
        splice.latest = stream_id
        stream = splice.streams[stream_id] = splice.calls.begin(stream_id, headers)
        stream.caller_ended = ended
        if type(stream) is Passing:
            splice.latest_passing = stream_id
            block, self._first = self._first + stream.block, b""
            return h2.header_frames(stream_id, block, end=ended)
        self._begin_kept(stream)
        return b""

    def _begin_kept(self, stream: Kept) -> None:
        stream.window_bytes = self._splice.settings.stream_window_bytes
        if stream.refusal is not None:
            self._splice.reply_headers(stream, stream.refusal, end=True)
        elif stream.sink is not None:
            stream.sink.begun()
            if stream.caller_ended and not stream.over:
                stream.sink.ended()

    def _trailers(self, stream: Passing | Kept) -> bytes:
        if self._data(stream.stream_id, h2.END_STREAM, b"", 0, 0) is None:
            return h2.frame(h2.DATA, h2.END_STREAM, stream.stream_id)
        return b""

    # --- what calls consist of ------------------------------------------------------------------------------------

    def _data(self, stream_id: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        stream = self._splice.streams.get(stream_id)
        if type(stream) is Passing:
            if stream.watch is not None and end > at:
                stream.watch.request(h2.content(h2.DATA, flags, data[at:end]))
            if flags & h2.END_STREAM:
                stream.caller_ended = True
                if stream.runtime_ended:
                    del self._splice.streams[stream_id]
            elif end == at:
                self._count(Kind.IDLE)
            return None
        if type(stream) is Kept:
            self._kept_data(stream, flags, data[at:end])
            return b""
        self._count(Kind.IDLE)
        if not self._splice.is_unheard(stream_id):
            return None  # of a finished call; the runtime accounts for its window
        self._splice.credit(0, end - at)
        return b""

    def _kept_data(self, stream: Kept, flags: int, payload: bytes) -> None:
        ended = bool(flags & h2.END_STREAM)
        self._splice.credit(0, len(payload))
        if not ended:
            self._splice.credit(stream.stream_id, len(payload))
            if not payload:
                self._count(Kind.IDLE)
        stream.caller_ended = ended
        if stream.sink is not None:
            if piece := h2.content(h2.DATA, flags, payload):
                stream.sink.data(piece)
            if ended and not stream.over:
                stream.sink.ended()

    def _reset(self, stream_id: int, _flags: int, data: bytes, at: int, end: int) -> bytes | None:
        h2.number_in(data[at:end])
        self._count(Kind.RESET)
        splice = self._splice
        stream = splice.streams.get(stream_id)
        if stream is None:
            return b"" if splice.is_unheard(stream_id) else None
        if type(stream) is Passing:
            del splice.streams[stream_id]
            splice.broken(stream, Status.CANCELLED, "caller cancelled the call")
            return None
        if type(stream) is Kept:
            self._kept_reset(stream)
        return b""

    def _kept_reset(self, stream: Kept) -> None:
        stream.over = True
        self._splice.forget(stream)
        if stream.sink is not None:
            stream.sink.cancelled()
        self._splice.broken(stream, Status.CANCELLED, "caller cancelled the call")

    def _update(self, stream_id: int, _flags: int, data: bytes, at: int, end: int) -> bytes | None:
        splice, size_bytes = self._splice, h2.number_in(data[at:end]) & h2.LARGEST_WINDOW_BYTES
        if not stream_id:
            rest_bytes = splice.window.opened(size_bytes)
            return None if rest_bytes == size_bytes else h2.window_update(0, rest_bytes) if rest_bytes else b""
        stream = splice.streams.get(stream_id)
        if type(stream) is Passing:
            return None
        if type(stream) is Kept:
            stream.window_bytes += size_bytes
            splice.pump(stream)
            return b""
        self._count(Kind.IDLE)
        return b"" if splice.is_unheard(stream_id) else None

    # --- the connection -------------------------------------------------------------------------------------------

    def _settings(self, _stream_id: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        self._count(Kind.SETTINGS)
        if flags & h2.ACK:
            ours, self._splice.acknowledges_ours = self._splice.acknowledges_ours, False
            return b"" if ours else None
        settings = h2.settings_in(data[at:end])
        for setting, value in settings:
            if setting == h2.HEADER_TABLE_SIZE:
                self._splice.replies.allow_table(value)
        self._splice.windows_changed(self._splice.settings.said(settings))
        return h2.with_usual_frames(settings)

    def _ping(self, _stream_id: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        """Answer it here: a caller measures with pings when it gets a reply, of which a runtime may know nothing.

        grpc-go, and so containerd, closes a connection after three pings with no frame of a reply between them
        (`too_many_pings`, keepalive.EnforcementPolicy).
        """
        self._count(Kind.PING)
        if end - at != _PING_BYTES:
            raise FrameError(h2.FRAME_SIZE_ERROR, f"a ping of {end - at} bytes")
        if flags & h2.ACK:
            return None
        self._splice.window.send_at_once(h2.frame(h2.PING, h2.ACK, 0, data[at:end]))
        return b""

    def _dropped(self, *_: object) -> bytes | None:
        self._count(Kind.IDLE)
        return b""

    def _goaway(self, *_: object) -> bytes | None:
        return None

    def _push(self, *_: object) -> bytes | None:
        raise FrameError(h2.PROTOCOL_ERROR, "client sent PUSH_PROMISE")
