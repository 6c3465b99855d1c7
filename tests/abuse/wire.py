"""Frames of HTTP/2 as bytes, broken ones too, and a socket to say them on."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Self

from hpack.hpack import Encoder
from hpack.struct import NeverIndexedHeaderTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, ACK, END_HEADERS, PADDED = 0x1, 0x1, 0x4, 0x8
MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE = 3, 4, 5
_READ_BYTES = 1 << 16


def frame(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """One frame; *length* is what its head says, if not the truth."""
    said = len(payload) if length is None else length
    return said.to_bytes(3, "big") + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, payload=b"".join(k.to_bytes(2, "big") + v.to_bytes(4, "big") for k, v in pairs))


def number(value: int) -> bytes:
    return value.to_bytes(4, "big")


def block(headers: Sequence[tuple[bytes, bytes]]) -> bytes:
    """A header block that leaves the dynamic table alone."""
    return Encoder().encode([NeverIndexedHeaderTuple(*header) for header in headers], huffman=False)


def headers(stream_id: int, pairs: Sequence[tuple[bytes, bytes]], *, end: bool = False) -> bytes:
    """HEADERS, and CONTINUATION where they are long."""
    return long_headers(stream_id, block(pairs), end=end)


def long_headers(stream_id: int, coded: bytes, *, end: bool = False) -> bytes:
    """Likewise, from a block."""
    most = 1 << 14
    pieces = [coded[at : at + most] for at in range(0, len(coded), most)] or [b""]
    said = []
    for place, piece in enumerate(pieces):
        last = END_HEADERS if place == len(pieces) - 1 else 0
        first = END_STREAM if end and not place else 0
        said.append(frame(CONTINUATION if place else HEADERS, last | first, stream_id, piece))
    return b"".join(said)


def request(stream_id: int, path: str, *more: tuple[bytes, bytes], end: bool = False) -> bytes:
    fixed = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"localhost")]
    return headers(stream_id, [*fixed, (b"content-type", b"application/grpc"), (b"te", b"trailers"), *more], end=end)


class Rude:
    """A caller that says what it likes, and hears only when it wants."""

    def __init__(self, path: Path) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.connect(str(path))
        self._sock.setblocking(False)  # noqa: FBT003 - it takes no keyword
        self.hung_up = False
        self.said_bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sock.close()

    def say(self, words: bytes, *, until_s: float, hear: bool = True) -> bool:
        """Say *words*; False when the other side has hung up, or does not listen until the monotonic *until_s*."""
        rest = memoryview(words)
        while rest and not self.hung_up and time.monotonic() < until_s:
            if hear:
                self._hear()
            try:
                said = self._sock.send(rest)
            except BlockingIOError:
                time.sleep(0.001)
                continue
            except OSError:
                self.hung_up = True
                break
            rest = rest[said:]
            self.said_bytes += said
        return not rest

    def _hear(self) -> None:
        try:
            while not self.hung_up:
                self.hung_up = not self._sock.recv(_READ_BYTES)
        except BlockingIOError:
            pass
        except OSError:
            self.hung_up = True
