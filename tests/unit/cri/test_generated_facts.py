"""The generated messages against the facts of the CRI API: numbers, names, types, enum values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import betterproto
import pytest

from crirm.cri.fields import WIRE_TYPES
from crirm.cri.proto.runtime import v1
from crirm.cri.schema import Shape, schema

FACTS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "data" / "cri-v1-facts.json").read_text())
CLASSES = {name.lower(): name for name, value in vars(v1).items() if isinstance(value, type)}
MESSAGES = {n.lower() for n in FACTS["messages"]}


def same_name(ours: str, theirs: str) -> bool:
    """Betterproto writes class and field names in its own capitals; enum classes also lose the dot."""
    return ours.replace("_", "").lower() == theirs.replace("_", "").replace(".", "").lower()


def type_of(message: str, shape: Shape) -> str:
    described = getattr(v1, message)()._betterproto
    if shape.type == "map":
        return "map<{},{}>".format(*described.meta_by_field_name[shape.name].map_types)
    name = described.cls_by_field[shape.name].__name__ if shape.type in {"message", "enum"} else shape.type
    return f"repeated {name}" if shape.repeated else name


@pytest.mark.parametrize("message", sorted(FACTS["messages"]))
def test_a_message_has_the_fields_of_the_api(message: str) -> None:
    cls = CLASSES[message.lower()]
    shapes = schema(cls)
    facts = FACTS["messages"][message]
    assert sorted(shapes) == sorted(number for number, _type, _since in facts.values())
    for name, (number, theirs, _since) in facts.items():
        ours = type_of(cls, shapes[number])
        assert same_name(shapes[number].name, name)
        assert ours == theirs or same_name(ours, theirs) or same_name(ours, f"SecurityProfile.{theirs}")


@pytest.mark.parametrize("name", sorted(FACTS["enums"]))
def test_an_enum_has_the_values_of_the_api(name: str) -> None:
    cls: Any = getattr(v1, CLASSES[name.replace(".", "").lower()])
    ours = {int(member): str(member.name) for member in cls}
    theirs = {value: member for member, value in FACTS["enums"][name].items()}
    assert set(ours) == set(theirs)
    assert all(theirs[value].endswith(member) for value, member in ours.items())


def test_there_is_no_message_that_the_api_does_not_have() -> None:
    ours = {n for n, name in CLASSES.items() if issubclass(getattr(v1, name), betterproto.Message)}
    assert ours - MESSAGES == set()


def test_environment_values_are_bytes() -> None:
    assert schema("KeyValue")[2].type == "bytes"


def test_every_type_in_use_can_be_walked() -> None:
    types = {shape.type for name in MESSAGES for shape in schema(CLASSES[name]).values()}
    assert types == set(WIRE_TYPES)


def test_what_is_no_message_has_no_fields() -> None:
    assert schema("NoSuchMessage") == schema("") == schema("betterproto") == {}
