"""h2's connection with less work per frame; h2 stays the judge of what a frame means and whether it is allowed.

A relayed call is eight to ten small frames, and most of what it costs is what happens around each: hyperframe makes an
object with a set of flags, h2 looks for headers of kinds that gRPC does not have, and joins and checks what it sends.
Here the frames that gRPC is made of, whole and without padding or priority, take a short way; every other frame, and
every broken one, takes h2's own. Stream states, flow control, settings and errors are h2's in either case.

What is left out, and why that is safe here:

* Sent headers are not encoded (they are bytes) nor searched for a 1xx status or the request method: what is sent was
  received, and interim responses are not handed on.
* ``content-length`` is not compared with the body: it passes, and whoever the message is for may compare.
* Frames are not checked to be shorter than the peer allows: ``Leg`` cuts data, and headers are cut here.

What is stricter or bounded here, because a peer may mean harm or be broken:

* A frame longer than may be is refused by its head; h2 waits for the whole of it, which never comes where noise is read
  as a frame.
* A header block may have as many CONTINUATION frames as the largest header list needs, but no more bytes than that and
  no more frames than its bytes are worth. Long blocks are decoded with pauses. A list that is too long is an event
  (``TooLong`` in the place of its headers) and no fault of the connection: the block was decoded to its end, so that
  the dynamic table stays in step.
* Nothing is pushed. Settings that are not HTTP/2's are not kept.
* Open streams are counted now and then, not for every stream that begins.

This reaches into parts of h2 that may change with any release; ``tests/unit/rpc/test_lean_h2.py`` holds it against h2's
own connection over generated frames.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any

from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import Event, TrailersReceived
from h2.exceptions import DenialOfServiceError, FrameDataMissingError, ProtocolError
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes
from h2.stream import H2Stream, StreamInputs
from h2.utilities import SizeLimitDict
from hyperframe.exceptions import InvalidDataError, InvalidFrameError, InvalidPaddingError
from hyperframe.frame import ContinuationFrame, Frame, HeadersFrame, PushPromiseFrame, SettingsFrame

from crirm.rpc.header_cache import CachingDecoder, CachingEncoder, TooLong

if TYPE_CHECKING:
    from collections.abc import Iterator

    from h2.config import H2Configuration
    from h2.connection import AllowedStreamIDs
    from hpack.hpack import Encoder
    from hpack.struct import Header

# RFC 9113 section 4.1: length (24 bits, here 16 + 8), type, flags, stream.
_HEAD = Struct(">HBBBL")
_HEAD_BYTES = 9
_DATA, _HEADERS, _WINDOW_UPDATE, _CONTINUATION = 0x0, 0x1, 0x8, 0x9
_END_STREAM, _END_HEADERS = 0x1, 0x4
_INCREMENT_BYTES = 4

MAX_HEADER_LIST_BYTES = 16 << 20  # what grpc-go takes unless it is told otherwise, and so kubelet and containerd
MAX_BLOCK_BYTES = 2 * MAX_HEADER_LIST_BYTES  # beyond that the connection ends, as in golang.org/x/net/http2
_FREE_PARTS = 64  # frames of a block whatever is in them, as in h2
_LEAST_PART_BYTES = 1 << 10  # of each frame after these, on average
_CLOSED_STREAMS = 8192  # remembered, for frames that were on their way when they closed
_FEW_STREAMS = 64  # are counted each time
_SETTINGS = frozenset(int(code) for code in SettingCodes)

# Flags as h2 asks for them, by the byte on the wire; a byte that is not here has flags of the long way.
_DATA_FLAGS = {0: frozenset[str](), _END_STREAM: frozenset({"END_STREAM"})}
_HEADERS_FLAGS = {
    _END_HEADERS: frozenset({"END_HEADERS"}),
    _END_HEADERS | _END_STREAM: frozenset({"END_HEADERS", "END_STREAM"}),
}


class _Data:
    """A DATA frame that was received, as far as h2 looks at it."""

    __slots__ = ("data", "flags", "flow_controlled_length", "stream_id")

    def __init__(self, stream_id: int, flags: frozenset[str], data: bytes) -> None:
        self.stream_id = stream_id
        self.flags = flags
        self.data = data
        self.flow_controlled_length = len(data)


class _Headers:
    """A HEADERS frame that was received, likewise."""

    __slots__ = ("data", "flags", "stream_id")

    def __init__(self, stream_id: int, flags: frozenset[str], data: bytes) -> None:
        self.stream_id = stream_id
        self.flags = flags
        self.data = data


class _WindowUpdate:
    """A WINDOW_UPDATE frame that was received, likewise."""

    __slots__ = ("stream_id", "window_increment")

    def __init__(self, stream_id: int, window_increment: int) -> None:
        self.stream_id = stream_id
        self.window_increment = window_increment


class _Ready:
    """A frame to send that is bytes already."""

    __slots__ = ("_wire",)

    def __init__(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        self._wire = _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload

    def serialize(self) -> bytes:
        """Return the frame."""
        return self._wire


class _Buffer(FrameBuffer):
    """Cuts what was received into frames."""

    block_bytes = 0  # of the header block that is not whole yet

    @property
    def unfinished(self) -> bool:
        """Whether the rest of a frame, or of a header block, has still to come."""
        return bool(self._data or self._headers_buffer)

    @property
    def kept_bytes(self) -> int:
        """How many bytes of an unfinished frame are there."""
        return len(self._data)

    def __next__(self) -> Frame:
        while True:
            data = self._data
            if len(data) < _HEAD_BYTES:
                raise StopIteration
            high, low, kind, flags, stream_id = _HEAD.unpack_from(data)
            end = _HEAD_BYTES + (high << 8 | low)
            self._validate_frame_length(end - _HEAD_BYTES)
            if len(data) < end:
                raise StopIteration
            frame: Any = None
            if not self._headers_buffer:
                frame = _usual(kind, flags, stream_id & 0x7FFFFFFF, data, end)
            if frame is None:
                frame = self._update_header_buffer(_unusual(data, end))
            del data[:end]
            if frame is not None:
                return frame  # type: ignore[no-any-return] # looks like one, as far as h2 looks

    def _update_header_buffer(self, frame: Any) -> Any:
        """Return *frame*, the whole header block when it is the last piece of one, or None when more has to come."""
        parts = self._headers_buffer
        if not parts and not (isinstance(frame, (HeadersFrame, PushPromiseFrame)) and "END_HEADERS" not in frame.flags):
            return frame
        if parts and not (isinstance(frame, ContinuationFrame) and frame.stream_id == parts[0].stream_id):
            raise ProtocolError("a header block is interrupted by another frame")
        parts.append(frame)
        self.block_bytes += len(frame.data)
        if self.block_bytes > MAX_BLOCK_BYTES or len(parts) > _FREE_PARTS + self.block_bytes // _LEAST_PART_BYTES:
            raise DenialOfServiceError("a header block is too long, or is sent in too many pieces")
        if "END_HEADERS" not in frame.flags:
            return None
        whole = parts[0]
        whole.flags.add("END_HEADERS")
        whole.data = b"".join(part.data for part in parts)
        self._headers_buffer, self.block_bytes = [], 0
        return whole


def _unusual(data: bytearray, end: int) -> Frame:
    """Return the frame that *data* begins with, up to *end*, as hyperframe reads it."""
    try:
        frame, _ = Frame.parse_frame_header(memoryview(bytes(data[:_HEAD_BYTES])))
    except (InvalidDataError, InvalidFrameError) as error:
        raise ProtocolError(f"a frame with an invalid head ({error})") from error
    try:
        frame.parse_body(memoryview(bytes(data[_HEAD_BYTES:end])))
    except InvalidDataError as error:
        raise ProtocolError("a frame with invalid data") from error
    except InvalidFrameError as error:
        raise FrameDataMissingError("a frame without all of its data") from error
    return frame


def _usual(kind: int, flags: int, stream_id: int, data: bytearray, end: int) -> _Data | _Headers | _WindowUpdate | None:
    """Return the frame that *data* begins with, up to *end*, or None when it is not one of the usual."""
    if kind == _WINDOW_UPDATE:
        increment = int.from_bytes(data[_HEAD_BYTES:end], "big") & 0x7FFFFFFF
        return _WindowUpdate(stream_id, increment) if increment and end == _HEAD_BYTES + _INCREMENT_BYTES else None
    if not stream_id:
        return None
    if kind == _DATA and flags in _DATA_FLAGS:
        return _Data(stream_id, _DATA_FLAGS[flags], bytes(data[_HEAD_BYTES:end]))
    if kind == _HEADERS and flags in _HEADERS_FLAGS:
        return _Headers(stream_id, _HEADERS_FLAGS[flags], bytes(data[_HEAD_BYTES:end]))
    return None


class _Stream(H2Stream):
    """A stream."""

    def send_headers(  # type: ignore[override] # frames and headers are of fewer kinds
        self, headers: list[Header], encoder: Encoder, end_stream: bool = False
    ) -> list[_Ready]:
        """Return the frames that send *headers*."""
        self.state_machine.process_input(StreamInputs.SEND_HEADERS)
        block = encoder.encode(headers)
        flags = 0
        if end_stream:
            self.state_machine.process_input(StreamInputs.SEND_END_STREAM)
            flags = _END_STREAM
        most = self.max_outbound_frame_size or len(block)
        if len(block) <= most:
            return [_Ready(_HEADERS, flags | _END_HEADERS, self.stream_id, block)]
        pieces = [block[start : start + most] for start in range(0, len(block), most)]
        return [
            _Ready(_HEADERS, flags, self.stream_id, pieces[0]),
            *(_Ready(_CONTINUATION, 0, self.stream_id, piece) for piece in pieces[1:-1]),
            _Ready(_CONTINUATION, _END_HEADERS, self.stream_id, pieces[-1]),
        ]

    def send_data(  # type: ignore[override] # likewise
        self,
        data: bytes,
        end_stream: bool = False,
        pad_length: None = None,  # noqa: ARG002 - nothing is padded
    ) -> list[_Ready]:
        """Return the frame that sends *data*; the connection has checked the flow-control window."""
        self.state_machine.process_input(StreamInputs.SEND_DATA)
        if end_stream:
            self.state_machine.process_input(StreamInputs.SEND_END_STREAM)
        self.outbound_flow_control_window -= len(data)
        return [_Ready(_DATA, _END_STREAM if end_stream else 0, self.stream_id, data)]

    def receive_headers(  # type: ignore[override] # the decoder makes lists
        self, headers: list[Header], end_stream: bool, header_encoding: bool | str | None
    ) -> tuple[list[Frame], list[Event]]:
        """Return the events of *headers* that have arrived."""
        name, value = headers[0] if headers else (b"", b"")
        if name == b":status" and value.startswith(b"1"):
            return super().receive_headers(headers, end_stream, header_encoding)
        events = self.state_machine.process_input(StreamInputs.RECV_HEADERS)
        event: Any = events[0]
        event.headers = headers if type(headers) is TooLong else list(headers)  # the decoder may remember its own
        if end_stream:
            ended = self.state_machine.process_input(StreamInputs.RECV_END_STREAM)
            event.stream_ended = ended[0]
            events += ended
        elif type(event) is TrailersReceived:
            raise ProtocolError("trailers that do not end the stream")
        return [], events


class Nothing(Event):
    """Stands for what h2 has no event for."""


PAUSE = Nothing()
"""There is more to do, and others may do something first."""
SILENT = Nothing()
"""A frame has come of which nothing is to be told."""
_WITH_HEADERS = (_Headers, HeadersFrame)


class LeanH2Connection(H2Connection):
    """See the module; used like h2's own, but for ``receive``."""

    def __init__(self, config: H2Configuration) -> None:
        super().__init__(config)
        self.decoder: CachingDecoder = CachingDecoder()
        self.encoder: CachingEncoder = CachingEncoder()
        self._closed_streams = SizeLimitDict(size_limit=_CLOSED_STREAMS)
        self._count_at = 0
        self.incoming_buffer: _Buffer = _Buffer(server=not config.client_side)
        short_ways: dict[Any, Any] = {
            _Data: self._receive_data_frame,
            _Headers: self._receive_headers_frame,
            _WindowUpdate: self._receive_window_update_frame,
        }
        self._frame_dispatch_table |= short_ways

    def receive(self, data: bytes) -> Iterator[Event]:
        """Yield the events of *data*, those of each frame before the next is looked at.

        Raises:
            ProtocolError: as ``receive_data`` does; then the frame that says so is ready to be sent.
        """
        self.incoming_buffer.add_data(data)
        self.incoming_buffer.max_frame_size = self.max_inbound_frame_size
        try:
            for frame in self.incoming_buffer:
                if isinstance(frame, _WITH_HEADERS):
                    for _ in self.decoder.decode_ahead(frame.data):
                        yield PAUSE
                yield from self._receive_frame(frame) or (SILENT,)
        except InvalidPaddingError as error:
            self._terminate_connection(ErrorCodes.PROTOCOL_ERROR)
            raise ProtocolError("invalid padding") from error
        except ProtocolError as error:
            self._terminate_connection(error.error_code)
            raise

    def _receive_push_promise_frame(self, frame: PushPromiseFrame) -> tuple[list[Frame], list[Event]]:
        raise ProtocolError(f"a stream was pushed with stream {frame.stream_id}; gRPC pushes none")

    def _receive_settings_frame(self, frame: SettingsFrame) -> tuple[list[Frame], list[Event]]:
        frame.settings = {key: value for key, value in frame.settings.items() if key in _SETTINGS}
        return super()._receive_settings_frame(frame)

    def _open_streams(self, remainder: int) -> int:
        """Return how many streams are open, or where few have begun since, no less than that."""
        if len(self.streams) < self._count_at:
            return len(self.streams)
        count = super()._open_streams(remainder)
        self._count_at = 2 * len(self.streams) if len(self.streams) > _FEW_STREAMS else 0
        return count

    def _begin_new_stream(self, stream_id: int, allowed_ids: AllowedStreamIDs) -> H2Stream:
        stream = super()._begin_new_stream(stream_id, allowed_ids)
        stream.__class__ = _Stream  # h2 names the class; a stream has no state of its own here
        return stream

    def _prepare_for_sending(self, frames: list[Frame]) -> None:
        for frame in frames:
            self._data_to_send += frame.serialize()
