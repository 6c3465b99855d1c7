"""Messages as bytes: read by field number, edited in place.

This is for lists and large replies, of which only a few fields are needed (`reading` decodes requests into messages of
the slice), and for edits: everything else keeps its bytes, including unknown fields, their order, and the order of
maps.

Numbers come from the slice (`numbers`). Source of the wire rules (the last of several wins, nested messages
merge): https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from crirm.cri.wire import MAP_KEY, MAP_VALUE, Field, Malformed, WireType, short_text, walk
from crirm.errors import CrirmError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_FIELDS = 1 << 16  # at one level; lists of all containers and environments have thousands, and each costs 1 us
_KEY_TAG = MAP_KEY << 3 | WireType.BYTES
_VALUE_TAG = MAP_VALUE << 3 | WireType.BYTES
_SIGN = 1 << 63
_MODULUS = 1 << 64


class MalformedError(CrirmError, ValueError):
    """Bytes are not a valid message."""


class Message:
    """One message, decoded one level deep."""

    def __init__(self, data: bytes) -> None:
        """Decode *data*.

        Raises:
            MalformedError: it is not a protobuf message.
        """
        self._values: dict[int, list[int | bytes]] = {}
        for count, field in enumerate(walk(data)):
            if count == MAX_FIELDS:
                raise MalformedError(f"message with more than {MAX_FIELDS} fields")
            if isinstance(field, Malformed):
                raise MalformedError(f"not a protobuf message: {field.reason} at byte {field.offset}")
            self._values.setdefault(field.number, []).append(field.value)

    def number(self, field: int) -> int:
        """Return an integer (int32, int64, enum or bool), 0 if it is not set."""
        value = self._values.get(field, (0,))[-1]
        if not isinstance(value, int):
            raise MalformedError(f"field {field} is not a number")
        return value - _MODULUS if value & _SIGN else value

    def raw(self, field: int) -> bytes:
        """Return bytes, empty if they are not set."""
        value = self._values.get(field, (b"",))[-1]
        if isinstance(value, int):
            raise MalformedError(f"field {field} is not length-delimited")
        return value

    def text(self, field: int) -> str:
        """Return a string, empty if it is not set; invalid UTF-8 becomes replacement characters."""
        return self.raw(field).decode("utf-8", "replace")

    def has(self, field: int) -> bool:
        """Whether the field is present."""
        return field in self._values

    def message(self, field: int) -> Message:
        """Return a nested message, an empty one if it is not set."""
        return Message(b"".join(self.raws(field)))  # to concatenate is to merge

    def messages(self, field: int) -> list[Message]:
        """Return the items of a repeated message."""
        return [Message(item) for item in self.raws(field)]

    def texts(self, field: int) -> list[str]:
        """Return the items of a repeated string."""
        return [item.decode("utf-8", "replace") for item in self.raws(field)]

    def mapping(self, field: int) -> dict[str, str]:
        """Return a map of strings to strings."""
        return dict(map(entry, self.raws(field)))

    def raws(self, field: int) -> list[bytes]:
        """Return the items of a repeated message, or of any length-delimited field, as bytes."""
        values = self._values.get(field, [])
        if any(isinstance(value, int) for value in values):
            raise MalformedError(f"field {field} is not length-delimited")
        return [value for value in values if isinstance(value, bytes)]


def entry(item: bytes) -> tuple[str, str]:
    """Read one entry of a map; fast, since a caller may send ten thousand."""
    key = short_text(item, 0, _KEY_TAG)
    value = short_text(item, key[1], _VALUE_TAG) if key is not None else None
    if key is None or value is None or value[1] != len(item):
        both = Message(item)
        return both.text(MAP_KEY), both.text(MAP_VALUE)
    return key[0].decode("utf-8", "replace"), value[0].decode("utf-8", "replace")


def edited(data: bytes, path: Sequence[int], changes: Mapping[int, int | str]) -> bytes:
    """Return *data* with the fields *changes* of the nested message at *path* set, and every other byte unchanged.

    Args:
        data: a well-formed message.
        path: field numbers that lead to the nested message; created if missing.
        changes: field number to value; numbers must not be negative.

    Raises:
        MalformedError: *data* is malformed.
    """
    if path:
        number, *rest = path
        last = _last(data, number)
        inner = last.value if last and isinstance(last.value, bytes) else b""
        return _replaced(data, last, _bytes_field(number, edited(inner, rest, changes)))
    for number, value in changes.items():
        encoded = _bytes_field(number, value.encode()) if isinstance(value, str) else _number_field(number, value)
        data = _replaced(data, _last(data, number), encoded)
    return data


class _Found(NamedTuple):
    start: int
    value: int | bytes
    end: int


def _last(data: bytes, number: int) -> _Found | None:
    """Return the last field *number* of *data*: the one that counts."""
    found, start = None, 0
    for field in walk(data):
        if isinstance(field, Malformed):
            raise MalformedError(f"not a protobuf message: {field.reason} at byte {field.offset}")
        end = _end(data, field)
        if field.number == number:
            found = _Found(start, field.value, end)
        start = end
    return found


def _end(data: bytes, field: Field) -> int:
    if isinstance(field.value, bytes):
        return field.offset + len(field.value)
    match field.wire_type:
        case WireType.FIXED64:
            return field.offset + 8
        case WireType.FIXED32:
            return field.offset + 4
        case WireType.VARINT:
            end = field.offset
            while data[end] & 0x80:
                end += 1
            return end + 1
        case _:
            return field.offset  # group markers have no value


def _replaced(data: bytes, old: _Found | None, new: bytes) -> bytes:
    return data + new if old is None else data[: old.start] + new + data[old.end :]


def _bytes_field(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | WireType.BYTES) + _varint(len(value)) + value


def _number_field(number: int, value: int) -> bytes:
    return _varint(number << 3 | WireType.VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
