"""The schema as JSON Schema, for editors and other tools."""

from __future__ import annotations

from typing import Any, Final

import attrs

from crirm.config.cpus import CPUs
from crirm.config.logger import Flags
from crirm.config.option import Option, options_of
from crirm.config.schema import SECTIONS, children_of
from crirm.config.structure import Seconds
from crirm.config.write import plain_of
from crirm.policy.registry import POLICIES

_WORD: Final = {"type": ["string", "number", "boolean"]}
_KINDS: Final[tuple[tuple[Any, dict[str, Any]], ...]] = (
    (bool, {"type": ["boolean", "null"]}),
    (str, {"type": ["string", "number", "boolean", "null"]}),
    (CPUs | None, {"type": ["string", "number", "null"]}),
    (tuple[str, ...], {"type": ["array", "null"], "items": _WORD}),
    (Flags, {"type": ["object", "null"], "additionalProperties": _WORD}),
    (Seconds, {"type": ["string", "null"]}),
)
"""JSON types by option type; an empty value is null, which means the default."""


def json_schema() -> dict[str, Any]:
    """Return the schema of a configuration file, in JSON Schema 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of crirm",
        "$defs": {section.name: _section(section.name) for section in SECTIONS.values()},
        **_object("", {}),
    }


def _section(name: str) -> dict[str, Any]:
    section = SECTIONS[name]
    if section.type is None:
        return {"description": f"{section.text} No effect yet.", "type": ["object", "null"]}
    properties = {option.key: _option(option) for option in section.options}
    return {"description": section.text, **_object(name, properties)}


def _object(name: str, properties: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the section *name*: its options, and the sections below it, nested or dotted."""
    prefix = f"{name}." if name else ""
    below = [section.removeprefix(prefix) for section in SECTIONS if section.startswith(prefix) and section != name]
    references = {one: {"$ref": f"#/$defs/{prefix}{one}"} for one in below}
    dotted = {f"{one}.{option.key}": _option(option) for one in below for option in SECTIONS[prefix + one].options}
    namespaces = {head: _object(prefix + head, {}) for head in children_of(name) if prefix + head not in SECTIONS}
    return {
        "type": ["object", "null"],
        "properties": {**properties, **references, **dotted, **namespaces},
        "additionalProperties": False,
    }


def _option(option: Option) -> dict[str, Any]:
    kind = _kind(option.type)
    if option.key == "Active":
        kind = {"enum": [*POLICIES, None]}
    return {"description": option.text, "default": plain_of(option.default), **kind}


def _kind(type_: Any) -> dict[str, Any]:
    if attrs.has(type_):
        inner = {f"^{_any_case(option.key)}$": _option(option) for option in options_of(type_)}
        return {"type": ["object", "null"], "patternProperties": inner, "additionalProperties": False}
    return next(kind for known, kind in _KINDS if known == type_)


def _any_case(key: str) -> str:
    return "".join(f"[{letter.upper()}{letter.lower()}]" for letter in key)
