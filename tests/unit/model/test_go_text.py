from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crirm.model.go_text import GoTextError, parse_bool, parse_duration_s


@pytest.mark.parametrize("text", ["1", "t", "T", "TRUE", "true", "True"])
def test_true(text: str) -> None:
    assert parse_bool(text) is True


@pytest.mark.parametrize("text", ["0", "f", "F", "FALSE", "false", "False"])
def test_false(text: str) -> None:
    assert parse_bool(text) is False


@pytest.mark.parametrize("text", ["", "yes", "tRUE", "2", " true"])
def test_no_boolean(text: str) -> None:
    with pytest.raises(GoTextError, match=r"is not a boolean; write true or false$"):
        parse_bool(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("0", 0.0, id="zero needs no unit"),
        pytest.param("60s", 60.0, id="seconds"),
        pytest.param("1h30m", 5400.0, id="several units"),
        pytest.param("1.5m", 90.0, id="a fraction"),
        pytest.param(".5s", 0.5, id="a fraction without a whole part"),
        pytest.param("250ms", 0.25, id="milliseconds"),
        pytest.param("5us", 5e-6, id="microseconds"),
        pytest.param("5µs", 5e-6, id="microseconds with the micro sign"),
        pytest.param("-10s", -10.0, id="negative"),
        pytest.param("+10s", 10.0, id="a plus sign"),
    ],
)
def test_duration(text: str, seconds: float) -> None:
    assert seconds == pytest.approx(parse_duration_s(text))


@pytest.mark.parametrize("text", ["", "60", "s", "1d", "1h 30m", "٣s", "1e3s", "--1s"])
def test_no_duration(text: str) -> None:
    with pytest.raises(GoTextError, match=r"is not a duration; write numbers with units, such as 60s or 1h30m$"):
        parse_duration_s(text)


@given(st.text(max_size=20) | st.from_regex(r"[0-9.]{1,40}(s|m|h|ns)"))
@example("1e9h")
@example("9" * 40 + "h")
@example("-.s")
@example("\u0661s")
def test_any_text_is_a_duration_or_a_fault(text: str) -> None:
    try:
        seconds = parse_duration_s(text)
    except GoTextError:
        return
    assert isinstance(seconds, float)
