from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from crirm.config.load import load
from crirm.config.option import keys_of
from crirm.config.schema import SECTIONS
from crirm.policy.registry import POLICIES

SAMPLES = sorted((Path(__file__).parents[3] / "configs").iterdir())


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_loads_without_a_warning(path: Path) -> None:
    assert load(path.read_bytes(), path.name).warnings == ()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_sample_is_explained(path: Path) -> None:
    assert path.read_text().startswith("# ")


def test_there_is_a_sample_of_every_policy() -> None:
    assert {load(path.read_bytes(), path.name).config.policy_name for path in SAMPLES} == set(POLICIES)


@pytest.mark.parametrize(
    ("name", "sections"),
    [
        pytest.param("topology-aware.yaml", ("policy", "policy.topology-aware"), id="topology-aware"),
        pytest.param("static.yaml", ("policy", "policy.static"), id="static"),
        pytest.param("logging.yaml", ("logger",), id="logging"),
        pytest.param("message-dump.yaml", ("dump",), id="message dump"),
        pytest.param("state.yaml", ("state",), id="state"),
    ],
)
def test_a_sample_names_every_option(name: str, sections: tuple[str, ...]) -> None:
    (text,) = (path.read_text() for path in SAMPLES if path.name == name)
    for section in sections:
        for option in SECTIONS[section].options:
            assert f"{option.key}:" in text


@pytest.mark.parametrize("path", [path for path in SAMPLES if path.suffix == ".yaml"], ids=lambda path: path.name)
def test_what_a_sample_has_behind_a_hash_is_the_default(path: Path) -> None:
    """A line ``#Key: value`` without a blank can be switched on, and then changes nothing."""
    lines = path.read_text().splitlines()
    switched = [line.replace("#", "", 1) if is_default(line) else line for line in lines]
    assert load("\n".join(switched).encode(), path.name).config == load(path.read_bytes(), path.name).config


def is_default(line: str) -> bool:
    options = {key for one in SECTIONS.values() if one.type is not None for key in keys_of(one.type)}
    return line.lstrip().startswith("#") and line.strip().removeprefix("#").partition(":")[0] in options


def test_every_policy_with_options_has_them_in_its_sample() -> None:
    for policy in POLICIES.values():
        if attrs.fields(policy.options):
            assert any(f"  {policy.name}:" in path.read_text() for path in SAMPLES)
