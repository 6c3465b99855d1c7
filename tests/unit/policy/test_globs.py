from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crirm.policy.globs import GlobError, compile_globs


def glob_matches(pattern: str, text: str) -> bool:
    return compile_globs((pattern,)).match(text) is not None


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        pytest.param("abc", "abc", True, id="plain text"),
        pytest.param("abc", "abcd", False, id="the whole text counts"),
        pytest.param("abc", "abc\n", False, id="a newline at the end counts"),
        pytest.param("", "", True, id="nothing"),
        pytest.param("*", "", True, id="a star stands for nothing"),
        pytest.param("kube-*", "kube-system", True, id="a star stands for anything"),
        pytest.param("*", "a/b", False, id="but a slash"),
        pytest.param("*/b", "a/b", True, id="a slash stands for itself"),
        pytest.param("*a*b*c", "xaybzc", True, id="several stars"),
        pytest.param("*ab", "aab", True, id="the end counts for the last star"),
        pytest.param("a**b", "ab", True, id="stars side by side"),
        pytest.param("a?c", "abc", True, id="a question mark is one character"),
        pytest.param("a?c", "a/c", False, id="but no slash"),
        pytest.param("[a-cx]1", "b1", True, id="a class"),
        pytest.param("[a-cx]1", "d1", False, id="outside a class"),
        pytest.param("[^a-c]1", "d1", True, id="a negated class"),
        pytest.param("[^a-c]1", "/1", False, id="a negated class has no slash"),
        pytest.param("[!a]", "!", True, id="only a circumflex negates"),
        pytest.param(r"\*", "*", True, id="a backslash"),
        pytest.param(r"\*", "a", False, id="makes a star a star"),
        pytest.param(r"[\]\-]", "-", True, id="a backslash within a class"),
        pytest.param("a.c", "abc", False, id="a dot is a dot"),
    ],
)
def test_matching(pattern: str, text: str, expected: bool) -> None:
    assert expected is glob_matches(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        pytest.param("[a", "its [ is not closed or its class is malformed", id="an open class"),
        pytest.param("[]a]", "its [ is not closed or its class is malformed", id="an empty class"),
        pytest.param("[^]", "its [ is not closed or its class is malformed", id="an empty negated class"),
        pytest.param("[a-]", "its [ is not closed or its class is malformed", id="an open range"),
        pytest.param("[z-a]", "z-a runs backwards", id="a range that runs backwards"),
        pytest.param("a\\", "nothing follows its last backslash", id="a backslash at the end"),
    ],
)
def test_faults(pattern: str, fault: str) -> None:
    with pytest.raises(GlobError, match=f"^{re.escape(repr(pattern))} is not a glob pattern: {re.escape(fault)}$"):
        compile_globs((pattern,))


@given(st.text("ab*?", max_size=8), st.text("abc", max_size=10))
def test_without_slashes_it_is_the_shells_matching(pattern: str, text: str) -> None:
    assert fnmatchcase(text, pattern) is glob_matches(pattern, text)


@given(st.text("ab/*[]^-\\?", max_size=12), st.text("ab/", max_size=6))
@example("[b-a]", "a")
@example("[^/]", "/")
@example("\\", "a")
@example("[]a]", "a")
def test_any_pattern_matches_or_not_or_is_a_fault(pattern: str, text: str) -> None:
    try:
        found = glob_matches(pattern, text)
    except GlobError:
        return
    if found:
        assert text.count("/") <= pattern.count("/"), "only a slash stands for a slash"


def test_no_pattern_makes_matching_slow() -> None:
    assert not glob_matches("*a" * 40 + "b", "a" * 250)  # takes for ever where every star tries every place
