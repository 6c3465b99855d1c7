"""The fields of generated message classes, in the form that a walk over the wire needs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import attrs

from crirm.cri.fields import Field, fields

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.cri.wire import WireType

# Environment values, registry credentials, and the free-form "info" of verbose answers, where containerd repeats both.
SECRET_FIELDS: Final = frozenset(
    (
        ("KeyValue", "value"),
        ("AuthConfig", "auth"),
        ("AuthConfig", "identity_token"),
        ("AuthConfig", "password"),
        ("AuthConfig", "registry_token"),
        ("ContainerStatusResponse", "info"),
        ("ImageStatusResponse", "info"),
        ("PodSandboxStatusResponse", "info"),
        ("StatusResponse", "info"),
    )
)
SECRET_MESSAGES: Final = frozenset(("AuthConfig", "KeyValue"))  # fields added to them later count as secrets


@attrs.frozen
class Shape:
    """One field of a message class."""

    name: str
    type: str  # a key of fields.WIRE_TYPES
    wire_type: WireType
    repeated: bool
    message: str  # class of a nested message
    enum_names: Mapping[int, str]
    secret: bool


@cache
def schema(message: str) -> Mapping[int, Shape]:
    """Return the fields of the message class *message* by number; none if there is no such class."""
    cls = getattr(_messages(), message, None)
    if not isinstance(cls, type):
        return {}
    return {field.number: _shape(message, field) for field in fields(cls).values()}


def _shape(message: str, field: Field) -> Shape:
    return Shape(
        name=field.name,
        type=field.kind,
        wire_type=field.wire_type,
        repeated=field.repeated,
        message=field.message.__name__ if field.message else "",
        enum_names={int(member): member.name for member in field.cls} if field.kind == "enum" else {},
        secret=(message, field.name) in SECRET_FIELDS,
    )


def _messages() -> Any:
    """Import the generated messages on first use: they cost 0.2 s and 18 MiB."""
    from crirm.cri.proto.runtime import v1  # noqa: PLC0415

    return v1
