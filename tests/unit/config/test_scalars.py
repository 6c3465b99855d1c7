from __future__ import annotations

import math

import pytest

from crirm.config.scalars import Scalar, as_text, resolve


@pytest.mark.parametrize(
    ("word", "value"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param("~", None, id="tilde"),
        pytest.param("Null", None, id="null"),
        pytest.param("yes", True, id="yes is true"),
        pytest.param("On", True, id="on is true"),
        pytest.param("y", True, id="y is true, other than in PyYAML"),
        pytest.param("no", False, id="no is false"),
        pytest.param("OFF", False, id="off is false"),
        pytest.param("oN", "oN", id="mixed case is a text"),
        pytest.param("none", "none", id="a word"),
        pytest.param("12", 12, id="a whole number"),
        pytest.param("+12", 12, id="a plus"),
        pytest.param("-12", -12, id="a minus"),
        pytest.param("1_000", 1000, id="underscores group digits"),
        pytest.param("010", 8, id="a leading zero is octal"),
        pytest.param("0o17", 15, id="octal"),
        pytest.param("0x1F", 31, id="hexadecimal"),
        pytest.param("0b101", 5, id="binary"),
        pytest.param("08", 8.0, id="no octal number is a decimal fraction"),
        pytest.param("18446744073709551615", 18446744073709551615, id="64 bits without sign"),
        pytest.param("18446744073709551616", 18446744073709551616.0, id="more than 64 bits is a fraction"),
        pytest.param("-9223372036854775809", -9223372036854775809.0, id="less than 64 bits is a fraction"),
        pytest.param("9" * 400, "9" * 400, id="more than any number is a text"),
        pytest.param("1.5", 1.5, id="a fraction"),
        pytest.param(".5", 0.5, id="a fraction without its zero"),
        pytest.param("1e3", 1000.0, id="an exponent without a dot, other than in PyYAML"),
        pytest.param(".inf", math.inf, id="infinity"),
        pytest.param("-.inf", -math.inf, id="minus infinity"),
        pytest.param("12:30", "12:30", id="base 60 is a text, other than in PyYAML"),
        pytest.param("2001-12-14", "2001-12-14", id="a date is a text, other than in PyYAML"),
        pytest.param("0-3", "0-3", id="a list of CPUs"),
        pytest.param("750m", "750m", id="a quantity"),
        pytest.param("-", "-", id="a dash"),
        pytest.param("1.2.3", "1.2.3", id="a version"),
    ],
)
def test_an_unquoted_word_means_what_it_meant_to_the_original(word: str, value: Scalar) -> None:
    found = resolve(word)
    assert (found, type(found)) == (value, type(value))


def test_no_number_is_recognised() -> None:
    assert math.isnan(float(str(resolve(".nan"))))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param("a", "a", id="text"),
        pytest.param(True, "true", id="true"),
        pytest.param(False, "false", id="false"),
        pytest.param(8, "8", id="whole"),
        pytest.param(2.0, "2", id="a fraction that is whole"),
        pytest.param(1.5, "1.5", id="a fraction"),
        pytest.param(1e30, "1e+30", id="a large one"),
    ],
)
def test_a_scalar_as_a_text(value: Scalar, text: str) -> None:
    assert as_text(value) == text
