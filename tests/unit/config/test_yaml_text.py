from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from crirm.config import yaml_text
from crirm.config.nodes import MAX_DEPTH, MAX_NODES
from crirm.config.yaml_text import parse_yaml

from .reading import parse_faults, parsed

if TYPE_CHECKING:
    from crirm.config.faults import Fault


@pytest.fixture(params=["libyaml", "python"])
def either_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML may have been built without the parser in C."""
    if request.param == "python":
        monkeypatch.setattr(yaml_text, "_LOADER", yaml.SafeLoader)


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param("# only a comment\n", None, id="a comment"),
        pytest.param("---\n", None, id="an empty document"),
        pytest.param("a: {b: [1, x, 'y', \"n\"]}", {"a": {"b": [1, "x", "y", "n"]}}, id="nested"),
        pytest.param('{"a": {"b": [true, null, 1.5]}}', {"a": {"b": [True, None, 1.5]}}, id="JSON"),
        pytest.param("a: |\n  x\n  y\n", {"a": "x\ny\n"}, id="a literal text"),
        pytest.param("1: a\nyes: b\n1.5: c\n", {"1": "a", "true": "b", "1.5": "c"}, id="keys become texts"),
        pytest.param("a: &x [1]\nb: *x\n", {"a": [1], "b": [1]}, id="an alias"),
        pytest.param(
            "a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\n", {"a": {"p": 1, "q": 2}, "b": {"p": 1, "q": 3}}, id="<<"
        ),
        pytest.param(
            "a: &x {p: 1}\nb: &y {p: 2, q: 3}\nc: {<<: [*x, *y]}\n",
            {"a": {"p": 1}, "b": {"p": 2, "q": 3}, "c": {"p": 1, "q": 3}},
            id="the first mapping of << wins",
        ),
        pytest.param("'<<': 1\n", {"<<": 1}, id="<< in quotes is a key"),
        pytest.param(
            "a: !!str 5\nb: ! 5\nc: !!int '5'\nd: !!float 5\n", {"a": "5", "b": "5", "c": 5, "d": 5}, id="tags"
        ),
        pytest.param("a: !!map {b: !!seq [1]}\n", {"a": {"b": [1]}}, id="tags of collections"),
        pytest.param("&a a: 1\nb: *a\n", {"a": 1, "b": "a"}, id="a key with an anchor"),
    ],
)
def test_yaml_becomes_values(text: str, value: Any) -> None:
    assert parsed(text) == value


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    ("text", "faults"),
    [
        pytest.param("a: 1\nb: 2\na: 3\n", ["given twice, first on line 1; keep one @ $.a (line 3)"], id="twice"),
        pytest.param(
            "x:\n- {a: 1}\n- {a: 1, a: 2}\n",
            ["given twice, first on line 3; keep one @ $.x[1].a (line 3)"],
            id="in a list",
        ),
        pytest.param("? [a]\n: 1\n", ["expected a word as key, found a list or a mapping @ $ (line 1)"], id="key"),
        pytest.param("a: {~: 1}\n", ["expected a word as key, found nothing @ $.a (line 1)"], id="null key"),
        pytest.param("a: *x\n", ["alias *x has no anchor before it @ $.a (line 1)"], id="no anchor"),
        pytest.param("a: &x [*x]\n", ["alias *x refers to its own parent @ $.a[0] (line 1)"], id="recursion"),
        pytest.param("a: 1\n<<: 5\n", ["<< takes a mapping or a list of mappings @ $ (line 2)"], id="<< of a number"),
        pytest.param("a: !cmd x\n", ["tag '!cmd' is not allowed here; remove it @ $.a (line 1)"], id="a tag"),
        pytest.param(
            "a: !!int x\n", ["tag 'tag:yaml.org,2002:int' is not allowed here; remove it @ $.a (line 1)"], id="!!int"
        ),
        pytest.param(
            "a: !!set {}\n", ["tag 'tag:yaml.org,2002:set' is not allowed here; remove it @ $.a (line 1)"], id="!!set"
        ),
        pytest.param("\na: .nan\n", ["no option takes the number .nan @ $.a (line 2)"], id="no number"),
        pytest.param("a: !!float .inf\n", ["no option takes the number .inf @ $.a (line 1)"], id="infinity"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, faults: list[str]) -> None:
    assert parse_faults(text) == faults


@pytest.mark.usefixtures("either_parser")
@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("a: 1\nb: [1, 2\nc: 3\n", 3, id="an open bracket"),
        pytest.param("a: 1\n\tb: 2\n", 2, id="a tab"),
        pytest.param("a: 1\n b: 2\n", 2, id="wrong indentation"),
        pytest.param("a: 'x\n", 2, id="an open quote"),
        pytest.param("a: @x\n", 1, id="a reserved character"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(text: str, line: int) -> None:
    (fault,) = parse_faults(text)
    assert fault.startswith("not valid YAML: ")
    assert fault.endswith(f"@ $ (line {line})")


def test_all_faults_are_told_at_once() -> None:
    assert len(parse_faults("a: .nan\nb: 1\nb: 2\nc: !x y\n")) == 3


def test_another_document_is_named_and_left_out() -> None:
    faults: list[Fault] = []
    document = parse_yaml("a: 1\n---\nb: *nothing\n---\nc: 1\n", faults)
    assert faults == []
    assert document.root is not None
    assert set(document.root.entries) == {"a"}
    assert [str(remark) for remark in document.remarks] == [
        "ignored: another document begins here, and only the first one is read @ $ (line 3)"
    ]


def test_an_empty_document_at_the_end_goes_unnoticed() -> None:
    assert parse_yaml("a: 1\n---\n", []).remarks == ()


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(laughs(30), id="a billion laughs"),
        pytest.param("a: &a {x: 1, y: 2}\nb: {<<: [" + "*a," * MAX_NODES + "]}", id="many merges"),
        pytest.param("[" + "1," * MAX_NODES + "]", id="many values"),
    ],
)
def test_a_document_holds_a_bounded_number_of_values(text: str) -> None:
    (fault,) = parse_faults(text)
    assert fault.startswith(f"holds more than {MAX_NODES} values")


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), id="brackets"),
        pytest.param(
            "\n".join(["a0: &a0 [1]", *(f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, MAX_DEPTH + 2))]), id="aliases"
        ),
    ],
)
def test_a_document_has_a_bounded_depth(text: str) -> None:
    (fault,) = parse_faults(text)
    assert fault.startswith(f"is nested more than {MAX_DEPTH} levels deep")


def test_every_value_has_the_line_of_its_key() -> None:
    root = parse_yaml("a:\n  b: &x\n    c: 1\n  d:\n  - 5\n\n  - 6\ne: *x\n", []).root
    assert root is not None
    a = root.entries["a"]
    assert (a.line, a.entries["b"].line, a.entries["b"].entries["c"].line) == (1, 2, 3)
    items = a.entries["d"].value
    assert isinstance(items, list)
    assert [node.line for node in items] == [5, 7]
    assert root.entries["e"].line == 8


def test_a_text_of_several_lines_knows_its_first() -> None:
    root = parse_yaml("a: |\n  x: 1\nb: x\n", []).root
    assert root is not None
    assert (root.entries["a"].text_line, root.entries["b"].text_line) == (2, 3)
