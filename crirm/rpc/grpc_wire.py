"""How gRPC is laid over HTTP/2: timeouts, statuses and message frames, as bytes.

Source: grpc/grpc doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import gzip
import zlib
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from grpclib.const import Status
from hpack.struct import NeverIndexedHeaderTuple

from crirm.errors import CrirmError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_UNITS_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MAX_TIMEOUT_VALUE = 99_999_999  # "at most 8 digits"
PREFIX_BYTES = 5  # compressed flag, big-endian length
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class RpcError(CrirmError):
    """A call ended with a gRPC status other than OK."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message


def parse_timeout_s(value: bytes) -> float | None:
    """Return the seconds that a ``grpc-timeout`` header allows, None when it is malformed."""
    digits, unit = value[:-1], value[-1:]
    if unit not in _UNITS_S or not digits.isdigit() or len(digits) > 8:
        return None
    return int(digits) * _UNITS_S[unit]


def format_timeout(timeout_s: float) -> bytes:
    """Return *timeout_s* (seconds, 0 or more) as a ``grpc-timeout`` value, in the finest unit that holds it."""
    for unit in (b"u", b"m", b"S", b"M"):
        value = int(timeout_s / _UNITS_S[unit])
        if value <= _MAX_TIMEOUT_VALUE:
            return b"%d%s" % (value, unit)
    return b"%dH" % min(int(timeout_s / 3600), _MAX_TIMEOUT_VALUE)


def find(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bytes | None:
    """Return the first value of the header *name*."""
    for key, value in headers:
        if key == name:
            return value
    return None


def status_of(trailers: Iterable[tuple[bytes, bytes]]) -> tuple[int, str]:
    """Return gRPC code and message that *trailers* carry; UNKNOWN where they carry none."""
    code = find(trailers, b"grpc-status")
    message = find(trailers, b"grpc-message") or b""
    number = int(code) if code is not None and code.isdigit() else Status.UNKNOWN.value
    return number, unquote(message.decode("ascii", "replace"), errors="replace")


def request_headers(path: bytes, timeout_s: float | None) -> list[tuple[bytes, bytes]]:
    """Return the headers of a call of our own; no *timeout_s* (seconds) lets it go on for ever."""
    headers = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", path),
        (b":authority", b"localhost"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"crirm"),
    ]
    if timeout_s is not None:
        headers.append(NeverIndexedHeaderTuple(b"grpc-timeout", format_timeout(timeout_s)))
    return headers


def status_trailers(status: Status, message: str, *, alone: bool) -> list[tuple[bytes, bytes]]:
    """Return trailers that end a call with *status*; *alone* when no response headers were sent before."""
    trailers = [
        (b"grpc-status", b"%d" % status.value),
        (b"grpc-message", quote(message, safe=_PRINTABLE).encode("ascii")),
    ]
    return [(b":status", b"200"), (b"content-type", b"application/grpc"), *trailers] if alone else trailers


def frame(message: bytes) -> bytes:
    """Return *message* with the prefix that delimits it on the wire, uncompressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class Deframer:
    """Cuts the bytes of one direction of a call into messages."""

    def __init__(self, deliver: Callable[[bytes], None], encoding: bytes | None) -> None:
        self._deliver = deliver
        self._encoding = encoding
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes and deliver every message that they complete.

        A message compressed in a way that crirm does not know is delivered as it is.
        """
        self._buffer += data
        while len(self._buffer) >= PREFIX_BYTES:
            end = PREFIX_BYTES + int.from_bytes(self._buffer[1:PREFIX_BYTES], "big")
            if len(self._buffer) < end:
                return
            message = bytes(self._buffer[PREFIX_BYTES:end])
            compressed = self._buffer[0]
            del self._buffer[:end]
            self._deliver(self._decompress(message) if compressed else message)

    def _decompress(self, message: bytes) -> bytes:
        try:
            if self._encoding == b"gzip":
                return gzip.decompress(message)
            if self._encoding == b"deflate":
                return zlib.decompress(message)
        except (OSError, EOFError, zlib.error):
            pass  # the two ends will find out; a bystander only shows it
        return message
