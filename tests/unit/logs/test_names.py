from __future__ import annotations

import ast
from pathlib import Path

import pytest

import crirm
from crirm.logs.names import LATER_SOURCES, REFERENCE_SOURCES, SOURCES, complaint, own_name

PACKAGE = Path(crirm.__file__).parent
OF_LIBRARIES = {"grpc", "stdlog"}


def sources_in_use() -> set[str]:
    trees = [ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py") if "proto" not in path.parts]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {
        argument.value
        for call in calls
        if getattr(call.func, "id", getattr(call.func, "attr", None)) == "get_logger"
        for argument in call.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


def test_the_table_lists_the_sources_that_modules_use_and_no_others() -> None:
    assert sources_in_use() | OF_LIBRARIES == set(SOURCES)


def test_names_of_the_reference_lead_to_sources_that_exist() -> None:
    assert set(REFERENCE_SOURCES.values()) <= set(SOURCES)
    assert not (set(REFERENCE_SOURCES) | LATER_SOURCES) & set(SOURCES)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        pytest.param("relay", None, id="a source that exists"),
        pytest.param("*", None, id="every source"),
        pytest.param("mine", None, id="a source that registered itself"),
        pytest.param("relya", "no such source (did you mean relay?)", id="a misspelt one, with the nearest"),
        pytest.param("zzzz", "no such source", id="one that is near none"),
        pytest.param("rdt", "this version of crirm has no such source", id="one whose feature is to come"),
    ],
)
def test_complaints_about_sources(source: str, said: str | None) -> None:
    assert complaint(source, known={"mine"}) == said


def test_sources_of_the_reference_are_switched_under_their_new_names() -> None:
    assert own_name("cri/relay") == "relay"
    assert own_name("message") == "message"
