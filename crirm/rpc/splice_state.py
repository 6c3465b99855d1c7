"""What the two halves of a spliced connection share: streams, windows, tables, and how calls end; see ``splice``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from grpclib.const import Status

from crirm.rpc import frames as h2
from crirm.rpc.caller_window import CallerWindow
from crirm.rpc.grpc_wire import status_trailers
from crirm.rpc.header_blocks import BlockDecoder, literals
from crirm.rpc.spliced_streams import Kept, Passing

if TYPE_CHECKING:
    from crirm.rpc.header_blocks import Headers

    Stream = Passing | Kept

REMEMBERED = 4096  # kept streams that are over: their caller may still send updates of their windows


class Calls(Protocol):
    """Whoever decides about calls and hears of their end."""

    def begin(self, stream_id: int, headers: Headers) -> Passing | Kept:
        """Decide about a new call."""

    def answered(self, stream: Passing | Kept, trailers: Headers) -> None:
        """Hear that a call has got all of its reply, which ends with *trailers*."""

    def broken(self, stream: Passing | Kept, status: int, message: str) -> None:
        """Hear that a call has ended without one."""


class SpliceState:
    """What is known of the two connections, and what is done to their streams.

    Args:
        calls: decides about calls.
    """

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.to_caller: list[bytes] = []
        self.to_runtime: list[bytes] = []
        self.streams: dict[int, Stream] = {}
        self.now_s = 0.0  # monotonic time of the bytes that are being looked at
        self.leaving = False  # GOAWAY was sent: no new calls
        self.latest = self.latest_passing = 0  # stream numbers
        self.stream_window_bytes = h2.USUAL_WINDOW_BYTES  # that the caller gives each stream
        self.small_table = b""  # what blocks of ours begin with where the caller wants a small table
        self.window = CallerWindow(self.to_caller)
        self.requests, self.replies = BlockDecoder(), BlockDecoder()  # of the caller's and the runtime's blocks
        self._over: dict[int, None] = {}

    # --- what frames and owners do to streams ---------------------------------------------------------------------

    def is_unheard(self, stream_id: int) -> bool:
        """Tell whether the runtime has never heard of a stream that is over."""
        return stream_id > self.latest_passing or stream_id in self._over

    def forget(self, stream: Kept) -> None:
        """Take note that a kept stream has ended on both sides."""
        del self.streams[stream.stream_id]
        self._over[stream.stream_id] = None
        if len(self._over) > REMEMBERED:
            del self._over[next(iter(self._over))]

    def credit(self, stream_id: int, size_bytes: int) -> None:
        """Let the caller send *size_bytes* more that the runtime will not see."""
        if size_bytes:
            self.window.send_at_once(h2.window_update(stream_id, size_bytes))

    def broken(self, stream: Stream, status: Status, message: str) -> None:
        """Tell everybody that a call has ended without a reply."""
        if type(stream) is Passing:
            if stream.runtime_ended:
                return
            stream.runtime_ended = True
            if stream.watch is not None:
                stream.watch.broken(status.value, message)
        self.calls.broken(stream, status.value, message)

    # --- replies of crirm's own -----------------------------------------------------------------------------------

    def reply_headers(self, stream: Kept, headers: Headers, *, end: bool) -> None:
        """Send headers, or trailers (*end*), of the reply to a kept call."""
        if stream.over:
            return
        frames = h2.header_frames(stream.stream_id, self.small_table + literals(headers), end=end)
        stream.waiting.append((frames, True, end))
        if end:
            self.calls.answered(stream, headers)
        self.pump(stream)

    def reply_data(self, stream: Kept, data: bytes) -> None:
        """Send bytes of the reply to a kept call, as the caller's windows allow."""
        if not stream.over:
            stream.waiting.append((data, False, False))
            self.pump(stream)

    def reply_reset(self, stream: Kept, code: int) -> None:
        """End a kept call at once, as the runtime has done."""
        if not stream.over:
            stream.over = True
            stream.waiting.clear()
            self.window.send(h2.rst_stream(stream.stream_id, code))
            self.forget(stream)

    def pump(self, stream: Kept) -> None:
        """Send as much of a reply as the caller takes on its stream."""
        while stream.waiting:
            piece, is_whole, end = stream.waiting[0]
            if is_whole:
                stream.waiting.popleft()
                self.window.send(piece)
                if end:
                    self._replied(stream)
                continue
            room = min(stream.window_bytes, h2.USUAL_FRAME_BYTES, len(piece))
            if room <= 0 and piece:
                return
            if room == len(piece):
                stream.waiting.popleft()
            else:
                stream.waiting[0] = (piece[room:], False, False)
            stream.window_bytes -= room
            self.window.send(h2.frame(h2.DATA, 0, stream.stream_id, piece[:room]), room)

    def _replied(self, stream: Kept) -> None:
        stream.over = True
        if stream.caller_ended:
            self.forget(stream)
        else:  # answered before the request was whole: RFC 9113 section 8.1
            self.window.send(h2.rst_stream(stream.stream_id, h2.NO_ERROR))

    # --- ends -----------------------------------------------------------------------------------------------------

    def cut(self, stream: Stream, status: Status, message: str, *, tell_runtime: bool = True) -> None:
        """End a call with *status*, wherever it is."""
        if type(stream) is Kept:
            self.reply_headers(stream, status_trailers(status, message, alone=True), end=True)
            return
        if stream.runtime_ended:
            return
        self.broken(stream, status, message)
        if tell_runtime:
            self.to_runtime.append(h2.rst_stream(stream.stream_id, h2.CANCEL))
        rest = Kept(stream.stream_id, stream.path, None)  # what still comes of it does not go on
        rest.caller_ended, rest.cut = stream.caller_ended, True
        self.streams[stream.stream_id] = rest
        trailers = literals(status_trailers(status, message, alone=not stream.replied))
        self.window.send(h2.header_frames(stream.stream_id, self.small_table + trailers, end=True))
        self._replied(rest)

    def leave(self, code: int = h2.NO_ERROR, why: str = "") -> None:
        """Have the caller make its next calls on another connection."""
        if not self.leaving:
            self.leaving = True
            self.window.send(h2.goaway(self.latest, code, why.encode("ascii", "replace")))

    def runtime_lost(self, message: str) -> None:
        """End what has passed to the runtime: its connection is gone."""
        self.window.in_block = False
        for stream in list(self.streams.values()):
            if type(stream) is Passing:
                self.cut(stream, Status.UNAVAILABLE, message, tell_runtime=False)
        self.leave()

    def caller_lost(self) -> None:
        """Tell everybody that nobody waits any more."""
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            if type(stream) is Passing:
                self.broken(stream, Status.CANCELLED, "the caller closed its connection")
            elif type(stream) is Kept and not stream.over:
                stream.over = True
                if stream.sink is not None:
                    stream.sink.cancelled()
                self.calls.broken(stream, Status.CANCELLED.value, "the caller closed its connection")

    @property
    def is_idle(self) -> bool:
        """Whether no call is on its way and nothing waits for the caller's window."""
        return not self.window.waits and all(stream.over for stream in self.streams.values())
