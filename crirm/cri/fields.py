"""What the generated messages know of their fields; who only needs numbers takes them from `numbers`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from crirm.cri.wire import WireType

if TYPE_CHECKING:
    from collections.abc import Mapping

    import betterproto

WIRE_TYPES: Final = {
    "bool": WireType.VARINT, "enum": WireType.VARINT, "int32": WireType.VARINT, "int64": WireType.VARINT,
    "uint32": WireType.VARINT, "uint64": WireType.VARINT, "double": WireType.FIXED64,
    "bytes": WireType.BYTES, "map": WireType.BYTES, "message": WireType.BYTES, "string": WireType.BYTES,
}  # fmt: skip  # all that CRI uses; a test holds the generated classes against it


class Field(NamedTuple):
    """One field of a generated message.

    Args:
        name: in the generated class.
        number: on the wire.
        kind: a key of `WIRE_TYPES`.
        repeated: whether it is a list.
        cls: of a nested message or enum; otherwise None.
    """

    name: str
    number: int
    kind: str
    repeated: bool
    cls: Any

    @property
    def wire_type(self) -> WireType:
        """Its wire type."""
        return WIRE_TYPES[self.kind]

    @property
    def message(self) -> type[betterproto.Message] | None:
        """The class of a nested message."""
        return self.cls if self.kind == "message" else None


@cache
def fields(message: type[betterproto.Message]) -> Mapping[str, Field]:
    """Return the fields of a generated class by name."""
    known: Any = message()._betterproto  # type: ignore[arg-type] # betterproto has no public description of its classes
    return {
        name: _field(name, known.meta_by_field_name[name], known.cls_by_field[name], known.default_gen[name])
        for name in known.field_name_by_number.values()
    }


def _field(name: str, meta: Any, cls: Any, default: Any) -> Field:
    return Field(
        name, meta.number, meta.proto_type, default is list, cls if meta.proto_type in {"message", "enum"} else None
    )
