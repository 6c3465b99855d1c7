"""Frames from the runtime of a spliced connection; the rules are in ``splice``.

Each handler returns what to send to the caller in place of the frame: None for the frame itself, b"" for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from grpclib.const import Status

from crirm.rpc import frames as h2
from crirm.rpc.floods import Allowances, Kind
from crirm.rpc.frame_reader import FrameReader
from crirm.rpc.frames import HEAD_BYTES, FrameError
from crirm.rpc.header_blocks import BlockDecoder
from crirm.rpc.spliced_streams import Kept, Passing

if TYPE_CHECKING:
    from collections.abc import Generator

    from crirm.rpc.header_blocks import Headers
    from crirm.rpc.splice_state import SpliceState

_SMALL_PIECE_BYTES: Final = 1 << 10


class RuntimeFrames:
    """Handles the frames of the runtime.

    Args:
        splice: of which this is the other half.
    """

    def __init__(self, splice: SpliceState) -> None:
        self.reader = FrameReader()
        self.greeted = False  # it has sent its settings, which an HTTP/2 server does first
        self._acknowledged = 0  # settings of the caller, among these frames
        self._splice = splice
        self._allowances = Allowances()
        self._handlers = (
            self._data, self._headers, self._dropped, self._reset, self._settings,
            self._push, self._ping, self._goaway, self._update, self._continuation, self._dropped,
        )  # fmt: skip

    def work(self) -> None:
        """Handle the next frames.

        Raises:
            FrameError, HPACKError: they are invalid.
        """
        window = self._splice.window
        window.busy = True
        try:
            self.reader.work(self._handlers, self._splice.to_caller)
        finally:
            if self.reader.block is None:
                window.free()
        for _ in range(self._acknowledged):  # now that the caller gets that before anything that keeps to it
            self._splice.windows_changed(self._splice.settings.acknowledged())
        self._acknowledged = 0

    def _count(self, kind: Kind) -> None:
        """Count a frame that does not advance a call."""
        if not self._allowances.spend(kind, self._splice.now_s):
            raise FrameError(h2.ENHANCE_YOUR_CALM, f"too many {kind.called}")

    def _is_ours(self, stream_id: int, stream: Passing | Kept | None) -> bool:
        """Whether frames of a stream are not for the caller: crirm answers it, or has ended it."""
        return type(stream) is Kept or (stream is None and stream_id in self._splice.cut_off)

    def _dropped(self, *_: object) -> bytes | None:
        self._count(Kind.IDLE)
        return b""

    def _in_turn(self, data: bytes, at: int, end: int, size_bytes: int = 0) -> bytes | None:
        """Have a frame go on, behind others that wait for the caller's window."""
        window = self._splice.window
        if window.passes(size_bytes):
            return None
        window.wait(data[at - HEAD_BYTES : end], size_bytes)
        return b""

    # --- header blocks --------------------------------------------------------------------------------------------

    def _headers(self, stream_id: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        piece = data[at:end]
        if flags & (h2.PADDED | h2.WITH_PRIORITY):
            piece = h2.content(h2.HEADERS, flags, piece)
        if not self.greeted:
            raise FrameError(h2.PROTOCOL_ERROR, "first frame is not SETTINGS")
        if not flags & h2.END_HEADERS:
            self.reader.begin_block(stream_id, flags, piece)
            return self._in_turn(data, at, end)
        stream = self._splice.streams.get(stream_id)
        if (
            self._is_ours(stream_id, stream)
            and BlockDecoder.is_short(piece)
            and not self._splice.replies.changes(piece)
        ):
            return b""  # of a call that crirm has ended
        verdict = self._in_turn(data, at, end)
        self._block(stream_id, flags, piece)
        return verdict

    def _continuation(self, stream_id: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        if end - at < _SMALL_PIECE_BYTES and not flags & h2.END_HEADERS:
            self._count(Kind.IDLE)
        self.reader.go_on_with_block(stream_id, data[at:end])
        if flags & h2.END_HEADERS:
            self._block(stream_id, self.reader.flags, self.reader.end_block())
        return self._in_turn(data, at, end)

    def _block(self, stream_id: int, flags: int, block: bytes) -> None:
        ended = bool(flags & h2.END_STREAM)
        if BlockDecoder.is_short(block):
            self._reply(stream_id, self._splice.replies.decode(block), ended=ended)
        else:
            self.reader.steps = self._reply_slowly(stream_id, block, ended=ended)

    def _reply_slowly(self, stream_id: int, block: bytes, *, ended: bool) -> Generator[None, None, None]:
        headers = yield from self._splice.replies.decoding(block)
        self._reply(stream_id, headers, ended=ended)

    def _reply(self, stream_id: int, headers: Headers, *, ended: bool) -> None:
        stream = self._splice.streams.get(stream_id)
        if type(stream) is not Passing:
            return
        if not ended:
            stream.replied = True
            if stream.watch is not None:
                stream.watch.reply_headers(headers)
            return
        if stream.caller_ended:
            del self._splice.streams[stream_id]
        stream.runtime_ended = True
        if stream.watch is not None:
            stream.watch.answered(headers)
        self._splice.calls.answered(stream, headers)

    # --- what calls consist of ------------------------------------------------------------------------------------

    def _data(self, stream_id: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        stream = self._splice.streams.get(stream_id)
        if self._is_ours(stream_id, stream):  # the caller does not see these bytes
            self._splice.to_runtime.append(h2.window_update(0, end - at) if end > at else b"")
            return b""
        if end == at and not flags & h2.END_STREAM:
            self._count(Kind.IDLE)
        if type(stream) is Passing:
            if stream.watch is not None:
                stream.watch.reply(h2.content(h2.DATA, flags, data[at:end]))
            if flags & h2.END_STREAM:
                self._splice.broken(stream, Status.UNKNOWN, "runtime ended its reply without a status")
                if stream.caller_ended:
                    del self._splice.streams[stream_id]
        return self._in_turn(data, at, end, end - at)

    def _reset(self, stream_id: int, _flags: int, data: bytes, at: int, end: int) -> bytes | None:
        code = h2.number_in(data[at:end])
        self._count(Kind.RESET)
        stream = self._splice.streams.get(stream_id)
        if self._is_ours(stream_id, stream):
            return b""
        if stream is not None:
            del self._splice.streams[stream_id]
            self._splice.broken(stream, Status.UNAVAILABLE, f"runtime reset the stream (HTTP/2 error {code})")
        return self._in_turn(data, at, end)

    def _update(self, stream_id: int, _flags: int, _data: bytes, _at: int, _end: int) -> bytes | None:
        return b"" if self._is_ours(stream_id, self._splice.streams.get(stream_id)) else None

    # --- the connection -------------------------------------------------------------------------------------------

    def _settings(self, _stream_id: int, flags: int, data: bytes, at: int, end: int) -> bytes | None:
        self._count(Kind.SETTINGS)
        self.greeted = True
        if flags & h2.ACK:
            self._acknowledged += 1
            return self._in_turn(data, at, end)  # what waits does not keep to it
        settings = h2.settings_in(data[at:end])
        for setting, value in settings:
            if setting == h2.HEADER_TABLE_SIZE:
                self._splice.requests.allow_table(value)
        return h2.with_usual_frames(settings)

    def _ping(self, *_: object) -> bytes | None:
        self._count(Kind.PING)
        return None

    def _goaway(self, _stream_id: int, _flags: int, data: bytes, at: int, end: int) -> bytes | None:
        """Pass GOAWAY, adjusted to cover kept calls, which the runtime does not know."""
        told = self._splice.runtime_leaves(h2.number_in(data[at : at + 4]) & h2.LARGEST_STREAM_ID)
        frame = h2.goaway_at_least(data[at:end], told)
        window = self._splice.window
        if window.passes(0):
            return frame
        window.wait(frame)
        return b""

    def _push(self, *_: object) -> bytes | None:
        raise FrameError(h2.PROTOCOL_ERROR, "server sent PUSH_PROMISE, which gRPC does not use")
