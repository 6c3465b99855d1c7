"""HTTP/2 frames as bytes: frame headers, and the few frames that crirm writes itself.

Source: RFC 9113 sections 4 and 6.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from crirm.errors import CrirmError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD: Final = Struct(">HBBBL")  # length in two parts, type, flags, stream
HEAD_BYTES: Final = 9
KIND_AT: Final = 3  # in the head
_SETTING: Final = Struct(">HL")
_NUMBER: Final = Struct(">L")

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

ACK: Final = 0x1
END_STREAM: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
WITH_PRIORITY: Final = 0x20

NO_ERROR: Final = 0x0
PROTOCOL_ERROR: Final = 0x1
INTERNAL_ERROR: Final = 0x2
FRAME_SIZE_ERROR: Final = 0x6
CANCEL: Final = 0x8
COMPRESSION_ERROR: Final = 0x9
ENHANCE_YOUR_CALM: Final = 0xB

HEADER_TABLE_SIZE: Final = 0x1
MAX_CONCURRENT_STREAMS: Final = 0x3
INITIAL_WINDOW_SIZE: Final = 0x4
MAX_FRAME_SIZE: Final = 0x5

USUAL_WINDOW_BYTES: Final = 65535
USUAL_FRAME_BYTES: Final = 16384
LARGEST_WINDOW_BYTES: Final = (1 << 31) - 1
LARGEST_STREAM_ID: Final = (1 << 31) - 1


class FrameError(CrirmError):
    """An invalid frame: its connection is closed with *code*."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """Return one frame; *payload* has 16 MiB at most."""
    length = len(payload)
    return HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream_id) + payload


def whole_frames(data: bytes | bytearray, most_bytes: int = USUAL_FRAME_BYTES) -> int:
    """Return how many bytes at the beginning of *data* are whole frames.

    Raises:
        FrameError: a frame is larger than *most_bytes*.
    """
    at = 0
    while len(data) - at >= HEAD_BYTES:
        high, low, *_ = HEAD.unpack_from(data, at)
        length = high << 8 | low
        if length > most_bytes:
            raise FrameError(FRAME_SIZE_ERROR, f"frame of {length} bytes; the limit is {most_bytes}")
        if at + HEAD_BYTES + length > len(data):
            break
        at += HEAD_BYTES + length
    return at


def header_frames(stream_id: int, block: bytes, *, end: bool) -> bytes:
    """Return the header block *block* as HEADERS and as many CONTINUATION frames as it takes; *end* ends the stream."""
    flags = END_STREAM if end else 0
    if len(block) <= USUAL_FRAME_BYTES:
        return frame(HEADERS, flags | END_HEADERS, stream_id, block)
    pieces = [block[at : at + USUAL_FRAME_BYTES] for at in range(0, len(block), USUAL_FRAME_BYTES)]
    middle = [frame(CONTINUATION, 0, stream_id, piece) for piece in pieces[1:-1]]
    last = frame(CONTINUATION, END_HEADERS, stream_id, pieces[-1])
    return b"".join((frame(HEADERS, flags, stream_id, pieces[0]), *middle, last))


def is_divisible(data_frame: bytes) -> bool:
    """Tell whether a DATA frame can be sent as two: it has no padding."""
    return not data_frame[4] & PADDED


def divided(data_frame: bytes, size_bytes: int) -> tuple[bytes, bytes]:
    """Return a DATA frame without padding as two, the first with *size_bytes* of it, which is less than it has."""
    _, _, _, flags, stream_id = HEAD.unpack_from(data_frame)
    cut = HEAD_BYTES + size_bytes
    return frame(DATA, 0, stream_id, data_frame[HEAD_BYTES:cut]), frame(DATA, flags, stream_id, data_frame[cut:])


def window_update(stream_id: int, size_bytes: int) -> bytes:
    """Return the frame that lets the peer send *size_bytes* more, on one stream or (0) on the connection."""
    return frame(WINDOW_UPDATE, 0, stream_id, _NUMBER.pack(size_bytes))


def rst_stream(stream_id: int, code: int) -> bytes:
    """Return the frame that ends a stream at once."""
    return frame(RST_STREAM, 0, stream_id, _NUMBER.pack(code))


def goaway(last_stream_id: int, code: int, debug: bytes = b"") -> bytes:
    """Return the frame that ends a connection."""
    return frame(GOAWAY, 0, 0, _NUMBER.pack(last_stream_id) + _NUMBER.pack(code) + debug)


def goaway_at_least(payload: bytes, stream_id: int) -> bytes:
    """Return a GOAWAY frame like that with *payload*, covering all streams up to *stream_id*.

    Raises:
        FrameError: it is too short.
    """
    if len(payload) < 2 * _NUMBER.size:
        raise FrameError(FRAME_SIZE_ERROR, "GOAWAY frame is too short")
    last = max(_NUMBER.unpack_from(payload)[0] & LARGEST_STREAM_ID, stream_id)
    return frame(GOAWAY, 0, 0, _NUMBER.pack(last) + payload[_NUMBER.size :])


def settings(values: dict[int, int]) -> bytes:
    """Return a SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(_SETTING.pack(key, value) for key, value in values.items()))


def with_usual_frames(values: list[tuple[int, int]]) -> bytes | None:
    """Return a SETTINGS frame with *values* that allows only frames of the default size; None if it already does."""
    usual = [(key, value) for key, value in values if key != MAX_FRAME_SIZE]
    return None if len(usual) == len(values) else settings(dict(usual))


def settings_in(payload: bytes) -> list[tuple[int, int]]:
    """Return the settings in a SETTINGS frame, in order.

    Raises:
        FrameError: its length is no multiple of six.
    """
    if len(payload) % _SETTING.size:
        raise FrameError(FRAME_SIZE_ERROR, "SETTINGS frame with an invalid length")
    return list(_SETTING.iter_unpack(payload))


def number_in(payload: bytes) -> int:
    """Return the number that WINDOW_UPDATE and RST_STREAM frames consist of.

    Raises:
        FrameError: it has another length than four bytes.
    """
    if len(payload) != _NUMBER.size:
        raise FrameError(FRAME_SIZE_ERROR, f"frame of {len(payload)} bytes; expected 4")
    number: int = _NUMBER.unpack(payload)[0]
    return number


def content(kind: int, flags: int, payload: bytes) -> bytes:
    """Return the content of a DATA or HEADERS frame, without padding and priority (RFC 9113 sections 6.1 and 6.2).

    Raises:
        FrameError: the padding is longer than the frame.
    """
    begin, end = 0, len(payload)
    if flags & PADDED:
        if not payload or payload[0] >= end:
            raise FrameError(PROTOCOL_ERROR, "padding exceeds the frame")
        begin, end = 1, end - payload[0]
    if kind == HEADERS and flags & WITH_PRIORITY:
        begin += 5
        if begin > end:
            raise FrameError(FRAME_SIZE_ERROR, "HEADERS frame is too short for its priority fields")
    return payload[begin:end]
