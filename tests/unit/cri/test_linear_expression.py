"""Expressions mean what they mean elsewhere, and take no longer than they are long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.cri.linear_expression import LARGEST, ExpressionError, LinearExpression
from crirm.cri.methods import METHODS

_ATOMS = st.sampled_from(["a", "b", ".", "[ab]", "[^a]", r"\w", r"\.", "^", "$", r"\b", "[]a]"])
_EXPRESSIONS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"(?:{two[0]}|{two[1]})"),
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{0,2}", "{1,}", "*?"])).map(
            lambda two: f"({two[0]}){two[1]}"
        ),
    ),
    max_leaves=8,
)


@given(_EXPRESSIONS, st.text(alphabet="ab.A ", max_size=8), st.booleans())
def test_it_finds_what_pythons_engine_finds(expression: str, text: str, any_case: bool) -> None:
    expression = f"(?i){expression}" if any_case else expression
    assert LinearExpression.compile(expression).search(text) is (re.search(expression, text) is not None)


@pytest.mark.parametrize(
    "expression",
    [
        "(a+)+$",
        "(a|a)*b",
        "(a|aa)+$",
        "((a*)*)*b",
        ".*.*.*.*.*.*.*.*.*x",
        "(.+)+[0-9]",
        "(a?){40}a{40}b",
    ],
)
def test_what_takes_others_for_ever_is_over_at_once(expression: str) -> None:
    assert not LinearExpression.compile(expression).search("a" * 200 + "!")


def test_every_method_is_found_as_with_pythons_engine() -> None:
    expression = "((Create)|(Start)|(Run)|(Update)|(Stop)|(Remove)).*"
    names = [name for _service, name in METHODS]
    found = [name for name in names if LinearExpression.compile(expression).search(name)]
    assert found == [name for name in names if re.search(expression, name)]


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        pytest.param("(", "missing )", id="a group without end"),
        pytest.param("*a", "nothing to repeat", id="a star that repeats nothing"),
        pytest.param(r"(a)\1", r"\1 is not supported", id="a back reference"),
        pytest.param("(?=a)b", "(?= is not supported", id="a look ahead"),
        pytest.param("(?<!a)b", "(?< is not supported", id="a look behind"),
        pytest.param("(?>a+)b", "(?> is not supported", id="an atomic group"),
        pytest.param("a++b", "a + after a repetition", id="a possessive repetition"),
        pytest.param("((a{99}){99}){99}", f"more than {LARGEST} steps", id="one that is large when written out"),
        pytest.param("a|" * 999 + "a", f"more than {LARGEST} steps", id="many alternatives"),
        pytest.param("a" * 3000, "3000 characters", id="a very long one"),
        pytest.param("(" * 60 + "a" + ")" * 60, "nested more than", id="many groups within each other"),
    ],
)
def test_what_cannot_be_had_is_refused(expression: str, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        LinearExpression.compile(expression)
    assert said in str(caught.value)
