"""Encoded messages made odd on purpose; works on bytes, because no message class would do it."""

from __future__ import annotations

GARBAGE = b"\xff" * 16
"""No protobuf message: a tag of ten continued bytes ends nowhere."""
_FIELD = 4000
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def field(number: int, content: bytes) -> bytes:
    """Return one length-delimited field."""
    return _varint(number << 3 | _LENGTH) + _varint(len(content)) + content


def with_size(message: bytes, size_bytes: int) -> bytes:
    """Return *message* with an unknown field that brings it to *size_bytes*, or up to a byte or two beyond.

    A message that is that large already is returned as it is.
    """
    missing = size_bytes - len(message) - len(field(_FIELD, b""))
    if missing <= 0:
        return message
    overhead = len(_varint(missing)) - 1
    return message + field(_FIELD, b"x" * max(missing - overhead, 0))


def with_unknown_fields(message: bytes) -> bytes:
    """Return *message* with unknown fields of every wire type behind it, one of them two messages deep."""
    deep = field(_FIELD, field(_FIELD, _varint(_FIELD << 3 | _VARINT) + _varint(1 << 63)))
    return b"".join(
        (
            message,
            _varint(_FIELD + 1 << 3 | _VARINT) + _varint(42),
            _varint(_FIELD + 2 << 3 | _FIXED64) + b"\x01\x02\x03\x04\x05\x06\x07\x08",
            _varint(_FIELD + 3 << 3 | _FIXED32) + b"\x01\x02\x03\x04",
            field(_FIELD + 4, b"unknown \xff\xfe"),
            deep,
        )
    )
