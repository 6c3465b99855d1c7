"""What the generated message classes know about their fields, in the form that a walk over the wire needs."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final

import attrs

from crirm.cri.wire import WireType

if TYPE_CHECKING:
    from collections.abc import Mapping

WIRE_TYPES: Final = {
    "bool": WireType.VARINT, "enum": WireType.VARINT, "int32": WireType.VARINT, "int64": WireType.VARINT,
    "uint32": WireType.VARINT, "uint64": WireType.VARINT, "double": WireType.FIXED64,
    "bytes": WireType.BYTES, "map": WireType.BYTES, "message": WireType.BYTES, "string": WireType.BYTES,
}  # fmt: skip  # all that CRI uses; a test holds the generated classes against it

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
SECRET_MESSAGES: Final = frozenset(("AuthConfig", "KeyValue"))  # fields that they may get later are taken for secrets


@attrs.frozen
class Shape:
    """One field of a message class."""

    name: str
    type: str  # a key of WIRE_TYPES
    wire_type: WireType
    repeated: bool
    message: str  # class of a nested message
    enum_names: Mapping[int, str]
    secret: bool


@cache
def schema(message: str) -> Mapping[int, Shape]:
    """Return the fields of the message class called *message* by number; none when there is no such class."""
    cls = getattr(_messages(), message, None)
    if not isinstance(cls, type):
        return {}
    described = cls()._betterproto  # betterproto has no public description of its classes
    return {
        number: _shape(message, name, described.meta_by_field_name[name].proto_type, described)
        for number, name in described.field_name_by_number.items()
    }


def _shape(message: str, name: str, proto_type: str, described: Any) -> Shape:
    value_class = described.cls_by_field[name]
    return Shape(
        name=name,
        type=proto_type,
        wire_type=WIRE_TYPES[proto_type],
        repeated=described.default_gen[name] is list,
        message=value_class.__name__ if proto_type == "message" else "",
        enum_names={int(member): member.name for member in value_class} if proto_type == "enum" else {},
        secret=(message, name) in SECRET_FIELDS,
    )


def _messages() -> Any:
    """Import the generated messages when they are first needed: they cost 0.2 s and 18 MiB."""
    from crirm.cri.proto.runtime import v1  # noqa: PLC0415

    return v1
