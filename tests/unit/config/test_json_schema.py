from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from crirm.config.json_schema import json_schema
from crirm.config.nodes import plain
from crirm.config.text import parse
from crirm.config.write import as_plain

from .strategies import configs

if TYPE_CHECKING:
    from crirm.config.config import Config

SCHEMA = json_schema()
CONFIGS = Path(__file__).parents[3] / "configs"
TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}


def complaints(value: Any, schema: Any, path: str = "$") -> list[str]:
    """What is wrong with *value*, by as much of JSON Schema as the schema uses."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{path}: {value} is none of {schema['enum']}"]
    if "type" in schema and not any(is_a(value, kind) for kind in schema["type"]):
        return [f"{path}: {value!r} is not {schema['type']}"]
    if isinstance(value, list):
        return [one for item in value for one in complaints(item, schema.get("items", {}), f"{path}[]")]
    if not isinstance(value, dict):
        return []
    return [one for key, inner in value.items() for one in complaints(inner, schema_of(key, schema), f"{path}.{key}")]


def is_a(value: Any, kind: str) -> bool:
    return isinstance(value, TYPES[kind]) and (isinstance(value, bool) <= (kind == "boolean"))


def schema_of(key: str, schema: Any) -> Any:
    known = schema.get("properties", {})
    patterns = [inner for pattern, inner in schema.get("patternProperties", {}).items() if re.search(pattern, key)]
    if key in known or patterns:
        return known[key] if key in known else patterns[0]
    other = schema.get("additionalProperties", {})
    return {"enum": []} if other is False else other


def test_the_schema_is_json() -> None:
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize(
    "path", sorted(path for path in CONFIGS.iterdir() if path.stem != "configmap"), ids=lambda path: path.name
)
def test_the_samples_fit_the_schema(path: Path) -> None:
    root = parse(path.read_bytes(), []).root
    assert root is not None
    assert complaints(plain(root), SCHEMA) == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(configs())
def test_every_configuration_fits_the_schema(config: Config) -> None:
    assert complaints(as_plain(config), SCHEMA) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("policy: {Active: memtier, memtier.PinCPU: false}", id="a dotted option"),
        pytest.param("policy.memtier: {PinCPU:}", id="a dotted section"),
        pytest.param("policy.memtier.PinCPU: true", id="a dotted option at the top"),
        pytest.param("resource-manager: {control: {x: 1}}", id="a section below none"),
        pytest.param("policy: {ReservedResources: {cpu: 1}}", id="a key in another case"),
        pytest.param("logger:", id="nothing in a section"),
    ],
)
def test_what_loads_fits_the_schema(text: str) -> None:
    assert complaints(yaml.safe_load(text), SCHEMA) == []


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("polcy: {}", id="a section"),
        pytest.param("policy: {active: none}", id="an option"),
        pytest.param("policy: {Active: balloons}", id="a policy to come"),
        pytest.param("policy: {ReservedResources: {Memory: 1}}", id="a resource"),
        pytest.param("dump: {Debug: 'true'}", id="a text for a boolean"),
        pytest.param("policy: {memtier: {ReservedPoolNamespaces: a}}", id="a text for a list"),
        pytest.param("resource-manager: {controls: {}}", id="a section below none"),
    ],
)
def test_what_is_refused_does_not_fit_the_schema(text: str) -> None:
    assert complaints(yaml.safe_load(text), SCHEMA) != []
