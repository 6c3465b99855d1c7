"""The protobuf wire format, read without a schema: field after field, as far as the bytes are valid.

Source: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final, NamedTuple

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_VARINT_BYTES: Final = 10  # 64 bits, 7 in each byte
MAP_KEY: Final = 1  # a map is a list of messages of these two fields
MAP_VALUE: Final = 2
_64_BITS: Final = (1 << 64) - 1


class WireType(enum.IntEnum):
    """How the value of a field is laid out."""

    VARINT = 0
    FIXED64 = 1
    BYTES = 2  # length-delimited: text, bytes, nested messages, maps, packed numbers
    START_GROUP = 3  # groups are older than proto3; their fields are walked individually
    END_GROUP = 4
    FIXED32 = 5


class Field(NamedTuple):
    """One field on the wire."""

    number: int
    wire_type: int
    value: int | bytes  # of BYTES the bytes, of FIXED32 and FIXED64 the unsigned number, of groups 0
    offset: int  # of the value's first byte, from the start of the outermost message


@attrs.frozen
class Malformed:
    """From here on the bytes are malformed."""

    offset: int  # of the field that cannot be read, from the start of the outermost message
    reason: str
    rest: bytes  # from that offset on


def walk(data: bytes, base: int = 0) -> Iterator[Field | Malformed]:
    """Yield the fields of a message in the order of the wire; a Malformed comes last or not at all.

    Args:
        data: the message.
        base: offset of *data* in the outermost message.
    """
    position = 0
    while position < len(data):
        start = position
        found = short_bounds(data, position)
        if found is not None:  # fast path: nearly all fields of large messages
            begin, position = found
            yield Field(data[start] >> 3, WireType.BYTES, data[begin:position], base + begin)
            continue
        try:
            field, position = _field(data, position, base)
        except _MalformedError as fault:
            yield Malformed(base + start, str(fault), data[start:])
            return
        yield field


def packed(data: bytes, wire_type: int, base: int = 0) -> Iterator[Field | Malformed]:
    """Yield the numbers of a packed repeated field, as fields with number 0; like ``walk`` otherwise."""
    position = 0
    while position < len(data):
        start = position
        try:
            value, position = _number(data, position, wire_type)
        except _MalformedError as fault:
            yield Malformed(base + start, str(fault), data[start:])
            return
        yield Field(0, wire_type, value, base + start)


def short_text(data: bytes, position: int, tag: int) -> tuple[bytes, int] | None:
    """Return the value of the length-delimited field at *position*, and the position of the next field.

    Args:
        data: a message.
        position: anywhere in it, or at its end.
        tag: that the field has, below 128.

    Returns:
        None if it is another field, longer than 16 KiB, or malformed; then use `walk`.
    """
    if position >= len(data) or data[position] != tag:
        return None
    found = short_bounds(data, position)
    return None if found is None else (data[found[0] : found[1]], found[1])


def short_bounds(data: bytes, position: int) -> tuple[int, int] | None:
    """Return where the value of the field at *position* begins and ends, if it is a short text or message."""
    tag, begin = data[position], position + 2
    if tag & 0x87 != WireType.BYTES or tag < 0x08 or begin > len(data):
        return None
    length = data[position + 1]
    if length >= 0x80:
        if begin == len(data) or data[begin] >= 0x80:
            return None
        length = length & 0x7F | data[begin] << 7
        begin += 1
    end = begin + length
    return (begin, end) if end <= len(data) else None


class _MalformedError(Exception):
    """A field that cannot be read; the message says why."""


def _field(data: bytes, position: int, base: int) -> tuple[Field, int]:
    tag, position = _varint(data, position)
    number, wire_type = tag >> 3, tag & 7
    if not number:
        raise _MalformedError("field number 0")
    if wire_type == WireType.BYTES:
        length, position = _varint(data, position)
        end = position + length
        if end > len(data):
            raise _MalformedError(f"field {number} declares {length} bytes, but {len(data) - position} are left")
        return Field(number, wire_type, data[position:end], base + position), end
    value, end = _number(data, position, wire_type)
    return Field(number, wire_type, value, base + position), end


def _number(data: bytes, position: int, wire_type: int) -> tuple[int, int]:
    match wire_type:
        case WireType.VARINT:
            return _varint(data, position)
        case WireType.FIXED64 | WireType.FIXED32:
            end = position + (8 if wire_type == WireType.FIXED64 else 4)
            if end > len(data):
                raise _MalformedError("truncated fixed-size number")
            return int.from_bytes(data[position:end], "little"), end
        case WireType.START_GROUP | WireType.END_GROUP:
            return 0, position
        case _:
            raise _MalformedError(f"unknown wire type {wire_type}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    if position < len(data) and (value := data[position]) < 0x80:  # fast path: most have one byte
        return value, position + 1
    value = shift = 0
    for end, byte in enumerate(data[position : position + MAX_VARINT_BYTES], position + 1):
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _64_BITS, end
        shift += 7
    if len(data) - position < MAX_VARINT_BYTES:
        raise _MalformedError("truncated varint")
    raise _MalformedError("varint has more than 64 bits")
