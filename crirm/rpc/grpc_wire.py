"""How gRPC is laid over HTTP/2: timeouts, statuses and message frames, as bytes.

Source: grpc/grpc doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

from grpclib.const import Status
from hpack.struct import NeverIndexedHeaderTuple

from crirm.errors import QUOTED_CHARS, CrirmError, clipped
from crirm.logs import get_logger
from crirm.rpc.compression import Packed, plain
from crirm.rpc.header_blocks import Coded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = get_logger("relay")

_UNITS_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_MAX_TIMEOUT_VALUE = 99_999_999  # "at most 8 digits"
PREFIX_BYTES = 5  # compressed flag, big-endian length
MAX_MESSAGE_BYTES = 64 << 20  # four times what kubelet and containerd take
_MOST_UNPACKED_AT_ONCE_BYTES = 4 << 20  # 10 ms; no reply that crirm looks at is compressed anywhere it was seen
_MOST_CODE_DIGITS = 9  # more is no 32-bit number, and grpc-go too reads it as UNKNOWN
_QUOTED_BYTES = QUOTED_CHARS * 12  # a character has up to four bytes, and each may be written with three
_MOST_OWN_CHARACTERS = 2000  # of a message that we send; a sentence is shorter, whatever it quotes
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class RpcError(CrirmError):
    """A call ended with a gRPC status other than OK."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message


class MessageTooLargeError(CrirmError):
    """A message is larger than crirm buffers."""


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
    """Return gRPC code and message of *trailers*; UNKNOWN if the code is missing or invalid.

    A long message is truncated: it may have megabytes, and is only quoted.
    """
    code = find(trailers, b"grpc-status") or b""
    message = find(trailers, b"grpc-message") or b""
    number = int(code) if code.isdigit() and len(code) <= _MOST_CODE_DIGITS else Status.UNKNOWN.value
    size = len(message)
    beginning = message.beginning(_QUOTED_BYTES) if isinstance(message, Coded) else message[:_QUOTED_BYTES]
    text = unquote(beginning.decode("ascii", "replace"), errors="replace")
    return number, clipped(text) if size <= _QUOTED_BYTES else f"{text[:QUOTED_CHARS]}... ({size} bytes)"


def request_headers(path: bytes, timeout_s: float | None) -> list[tuple[bytes, bytes]]:
    """Return the headers of a call of our own; without *timeout_s* (seconds) it has no deadline."""
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
        (b"grpc-message", quote(clipped(message, _MOST_OWN_CHARACTERS), safe=_PRINTABLE).encode("ascii")),
    ]
    return [(b":status", b"200"), (b"content-type", b"application/grpc"), *trailers] if alone else trailers


def frame(message: bytes) -> bytes:
    """Return *message* with the prefix that delimits it on the wire, uncompressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class Deframer:
    """Cuts the bytes of one direction of a call into messages.

    Args:
        deliver: called with each message; one with an unsupported encoding stays compressed.
        encoding: the ``grpc-encoding`` of the call.
        strict: raise on a message that is too large, instead of ignoring the rest of the stream.
        unpacks: whether to decompress messages; otherwise compressed ones are ``Packed``.
    """

    def __init__(
        self, deliver: Callable[[bytes], None], encoding: bytes | None, *, strict: bool = False, unpacks: bool = True
    ) -> None:
        self._deliver = deliver
        self._encoding = encoding
        self._strict = strict
        self._unpacks = unpacks
        self._given_up = False
        self._buffer = bytearray()

    @property
    def buffered_bytes(self) -> int:
        """Size of an incomplete message."""
        return len(self._buffer)

    def clear(self) -> None:
        """Drop buffered bytes, and ignore the rest."""
        self._given_up = True
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes and deliver every message that they complete.

        Raises:
            MessageTooLargeError: a message is larger than ``MAX_MESSAGE_BYTES``.
        """
        if self._given_up:
            return
        self._buffer += data
        while len(self._buffer) >= PREFIX_BYTES:
            size_bytes = int.from_bytes(self._buffer[1:PREFIX_BYTES], "big")
            if size_bytes > MAX_MESSAGE_BYTES:
                self._give_up(size_bytes)
                return
            end = PREFIX_BYTES + size_bytes
            if len(self._buffer) < end:
                return
            message = bytes(memoryview(self._buffer)[PREFIX_BYTES:end])
            compressed = self._buffer[0]
            del self._buffer[:end]
            self._deliver(self._message(message) if compressed else message)

    def _message(self, message: bytes) -> bytes:
        packed = Packed.of(message, self._encoding)
        return plain(packed, _MOST_UNPACKED_AT_ONCE_BYTES) if self._unpacks else packed

    def _give_up(self, size_bytes: int) -> None:
        self.clear()
        if self._strict:
            raise MessageTooLargeError(f"message of {size_bytes} bytes; the limit is {MAX_MESSAGE_BYTES}")


def only_message(body: bytes, encoding: bytes | None) -> bytes | None:
    """Return the only message of a unary reply; None if there is not exactly one, or it cannot be decompressed."""
    messages: list[bytes] = []
    if len(body) < PREFIX_BYTES or len(body) != PREFIX_BYTES + int.from_bytes(body[1:PREFIX_BYTES], "big"):
        return None
    try:
        Deframer(messages.append, encoding).feed(body)
    except Exception as error:  # noqa: BLE001 - what the runtime has sent, it may be anything
        log.debug("cannot decompress a reply", reason=str(error))
        return None
    packed = bool(body[0])
    return None if not messages or (packed and messages[0] == body[PREFIX_BYTES:]) else messages[0]
