"""As much protobuf as the lean runtime reads and writes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_VARINT: Final = 0
_BYTES: Final = 2


def read(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field.

    Raises:
        ValueError: a field is neither a number nor bytes; CRI has none.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value, at = _varint(data, at)
        if tag & 7 == _VARINT:
            yield tag >> 3, value
        elif tag & 7 == _BYTES:
            yield tag >> 3, data[at : at + value]
            at += value
        else:
            raise ValueError(f"field {tag >> 3} has wire type {tag & 7}")


def pick(data: bytes, field: int) -> bytes:
    """Return the bytes of *field*, empty where it is not set."""
    return next((value for number, value in read(data) if number == field and isinstance(value, bytes)), b"")


def number_field(number: int, value: int) -> bytes:
    """Return the field *number* with an integer; zero is left out, as by every encoder."""
    return _encoded(number << 3 | _VARINT) + _encoded(value) if value else b""


def bytes_field(number: int, value: bytes) -> bytes:
    """Return the field *number* with bytes."""
    return _encoded(number << 3 | _BYTES) + _encoded(len(value)) + value


def text_field(number: int, value: str) -> bytes:
    """Return the field *number* with a text."""
    return bytes_field(number, value.encode())


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value, shift = value & 0x7F, 7
    while True:
        at += 1
        value |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return value, at + 1
        shift += 7


def _encoded(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
