"""The in-memory grpclib server of one caller: frames of kept calls go in, frames of their replies come out.

A stream has the same number here as on the caller's connection. Windows are the caller's business with the splice, so
here they are as large as can be. Header lists of replies do not travel through h2, whose encoder takes quadratic time
for the megabytes that an error message may have: a number does, and stands for the list.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.protocol import AbstractHandler, H2Protocol
from hpack import Decoder

from crirm.rpc import bridge
from crirm.rpc import frames as h2
from crirm.rpc.header_blocks import literals
from crirm.rpc.http2 import h2_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from grpclib.protocol import Stream

    from crirm.rpc.header_blocks import Headers
    from crirm.rpc.splice_state import SpliceState
    from crirm.rpc.spliced_streams import Kept

    Accepted = Callable[[Stream, Callable[[], None]], None]

MOST_CALLS: Final = 100  # h2's limit of streams; a caller with more calls gets another server
_CONFIG: Final = Configuration(
    http2_connection_window_size=h2.LARGEST_WINDOW_BYTES, http2_stream_window_size=h2.LARGEST_WINDOW_BYTES
).__for_server__()
_GREETING: Final = b"".join((
    h2.PREFACE,
    h2.settings({h2.HEADER_TABLE_SIZE: 0, h2.INITIAL_WINDOW_SIZE: h2.LARGEST_WINDOW_BYTES}),
    h2.window_update(0, h2.LARGEST_WINDOW_BYTES - h2.USUAL_WINDOW_BYTES),
    h2.frame(h2.SETTINGS, h2.ACK, 0),
    h2.frame(h2.SETTINGS, h2.ACK, 0),
))  # fmt: skip
_WINDOW_STEP_BYTES: Final = 1 << 20
_PART: Final = b"crirm-part"  # the header whose value is the number of a header list


class MemoryServer:
    """Serves up to `MOST_CALLS` calls of one caller at once.

    Args:
        splice: the caller's connection; gets the replies.
        replied: called when there are new frames.
    """

    def __init__(self, splice: SpliceState, replied: Callable[[], None]) -> None:
        self.calls: dict[int, Kept] = {}
        self._splice = splice
        self._replied = replied
        self._parts: list[Headers] = []  # of the frame that is being sent
        self._decoder = Decoder()
        self._sent_bytes = 0
        self._protocol = H2Protocol(_Handler(self), _CONFIG, h2_config(client_side=False))
        self._protocol.connection_made(_Transport(self._written))
        self._protocol.data_received(_GREETING)

    # --- of the caller --------------------------------------------------------------------------------------------

    def begin(self, call: Kept, accepted: Accepted) -> None:
        """Begin *call*; *accepted* is called with grpclib's stream."""
        self.calls[call.stream_id] = call
        self.accepted = accepted
        block = literals([(b":method", b"POST"), (b":scheme", b"http"), (b":path", call.path)])
        self._protocol.data_received(h2.header_frames(call.stream_id, block, end=False))

    def data(self, call: Kept, piece: bytes) -> None:
        """Pass on bytes of its request."""
        pieces = (piece[at : at + h2.USUAL_FRAME_BYTES] for at in range(0, len(piece), h2.USUAL_FRAME_BYTES))
        self._protocol.data_received(b"".join(h2.frame(h2.DATA, 0, call.stream_id, each) for each in pieces))

    def ended(self, call: Kept) -> None:
        """Pass on the end of its request."""
        self._protocol.data_received(h2.frame(h2.DATA, h2.END_STREAM, call.stream_id))

    def cancelled(self, call: Kept) -> None:
        """Pass on that the caller no longer waits."""
        self.calls.pop(call.stream_id, None)
        self._protocol.data_received(h2.rst_stream(call.stream_id, h2.CANCEL))

    def reset(self, call: Kept, status: Status, why: str) -> None:
        """Drop the unsent part of its reply; grpclib, which may be sending it, is notified later."""
        self._splice.reply_reset(call, h2.ENHANCE_YOUR_CALM, status, why)
        bridge.loop().call_soon(self.cancelled, call)

    def close(self) -> None:
        """End."""
        self._protocol.connection_lost(None)

    # --- of the handler -------------------------------------------------------------------------------------------

    async def send_headers(self, stream: Stream, headers: Headers, *, end: bool) -> None:
        """Send headers or trailers of a reply; never waits."""
        self._parts.append(headers)
        part: Any = [(_PART, b"%d" % (len(self._parts) - 1))]
        try:
            await stream.send_headers(part, end_stream=end)
        finally:
            self._parts.clear()

    def _written(self, data: bytes) -> None:
        """Take frames that grpclib sends."""
        at = 0
        while at < len(data):
            high, low, kind, flags, stream_id = h2.HEAD.unpack_from(data, at)
            begin = at + h2.HEAD_BYTES
            at = begin + (high << 8 | low)
            call = self.calls.get(stream_id)
            if call is not None:
                self._reply(call, kind, flags, data[begin:at])
        self._replied()

    def _reply(self, call: Kept, kind: int, flags: int, payload: bytes) -> None:
        if flags & h2.END_STREAM and kind in {h2.DATA, h2.HEADERS}:
            self.calls.pop(call.stream_id, None)
        if kind == h2.HEADERS:
            self._splice.reply_headers(call, self._part_in(payload), end=bool(flags & h2.END_STREAM))
        elif kind == h2.DATA:
            self._splice.reply_data(call, payload)
            self._sent_bytes += len(payload)
            if self._sent_bytes > _WINDOW_STEP_BYTES:  # the connection window here is never exhausted
                sent_bytes, self._sent_bytes = self._sent_bytes, 0
                self._protocol.data_received(h2.window_update(0, sent_bytes))
        elif kind == h2.RST_STREAM:
            self.calls.pop(call.stream_id, None)
            code = h2.number_in(payload)
            self._splice.reply_reset(call, code, Status.UNAVAILABLE, f"runtime reset the stream (HTTP/2 error {code})")

    def _part_in(self, block: bytes) -> Headers:
        headers: Iterable[Any] = self._decoder.decode(block, raw=True)
        return next(self._parts[int(value)] for name, value in headers if name == _PART)


class _Handler(AbstractHandler):
    """grpclib's events of streams."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server

    def accept(self, stream: Stream, headers: object, release_stream: Callable[[], None]) -> None:  # noqa: ARG002
        self._server.accepted(stream, release_stream)

    def cancel(self, stream: Stream) -> None:
        """Nothing: the caller has cancelled the call itself."""

    def close(self) -> None:
        pass


class _Transport(bridge.Transport):
    """What grpclib writes to."""

    def __init__(self, written: Callable[[bytes], None]) -> None:
        super().__init__()
        self._written = written
        self._closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._written(bytes(data))

    def is_closing(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
