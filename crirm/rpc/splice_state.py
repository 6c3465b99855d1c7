"""What the two halves of a spliced connection share: streams, windows, tables, and how calls end; see ``splice``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from grpclib.const import Status

from crirm.rpc import frames as h2
from crirm.rpc.caller_settings import CallerSettings
from crirm.rpc.caller_window import CallerWindow
from crirm.rpc.grpc_wire import status_trailers
from crirm.rpc.header_blocks import BlockDecoder, literals
from crirm.rpc.spliced_streams import Kept, Passing

if TYPE_CHECKING:
    from crirm.rpc.header_blocks import Headers

    Stream = Passing | Kept

_UNSEEN = "container runtime closed its connection without processing the call"
REMEMBERED = 4096  # kept streams that are over: their caller may still send updates of their windows


class Calls(Protocol):
    """The owner of calls: routes them and learns of their end."""

    def begin(self, stream_id: int, headers: Headers) -> Passing | Kept:
        """Decide about a new call."""

    def answered(self, stream: Passing | Kept, trailers: Headers) -> None:
        """Note that a call got its complete reply, which ends with *trailers*."""

    def broken(self, stream: Passing | Kept, status: int, message: str) -> None:
        """Note that a call ended without a reply."""


class SpliceState:
    """The state of the two connections, and actions on their streams.

    Args:
        calls: decides about calls.
    """

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.to_caller: list[bytes] = []
        self.to_runtime: list[bytes] = []
        self.streams: dict[int, Stream] = {}
        self.now_s = 0.0  # monotonic time of the bytes that are being looked at
        self.greeted = False  # the caller has got settings, which have to come first (RFC 9113 section 3.4)
        self.acknowledges_ours = False  # the caller's next acknowledgement is of settings that the runtime has not sent
        self.leaving = False  # GOAWAY was sent: no new calls
        self.latest = self.latest_passing = 0  # stream numbers
        self.last = h2.LARGEST_STREAM_ID  # beyond which new calls are not processed
        self.settings = CallerSettings()
        self.cut_off: set[int] = set()  # streams of which the runtime may still say something
        self.window = CallerWindow(self.to_caller)
        self.requests, self.replies = BlockDecoder(), BlockDecoder()  # of the caller's and the runtime's blocks
        self._over: dict[int, None] = {}

    # --- what frames and owners do to streams ---------------------------------------------------------------------

    def is_unheard(self, stream_id: int) -> bool:
        """Whether a finished stream was never known to the runtime."""
        return stream_id > self.latest_passing or stream_id in self._over

    def forget(self, stream: Stream) -> None:
        """Note that nothing more of a stream goes to the runtime."""
        del self.streams[stream.stream_id]
        self._over[stream.stream_id] = None
        if len(self._over) > REMEMBERED:
            del self._over[next(iter(self._over))]

    def credit(self, stream_id: int, size_bytes: int) -> None:
        """Give the caller window for *size_bytes* that the runtime does not see."""
        if size_bytes:
            self.window.send_at_once(h2.window_update(stream_id, size_bytes))

    def broken(self, stream: Stream, status: Status, message: str) -> None:
        """Report that a call ended without a reply."""
        if type(stream) is Passing:
            if stream.runtime_ended:
                return
            stream.runtime_ended = True
            if stream.watch is not None:
                stream.watch.broken(status.value, message)
        self.calls.broken(stream, status.value, message)

    def take_for_caller(self) -> bytes:
        """Take what lies here for the caller, behind settings of our own if the runtime has sent none yet."""
        data = b"".join(self.to_caller)
        self.to_caller.clear()
        if data and not self.greeted:
            self.greeted = True
            if data[h2.KIND_AT] != h2.SETTINGS:
                self.acknowledges_ours = True
                return h2.settings({}) + data
        return data

    # --- replies of crirm's own -----------------------------------------------------------------------------------

    def reply_headers(self, stream: Kept, headers: Headers, *, end: bool) -> None:
        """Send headers, or trailers (*end*), of the reply to a kept call."""
        if stream.over:
            return
        stream.waiting.append((b"", headers, end))
        self.pump(stream)

    def reply_data(self, stream: Kept, data: bytes) -> None:
        """Send bytes of the reply to a kept call, as the caller's windows allow."""
        if not stream.over:
            stream.waiting.append((data, None, False))
            stream.waiting_bytes += len(data)
            self.pump(stream)

    def reply_reset(self, stream: Kept, code: int, status: Status, message: str) -> None:
        """End a kept call at once."""
        if not stream.over:
            stream.over = True
            stream.waiting.clear()
            stream.waiting_bytes = 0
            self.window.send(h2.rst_stream(stream.stream_id, code))
            self.forget(stream)
            self.broken(stream, status, message)

    def pump(self, stream: Kept) -> None:
        """Send as much of a reply as the caller's stream window allows."""
        self._pump(stream)
        if stream.sink is not None:
            stream.sink.waits(stream.waiting_bytes)

    def _pump(self, stream: Kept) -> None:
        while stream.waiting:
            piece, headers, end = stream.waiting[0]
            if headers is not None:
                stream.waiting.popleft()
                self._send_headers(stream, headers, end=end)
                if end:
                    stream.over = True
                    self._replied(stream)
                    self.calls.answered(stream, headers)
                continue
            room = min(stream.window_bytes, h2.USUAL_FRAME_BYTES, len(piece))
            if room <= 0 and piece:
                return
            if room == len(piece):
                stream.waiting.popleft()
            else:
                stream.waiting[0] = (piece[room:], None, False)
            stream.window_bytes -= room
            stream.waiting_bytes -= room
            self.window.send(h2.frame(h2.DATA, 0, stream.stream_id, piece[:room]), room)

    def _send_headers(self, stream: Stream, headers: Headers, *, end: bool) -> None:
        block = self.settings.small_table + literals(headers)
        self.window.send(h2.header_frames(stream.stream_id, block, end=end))

    def _replied(self, stream: Stream) -> None:
        if not stream.caller_ended:  # answered before the request was whole: RFC 9113 section 8.1
            self.window.send(h2.rst_stream(stream.stream_id, h2.NO_ERROR))
        self.forget(stream)

    def windows_changed(self, more_bytes: int) -> None:
        """Let all streams have what the caller gives each (RFC 9113 section 6.9.2)."""
        if more_bytes:
            for stream in list(self.streams.values()):
                if type(stream) is Kept:
                    stream.window_bytes += more_bytes
                    self.pump(stream)

    # --- ends -----------------------------------------------------------------------------------------------------

    def cut(self, stream: Stream, status: Status, message: str, *, tell_runtime: bool = True) -> None:
        """End a call with *status*, in any state."""
        if type(stream) is Kept:
            self.reply_headers(stream, status_trailers(status, message, alone=True), end=True)
            return
        if stream.runtime_ended:
            return
        self.broken(stream, status, message)
        if tell_runtime:
            self.to_runtime.append(h2.rst_stream(stream.stream_id, h2.CANCEL))
            self.cut_off.add(stream.stream_id)
        self._send_headers(stream, status_trailers(status, message, alone=not stream.replied), end=True)
        self._replied(stream)

    def leave(self, code: int = h2.NO_ERROR, why: str = "") -> None:
        """Make the caller use another connection for new calls."""
        if not self.leaving:
            self.leaving = True
            self.window.send(h2.goaway(min(self.latest, self.last), code, why.encode("ascii", "replace")))

    def runtime_leaves(self, last: int) -> int:
        """Note that the runtime sees streams up to *last* through, and return up to which the caller may count on.

        Kept calls continue. Passing calls that the runtime has not seen end here if the caller will not retry them.
        """
        told = max((stream.stream_id for stream in self.streams.values() if type(stream) is Kept), default=0)
        told = max(told, last)
        unseen = [each for each in self.streams.values() if type(each) is Passing and each.stream_id > last]
        for stream in unseen:
            if stream.stream_id > told:
                self.broken(stream, Status.UNAVAILABLE, _UNSEEN)
                self.forget(stream)
            else:
                self.cut(stream, Status.UNAVAILABLE, _UNSEEN, tell_runtime=False)
        self.last = min(self.last, told)
        return told

    def runtime_lost(self, message: str) -> None:
        """End the calls at the runtime: its connection is gone."""
        for stream in list(self.streams.values()):
            if type(stream) is Passing:
                self.cut(stream, Status.UNAVAILABLE, message, tell_runtime=False)
        self.leave()

    def caller_lost(self) -> None:
        """Report that the caller is gone, for all calls."""
        streams, self.streams = self.streams, {}
        for stream in streams.values():
            if type(stream) is Passing:
                self.broken(stream, Status.CANCELLED, "caller closed its connection")
            elif type(stream) is Kept and not stream.over:
                stream.over = True
                if stream.sink is not None:
                    stream.sink.cancelled()
                self.calls.broken(stream, Status.CANCELLED.value, "caller closed its connection")

    @property
    def is_idle(self) -> bool:
        """Whether no call is on its way and nothing waits for the caller's window."""
        return not self.window.waits and all(stream.over for stream in self.streams.values())
