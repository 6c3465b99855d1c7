"""Compressed messages: decompressed in small steps, up to a limit.

Two megabytes of gzip can contain two gigabytes.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from crirm.errors import CrirmError

if TYPE_CHECKING:
    from collections.abc import Generator

_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}  # as zlib counts them: 16 more for gzip's head
_STEP_BYTES = 1 << 20  # of unpacked message, about 3 ms
_PIECE_BYTES = 64 << 10  # of packed message, given to zlib at a time; it copies what it does not take


class UnpackError(CrirmError):
    """A message cannot be decompressed, or exceeds the limit."""

    def __init__(self, reason: str, *, too_large: bool = False) -> None:
        super().__init__(reason)
        self.too_large = too_large


class Packed(bytes):
    """A message as it came, compressed; ``encoding`` says how."""

    encoding: bytes

    @classmethod
    def of(cls, message: bytes, encoding: bytes | None) -> Packed:
        """Return *message* with its ``grpc-encoding``."""
        packed = cls(message)
        packed.encoding = encoding or b"identity"
        return packed

    @property
    def is_known(self) -> bool:
        """Whether crirm supports the encoding."""
        return self.encoding in _WINDOW_BITS


def unpacking(message: Packed, most_bytes: int) -> Generator[int, None, bytes]:
    """Decompress *message*, yielding the number of bytes after each step, and return the result.

    Args:
        message: in a supported encoding.
        most_bytes: limit of the result.

    Raises:
        UnpackError: it is broken, or larger.
    """
    unpacker = zlib.decompressobj(_WINDOW_BITS[message.encoding])
    unpacked, at = bytearray(), 0
    while not unpacker.eof:
        piece = unpacker.unconsumed_tail
        if not piece:
            piece, at = message[at : at + _PIECE_BYTES], at + _PIECE_BYTES
        if not piece:
            raise UnpackError("truncated compressed message")
        try:
            step = unpacker.decompress(piece, _STEP_BYTES)
        except zlib.error as error:
            raise UnpackError(f"corrupt compressed message ({error})") from error
        unpacked += step
        if len(unpacked) > most_bytes:
            raise UnpackError(f"message larger than {most_bytes} bytes when decompressed", too_large=True)
        yield len(step)
    return bytes(unpacked)


def plain(message: bytes, most_bytes: int) -> bytes:
    """Return *message* decompressed if it is compressed and fits into *most_bytes*; otherwise unchanged."""
    if not isinstance(message, Packed) or not message.is_known:
        return message
    steps = unpacking(message, most_bytes)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            unpacked: bytes = end.value
            return unpacked
        except UnpackError:
            return message
