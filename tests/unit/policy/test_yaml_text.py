from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crirm.policy.yaml_text import YamlTextError, parse_yaml

BOMB = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghi"))


@pytest.mark.parametrize(
    ("text", "document"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param("true", "true", id="a text"),
        pytest.param(
            "a: yes\nb: 010\nc: 2001-99-99\nd:\n", {"a": "yes", "b": "010", "c": "2001-99-99", "d": ""}, id="no types"
        ),
        pytest.param("a: [b, {c: d}]", {"a": ["b", {"c": "d"}]}, id="lists and mappings"),
        pytest.param('{"a": ["b", 1]}', {"a": ["b", "1"]}, id="JSON"),
        pytest.param("a: &x {k: v}\nb: *x", {"a": {"k": "v"}, "b": {"k": "v"}}, id="an alias"),
        pytest.param("!!python/object/apply:os.system [ls]", ["ls"], id="tags make nothing happen"),
    ],
)
def test_documents(text: str, document: object) -> None:
    assert document == parse_yaml(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        pytest.param("a: [b", "is not valid YAML: expected ',' or ']', but got '<stream end>' at line 1", id="broken"),
        pytest.param("a: 1\nb: 2\na: 3", "is not valid YAML: 'a' is duplicated at line 3, character 1", id="twice"),
        pytest.param("? [a]\n: b", "a key is not a plain string at line 1", id="a list as a key"),
        pytest.param("a: 1\n---\nb: 2", "but found another document at line 2", id="two documents"),
        pytest.param("&a [*a]", "found unconstructable recursive node", id="a list within itself"),
        pytest.param("a: \0", "is not valid YAML: unacceptable character", id="an impossible character"),
        pytest.param("[" * 500, "is not valid YAML: nested too deeply at line 1, character 17", id="deep nesting"),
        pytest.param("- " * 500, "is not valid YAML: nested too deeply", id="deep nesting without brackets"),
        pytest.param("a: [" + "b," * 500 + "]", "has too many parts (503 brackets", id="many small parts"),
        pytest.param("- a\n" * 251, "has too many parts (502 brackets", id="many short lines"),
        pytest.param("a" * 16385, "is too long (16385 characters); the limit is 16384", id="too long"),
    ],
)
def test_faults(text: str, fault: str) -> None:
    with pytest.raises(YamlTextError) as caught:
        parse_yaml(text)
    assert fault in str(caught.value)


def test_aliases_do_not_multiply() -> None:
    assert isinstance(parse_yaml(BOMB), dict)


@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"?#,%@` \n\t\0é"), max_size=60) | st.text(max_size=60))
@example("&a [*a]")
@example("? [a]: b")
@example("a: b: c")
@example("\0")
@example("[" * 17)
def test_any_text_is_a_document_or_a_fault(text: str) -> None:
    try:
        parse_yaml(text)
    except YamlTextError:
        return
