"""HTTP/2 as far as a caller and a runtime that cost next to nothing need it.

What they cost is in every figure, so frames are taken apart by hand, and header blocks that leave the table as it is
are decoded and encoded once. Nothing here is shared with crirm, and nothing here checks what the other side does.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs
import hpack

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, PADDED, PRIORITY = 0x1, 0x4, 0x8, 0x20
ACK: Final = 0x1
PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_HEAD: Final = struct.Struct(">HBBBL")
_SETTING: Final = struct.Struct(">HL")
_HEADER_TABLE_SIZE, _INITIAL_WINDOW_SIZE = 1, 4
_USUAL_WINDOW: Final = 65535
_LARGE_WINDOW: Final = 1 << 30
_FRAME_BYTES: Final = 16384
_REMEMBERED: Final = 1000  # blocks; a relay that writes another grpc-timeout each time has no more use for them
_MESSAGE_HEAD_BYTES: Final = 5
_OF_STREAMS: Final = frozenset((DATA, HEADERS, CONTINUATION))

Headers = tuple[tuple[str, str], ...]


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return one frame."""
    length = len(payload)
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream) + payload


def message(body: bytes) -> bytes:
    """Return *body* as gRPC sends it, uncompressed."""
    return b"\0" + len(body).to_bytes(4, "big") + body


def body(data: bytes) -> bytes:
    """Return the message that *data* holds, without its head."""
    return data[_MESSAGE_HEAD_BYTES:]


@attrs.define
class HeaderMemory:
    """Both header tables of a connection, and what blocks mean and lists become while these stay as they are."""

    _decoder: hpack.Decoder = attrs.field(factory=lambda: hpack.Decoder(max_header_list_size=1 << 24))
    _encoder: hpack.Encoder = attrs.field(factory=hpack.Encoder)
    _decoded: dict[bytes, dict[str, str]] = attrs.field(factory=dict)
    _encoded: dict[Headers, bytes] = attrs.field(factory=dict)

    def decode(self, block: bytes) -> dict[str, str]:
        """Return the headers that *block* stands for."""
        if (known := self._decoded.get(block)) is not None:
            return known
        before = tuple(self._decoder.header_table.dynamic_entries)
        headers = {str(name): str(value) for name, value in self._decoder.decode(block)}
        if before != tuple(self._decoder.header_table.dynamic_entries) or len(self._decoded) >= _REMEMBERED:
            self._decoded.clear()
        else:
            self._decoded[block] = headers
        return headers

    def encode(self, headers: Headers) -> bytes:
        """Return the block for *headers*."""
        if (known := self._encoded.get(headers)) is not None:
            return known
        before = tuple(self._encoder.header_table.dynamic_entries)
        block = bytes(self._encoder.encode(headers))
        if before != tuple(self._encoder.header_table.dynamic_entries):
            self._encoded.clear()
        else:
            self._encoded[headers] = block
        return block

    def limit(self, table_bytes: int) -> None:
        """Heed the size of header table that the other side allows."""
        if table_bytes < self._encoder.header_table_size:
            self._encoder.header_table_size = table_bytes
            self._encoded.clear()


@attrs.define
class _Sending:
    """What a stream still has to send."""

    stream: int
    data: memoryview
    tail: bytes  # frames that follow


class Connection:
    """One side's state: frames come in as they are told, and what is to be sent gathers in `out`."""

    def __init__(self, *, client: bool) -> None:
        self.headers = HeaderMemory()
        settings = _SETTING.pack(_INITIAL_WINDOW_SIZE, _LARGE_WINDOW)
        self.out = bytearray(PREFACE if client else b"") + frame(SETTINGS, 0, 0, settings)
        self._give_back(_LARGE_WINDOW)
        self._in = bytearray()
        self._skip = 0 if client else len(PREFACE)
        self._block = b""
        self._received = 0
        self._window = self._initial = _USUAL_WINDOW
        self._more: dict[int, int] = {}
        self._sending: deque[_Sending] = deque()

    def feed(self, data: bytes) -> Iterator[tuple[int, bool, int, bytes]]:
        """Yield what concerns streams: kind of frame, whether the stream ends, stream, and whole block or data."""
        self._in += data
        at, end = self._skip, len(self._in)
        if end < at:
            return
        while end - at >= 9:
            high, low, kind, flags, stream = _HEAD.unpack_from(self._in, at)
            next_at = at + 9 + (high << 8 | low)
            if next_at > end:
                break
            payload = bytes(self._in[at + 9 : next_at])
            at = next_at
            if kind in _OF_STREAMS:
                if (whole := self._of_stream(kind, flags, payload)) is not None:
                    yield DATA if kind == DATA else HEADERS, bool(flags & END_STREAM), stream, whole
            elif kind in {RST_STREAM, GOAWAY}:
                yield kind, True, stream, payload
            else:
                self._of_connection(kind, flags, stream, payload)
        self._skip = 0
        del self._in[:at]

    def send(self, stream: int, headers: Headers, data: bytes, trailers: Headers = ()) -> None:
        """Send headers and *data*; the stream ends with *trailers*, or with the data where there are none."""
        self.out += frame(HEADERS, END_HEADERS, stream, self.headers.encode(headers))
        tail = frame(HEADERS, END_HEADERS | END_STREAM, stream, self.headers.encode(trailers)) if trailers else b""
        if not self._sending and len(data) <= min(self._window, self._initial, _FRAME_BYTES):
            self._window -= len(data)
            self.out += frame(DATA, 0 if tail else END_STREAM, stream, data) + tail
        else:
            self._sending.append(_Sending(stream, memoryview(data), tail))
            self._go_on()

    def end(self, stream: int, headers: Headers) -> None:
        """Send a reply that has trailers only."""
        self.out += frame(HEADERS, END_HEADERS | END_STREAM, stream, self.headers.encode(headers))

    def forget(self, stream: int) -> None:
        """The call is over: what the other side gave its stream means nothing any more."""
        self._more.pop(stream, None)

    def _of_stream(self, kind: int, flags: int, payload: bytes) -> bytes | None:
        if kind == DATA:
            self._received += len(payload)
            if self._received > _LARGE_WINDOW // 4:
                self._give_back(self._received)
                self._received = 0
        if flags & PADDED and kind != CONTINUATION:
            payload = payload[1 : len(payload) - payload[0]]
        if kind == DATA:
            return payload
        if flags & PRIORITY and kind == HEADERS:
            payload = payload[5:]
        self._block += payload
        if not flags & END_HEADERS:
            return None
        block, self._block = self._block, b""
        return block

    def _of_connection(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            self._set(dict(_SETTING.iter_unpack(payload)))
        elif kind == PING and not flags & ACK:
            self.out += frame(PING, ACK, 0, payload)
        elif kind == WINDOW_UPDATE:
            more = int.from_bytes(payload, "big")
            if stream:
                self._more[stream] = self._more.get(stream, 0) + more
            else:
                self._window += more
            self._go_on()

    def _set(self, settings: dict[int, int]) -> None:
        self._initial = settings.get(_INITIAL_WINDOW_SIZE, self._initial)
        self.headers.limit(settings.get(_HEADER_TABLE_SIZE, 4096))
        self.out += frame(SETTINGS, ACK, 0, b"")
        self._go_on()

    def _go_on(self) -> None:
        """Send what the windows allow, in the order in which it came."""
        while self._sending:
            first = self._sending[0]
            room = min(self._window, self._initial + self._more.get(first.stream, 0), _FRAME_BYTES)
            if room <= 0 and first.data:
                return
            piece, first.data = first.data[:room], first.data[room:]
            last = not first.data and not first.tail
            self.out += frame(DATA, END_STREAM if last else 0, first.stream, bytes(piece))
            self._window -= len(piece)
            self._more[first.stream] = self._more.get(first.stream, 0) - len(piece)
            if not first.data:
                self.out += first.tail
                self._sending.popleft()

    def _give_back(self, window: int) -> None:
        self.out += frame(WINDOW_UPDATE, 0, 0, window.to_bytes(4, "big"))
