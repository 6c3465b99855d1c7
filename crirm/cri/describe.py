"""Protobuf bytes as text for people: names, values and nesting of a CRI message, YAML-like, one line per value.

Nothing is dropped silently: unknown fields are shown by number, values that do not fit their type with their wire type,
malformed bytes with their offset, and long values are cut with their length. Environment values and credentials are
masked unless requested.
"""

from __future__ import annotations

import codecs
import json
import re
import struct
from typing import TYPE_CHECKING, Final

from crirm.cri.schema import SECRET_MESSAGES, Shape, schema
from crirm.cri.wire import MAP_KEY, MAP_VALUE, Field, Malformed, WireType, packed, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_VALUE_BYTES: Final = 4096  # per value; more is not readable
# kubectl puts the whole manifest, environment values included, into this annotation.
SECRET_KEYS: Final = frozenset(("kubectl.kubernetes.io/last-applied-configuration",))
# Text that YAML reads as that very text without quotes; the look-ahead leaves numbers and YAML's words out.
_PLAIN: Final = re.compile(
    r"(?!(?:0x[0-9a-f]+|[0-9._+-]+(?:e[0-9+-]+)?|true|false|null|yes|no|on|off|y|n)\Z)[a-z0-9/_][\w./:@+-]*(?<!:)",
    re.ASCII | re.IGNORECASE,
)
_WIRE_NAMES: Final = {WireType.VARINT: "varint", WireType.FIXED64: "64 bits", WireType.FIXED32: "32 bits"}
_NO_LAYOUT: Final = str.maketrans("", "", "\t\n\r")
_DOUBLE: Final = struct.Struct("<d")
_SIGN_BIT: Final = 1 << 63


def describe(data: bytes, message: str, *, show_secrets: bool = False) -> Iterator[str]:
    """Yield the lines that show a message; ``{}`` when it is empty.

    Args:
        data: the encoded message, which may be malformed.
        message: name of its class in ``runtime.v1``; any other name shows all fields by number.
        show_secrets: do not mask secrets.
    """
    if not data:
        yield "{}"
    yield from _Describer(show_secrets=show_secrets).lines(data, message, "", 0)


def text_of(value: str) -> str:
    """Return *value* as in YAML: plain if unambiguous, otherwise in double quotes."""
    if _PLAIN.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=not value.isprintable())


class _Describer:
    """The walk through one message; its only state is whether to mask secrets."""

    def __init__(self, *, show_secrets: bool) -> None:
        self._masks = not show_secrets

    def lines(self, data: bytes, message: str, indent: str, base: int) -> Iterator[str]:
        """Yield the lines of a message of class *message* that begins *base* bytes into the outermost one."""
        shapes = schema(message)
        listing = 0  # number of the field whose entries are being listed
        for field in walk(data, base):
            if isinstance(field, Malformed):
                yield f"{indent}{self._malformed(field)}"
                return
            shape = shapes.get(field.number)
            if shape is None or not _fits(shape, field):
                listing = 0
                yield f"{indent}{self._misfit(shape, field, message)}"
            elif shape.repeated or shape.type == "map":
                if listing != field.number:
                    listing = field.number
                    yield f"{indent}{shape.name}:"
                yield from self._entry(shape, field, indent)
            elif shape.type == "message":
                yield from self._nested(shape, field, indent)
            else:
                yield f"{indent}{shape.name}: {self._scalar(shape, field)}"

    def _nested(self, shape: Shape, field: Field, indent: str) -> Iterator[str]:
        if not field.value:
            yield f"{indent}{shape.name}: {{}}"
            return
        yield f"{indent}{shape.name}:"
        yield from self.lines(_bytes(field), shape.message, f"{indent}  ", field.offset)

    def _entry(self, shape: Shape, field: Field, indent: str) -> Iterator[str]:
        """One entry of a repeated field or a map, or several packed ones."""
        if shape.type == "map":
            yield from self._map_entry(shape, field, indent)
        elif shape.type == "message":
            deeper = f"{indent}  "
            lines = self.lines(_bytes(field), shape.message, deeper, field.offset)
            yield f"{indent}- {next(lines, deeper + '{}')[len(deeper) :]}"
            yield from lines
        elif field.wire_type != shape.wire_type:
            for number in packed(_bytes(field), shape.wire_type, field.offset):
                text = self._malformed(number) if isinstance(number, Malformed) else self._scalar(shape, number)
                yield f"{indent}- {text}"
        else:
            yield f"{indent}- {self._scalar(shape, field)}"

    def _map_entry(self, shape: Shape, field: Field, indent: str) -> Iterator[str]:
        """Every map of CRI has string keys and values; an entry is a message of a key and a value."""
        key, value, others = text_of(""), b"", []
        for part in walk(_bytes(field), field.offset):
            if isinstance(part, Malformed):
                others.append(self._malformed(part))
            elif part.number == MAP_KEY and isinstance(part.value, bytes):
                key = _string(part.value)
            elif part.number == MAP_VALUE and isinstance(part.value, bytes):
                value = part.value
            else:
                others.append(_unknown(part))
        secret = self._masks and (shape.secret or key in SECRET_KEYS)
        yield f"{indent}  {key}: {_masked(value) if secret else _string(value)}"
        yield from (f"{indent}    {other}" for other in others)

    def _scalar(self, shape: Shape, field: Field) -> str:
        value = field.value
        if shape.secret and self._masks:
            return _masked(value)
        if isinstance(value, bytes):
            return _string(value) if shape.type == "string" else _text_or_hex(value)
        return _number(shape, value)

    def _misfit(self, shape: Shape | None, field: Field, message: str) -> str:
        """A field unknown to the class *message*, or with another type on the wire."""
        secret = message in SECRET_MESSAGES if shape is None else shape.secret
        text = f"{field.number}: {_masked(field.value)}" if secret and self._masks else _unknown(field)
        return text if shape is None else f"{shape.name} (not of type {shape.type}), field {text}"

    def _malformed(self, fault: Malformed) -> str:
        rest = f"the last {len(fault.rest)} bytes"
        shown = f"{rest} are not shown" if self._masks else f"{rest}: {_text_or_hex(fault.rest)}"
        return f"# malformed at byte {fault.offset}: {fault.reason}; {shown}"


def _fits(shape: Shape, field: Field) -> bool:
    if field.wire_type == shape.wire_type:
        return True
    return shape.repeated and field.wire_type == WireType.BYTES  # packed numbers


def _number(shape: Shape, value: int) -> str:
    match shape.type:
        case "bool":
            return "true" if value else "false"
        case "double":
            return repr(_DOUBLE.unpack(value.to_bytes(8, "little"))[0])
        case "enum":
            return shape.enum_names.get(_signed(value)) or f"{_signed(value)} (no such name)"
        case "int32" | "int64":
            return str(_signed(value))
        case _:
            return str(value)


def _unknown(field: Field) -> str:
    match field.value:
        case bytes() as value:
            return f"{field.number} ({len(value)} bytes): {_text_or_hex(value)}"
        case _ if field.wire_type in {WireType.START_GROUP, WireType.END_GROUP}:
            return f"{field.number} (group {'starts' if field.wire_type == WireType.START_GROUP else 'ends'})"
        case value:
            return f"{field.number} ({_WIRE_NAMES[WireType(field.wire_type)]}): {value}"


def _masked(value: int | bytes) -> str:
    return f"<masked, {len(value)} bytes>" if isinstance(value, bytes) else "<masked>"


def _string(value: bytes) -> str:
    text = _decoded(value)
    return f"{_hex(value)} (not UTF-8)" if text is None else f"{text_of(text)}{_cut_note(value)}"


def _text_or_hex(value: bytes) -> str:
    text = _decoded(value)
    if text is None or not (text.isprintable() or text.translate(_NO_LAYOUT).isprintable()):
        return _hex(value)
    return f"{text_of(text)}{_cut_note(value)}"


def _decoded(value: bytes) -> str | None:
    try:
        if len(value) <= MAX_VALUE_BYTES:
            return value.decode()
        return codecs.getincrementaldecoder("utf-8")().decode(value[:MAX_VALUE_BYTES])
    except UnicodeDecodeError:
        return None


def _hex(value: bytes) -> str:
    return f"0x{value[:MAX_VALUE_BYTES].hex()}{_cut_note(value)}"


def _cut_note(value: bytes) -> str:
    return f" (the first {MAX_VALUE_BYTES} of {len(value)} bytes)" if len(value) > MAX_VALUE_BYTES else ""


def _bytes(field: Field) -> bytes:
    if not isinstance(field.value, bytes):
        raise TypeError(f"field {field.number} has wire type {field.wire_type}")
    return field.value


def _signed(value: int) -> int:
    return value - 2 * _SIGN_BIT if value & _SIGN_BIT else value
