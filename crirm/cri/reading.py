"""Decoding bytes into messages of the slice, with validation, which betterproto lacks.

betterproto accepts a truncated message and decodes it wrongly, lets the later of two sub-messages replace the earlier
instead of merging them, and needs 2 ms for a CreateContainerRequest of 3 kB, mostly to set attributes one by one. So
this module fills the messages itself, in a tenth of the time; for valid bytes without duplicates the result is that of
``parse`` (a test checks that).

Fields outside the slice are skipped, and nothing is ever encoded from these messages: the wire is edited in place.

Source of the rules (the last of several wins, nested messages merge):
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from crirm.cri.fields import fields
from crirm.cri.message import MAX_FIELDS, MalformedError, entry
from crirm.cri.wire import Malformed, WireType, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import betterproto

    M = TypeVar("M", bound=betterproto.Message)

_SIGN = 1 << 63
_MODULUS = 1 << 64


class _Kind(NamedTuple):
    """How one field is read."""

    name: str
    wire_type: int
    scalar: Callable[[Any], object] | None
    message: type[betterproto.Message] | None
    collects: type | None  # list or dict: it may be repeated


class _Plan(NamedTuple):
    """How a class is read: its fields by number, and the attributes of an empty message."""

    kinds: Mapping[int, _Kind]
    blank: Mapping[str, object]


def read(cls: type[M], data: bytes) -> M:
    """Return *data* as a message of the class *cls* of the slice.

    Raises:
        MalformedError: it is not a protobuf message, or a field of the slice has another wire type.
    """
    plan = _plan(cls)
    values: dict[str, Any] = {}
    for count, field in enumerate(walk(data)):
        if count == MAX_FIELDS:
            raise MalformedError(f"message with more than {MAX_FIELDS} fields")
        if isinstance(field, Malformed):
            raise MalformedError(f"not a protobuf message: {field.reason} at byte {field.offset}")
        kind = plan.kinds.get(field.number)
        if kind is not None:
            if field.wire_type != kind.wire_type:
                raise MalformedError(f"{kind.name} (field {field.number}) has an unexpected wire type")
            _take(values, kind, field.value)
    return _made(cls, plan, values)


def _take(values: dict[str, Any], kind: _Kind, value: Any) -> None:
    """Add one more occurrence of a field."""
    if kind.scalar is not None:
        values[kind.name] = kind.scalar(value)
    elif kind.collects is dict:
        key, text = entry(value)
        values.setdefault(kind.name, {})[key] = text
    else:
        values.setdefault(kind.name, []).append(value)


def _made(cls: type[M], plan: _Plan, values: dict[str, Any]) -> M:
    """Return a message with these attributes, set at once."""
    for kind in plan.kinds.values():
        if kind.message is not None and kind.name in values:
            raws, nested = values[kind.name], kind.message
            joined = raws if kind.collects else [b"".join(raws)]  # to concatenate is to merge
            found = [read(nested, each) for each in joined]
            values[kind.name] = found if kind.collects else found[0]
    message = cls.__new__(cls)
    message.__dict__.update(plan.blank)
    message.__dict__.update(values)
    return message


@cache
def _plan(cls: type[betterproto.Message]) -> _Plan:
    kinds = {field.number: _kind(field) for field in fields(cls).values()}
    return _Plan(kinds, vars(cls().parse(b"")))


def _kind(field: Any) -> _Kind:
    if field.kind == "map":
        return _Kind(field.name, WireType.BYTES, None, None, dict)
    if field.kind == "message":
        return _Kind(field.name, WireType.BYTES, None, field.message, list if field.repeated else None)
    if field.repeated:
        raise TypeError(f"{field.name}: the slice has no lists of numbers or texts")
    return _Kind(field.name, field.wire_type, _SCALARS[field.kind], None, None)


def _text(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _signed(value: int) -> int:
    return value - _MODULUS if value & _SIGN else value


_SCALARS: Mapping[str, Callable[[Any], object]] = {
    "string": _text,
    "bytes": bytes,
    "int64": _signed,
    "enum": _signed,
    "uint32": lambda value: value & 0xFFFFFFFF,
    "bool": bool,
}
