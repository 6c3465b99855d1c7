from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from crirm.config.nodes import MAX_DEPTH, MAX_NODES, line_at
from crirm.config.toml_text import parse_toml

from .reading import parse_faults, parsed

if TYPE_CHECKING:
    from crirm.config.faults import Fault


def test_toml_becomes_values() -> None:
    text = '[a]\nb.c = 1\nd = ["x", 1.5, true]\n[[e]]\nf = {g = "h"}\n'
    assert parsed(text) == {"a": {"b": {"c": 1}, "d": ["x", 1.5, True]}, "e": [{"f": {"g": "h"}}]}


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        pytest.param("[a]\nb = nan\n", ["no option takes the number nan @ $.a.b (line 2)"], id="no number"),
        pytest.param("[a]\n\nb = [1, -inf]\n", ["no option takes the number -inf @ $.a.b[1] (line 3)"], id="inf"),
        pytest.param(
            "a = 2001-12-14\n",
            ["no option takes a date or time; quote it to make it a string @ $.a (line 1)"],
            id="a date",
        ),
        pytest.param("a = 0xffffffffffffffffff\n", ["the number exceeds 64 bits @ $.a (line 1)"], id="a large number"),
        pytest.param("a = 1\nb = \n", ["not valid TOML: invalid value @ $ (line 2)"], id="no value"),
        pytest.param("a = 1\na = 2\n", ["not valid TOML: cannot overwrite a value @ $ (line 2)"], id="twice"),
        pytest.param("[a]\n[a]\n", ["not valid TOML: cannot declare ('a',) twice @ $ (line 2)"], id="a table twice"),
        pytest.param("a = 'x", ['not valid TOML: expected "\'" @ $'], id="an open quote"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, faults: list[str]) -> None:
    assert parse_faults(text) == faults


def test_a_number_of_very_many_digits_is_a_fault() -> None:
    (fault,) = parse_faults(f"a = {'9' * 5000}")
    assert fault.startswith("not valid TOML: ")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a = " + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), id="arrays"),
        pytest.param("a = " + "[" * 200_000, id="arrays that never end"),
        pytest.param("a" + ".a" * MAX_DEPTH + " = 1", id="a dotted key"),
        pytest.param("a" + ".a" * 200_000 + " = 1", id="a very long dotted key"),
        pytest.param("[a" + ".a" * MAX_DEPTH + "]", id="a table"),
        pytest.param("a" + ".a" * (MAX_DEPTH // 2) + " = {b" + ".b" * (MAX_DEPTH // 2) + " = 1}", id="both"),
    ],
)
def test_a_document_has_a_bounded_depth(text: str) -> None:
    (fault,) = parse_faults(text)
    assert fault.startswith(f"is nested more than {MAX_DEPTH} levels deep")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a = [" + "1," * MAX_NODES + "]", id="in an array"),
        pytest.param("a=1\n" * (MAX_NODES + 2), id="as statements"),
    ],
)
def test_a_document_holds_a_bounded_number_of_values(text: str) -> None:
    assert parse_faults(text) == [f"holds more than {MAX_NODES} values @ $"]


LINES = '''\
top = 1
[a.b] # comment with [ and = and "
"quoted key" = 2
text = """
[not.a.table]
not = "a key"
"""
other = \'\'\'
x = 1 \'\'\'
array = [ # [
  1, "]",
  {x = 2},
]
x.y.z = 3
[[list]]
n = 1
  [list.sub]
  m = 2

[[list]]
n = 3
['e.f'] # the end
g = 1'''


@pytest.mark.parametrize(
    ("path", "line"),
    [
        pytest.param(("top",), 1, id="at the top"),
        pytest.param(("a",), 1, id="a table that is only named in another has no line of its own"),
        pytest.param(("a", "b"), 2, id="table"),
        pytest.param(("a", "b", "quoted key"), 3, id="key in quotes"),
        pytest.param(("a", "b", "text"), 4, id="text of several lines"),
        pytest.param(("a", "b", "other"), 8, id="key after a text of several lines"),
        pytest.param(("a", "b", "array"), 10, id="array"),
        pytest.param(("a", "b", "array", 2, "x"), 10, id="what is in an array stands where it begins"),
        pytest.param(("a", "b", "x", "y", "z"), 14, id="dotted key"),
        pytest.param(("list", 0), 15, id="first table of an array"),
        pytest.param(("list", 0, "sub", "m"), 18, id="table in the first table of an array"),
        pytest.param(("list", 1, "n"), 21, id="second table of an array"),
        pytest.param(("e.f", "g"), 23, id="table in quotes"),
    ],
)
def test_every_value_has_the_line_of_its_key(path: tuple[str | int, ...], line: int) -> None:
    faults: list[Fault] = []
    root = parse_toml(LINES, faults).root
    assert faults == []
    assert root is not None
    assert line_at(root, path) == line


def test_a_place_that_is_not_there_has_the_line_of_what_is_around_it() -> None:
    root = parse_toml(LINES, []).root
    assert root is not None
    paths: list[tuple[Any, ...]] = [("a", "b", "nothing"), ("list", 7, "n"), ("top", "x"), ("A", "B", "TEXT")]
    assert [line_at(root, path) for path in paths] == [2, 1, 1, 4]
