from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.config.nodes import MAX_BYTES
from crirm.config.text import is_toml, parse

if TYPE_CHECKING:
    from crirm.config.faults import Fault


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[policy]\n", id="a table"),
        pytest.param("# comment\n\n  [ a . 'b c' . \"d\" ]  # more\n", id="a table after a comment"),
        pytest.param("[[a]]\n", id="an array of tables"),
        pytest.param('policy.Active = "none"\n', id="a dotted key"),
        pytest.param("'a b'='x'\n", id="a key in quotes"),
        pytest.param('"a".b = 1\n', id="a key of which a part is in quotes"),
    ],
)
def test_toml_is_recognised(text: str) -> None:
    assert is_toml(text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("# [policy]\n", id="a comment"),
        pytest.param("policy:\n  Active = x\n", id="a mapping"),
        pytest.param("---\n[a]\n", id="a marked document"),
        pytest.param("%YAML 1.1\n---\na: 1\n", id="a directive"),
        pytest.param('{"policy": {"Active": "a = b"}}', id="JSON"),
        pytest.param("'a b': c=d\n", id="a key in quotes"),
        pytest.param("[a, b]\n", id="a list"),
        pytest.param("a: [b] = c\n", id="an equals sign further on"),
        pytest.param("a" * 100_000, id="a very long word"),
    ],
)
def test_anything_else_is_yaml(text: str) -> None:
    assert not is_toml(text)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        pytest.param(b"a: 1\nb: \xff\n", "is not UTF-8: invalid byte 0xff @ $ (line 2)", id="bytes"),
        pytest.param("a: ä".encode("utf-16"), "is not UTF-8: invalid byte 0xff @ $ (line 1)", id="UTF-16"),
        pytest.param(b"\xef\xbb\xbfa: \xe4\n", "is not UTF-8: invalid byte 0xe4 @ $ (line 1)", id="Latin-1"),
        pytest.param(
            b"a:\n- \x00\n", "contains the control character U+0000; remove it @ $ (line 2)", id="a null byte"
        ),
        pytest.param(
            b"a: \x1b[0m\n", "contains the control character U+001B; remove it @ $ (line 1)", id="a terminal's"
        ),
        pytest.param(
            b"#" * (MAX_BYTES + 1),
            "is larger than 1024 KiB @ $",
            id="too large",
        ),
    ],
)
def test_what_is_no_text_is_a_fault(data: bytes, fault: str) -> None:
    faults: list[Fault] = []
    assert parse(data, faults).root is None
    assert [str(one) for one in faults] == [fault]


def test_a_byte_order_mark_does_not_matter() -> None:
    faults: list[Fault] = []
    for text in ("a: 1", "[a]"):
        root = parse(text.encode("utf-8-sig"), faults).root
        assert root is not None
        assert list(root.entries) == ["a"]
    assert faults == []


def test_the_largest_file_is_read() -> None:
    assert parse(b"#" * MAX_BYTES, []).root is None
