from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.cli.goflags import Flag, FlagError, Kind, Parsed, check_value, duration_s, parse

KINDS = {
    "socket": Kind.STRING,
    "on": Kind.BOOL,
    "v": Kind.INT,
    "every": Kind.DURATION,
    "skip_headers": Kind.BOOL,
}
FLAGS = {name: Flag(name, kind) for name, kind in KINDS.items()}


@pytest.mark.parametrize(
    ("argv", "values", "positional"),
    [
        pytest.param([], {}, [], id="nothing"),
        pytest.param(["-socket=/a"], {"socket": "/a"}, [], id="one dash, equals sign"),
        pytest.param(["--socket=/a"], {"socket": "/a"}, [], id="two dashes, equals sign"),
        pytest.param(["-socket", "/a"], {"socket": "/a"}, [], id="one dash, separate value"),
        pytest.param(["--socket", "/a"], {"socket": "/a"}, [], id="two dashes, separate value"),
        pytest.param(["-socket", "-on"], {"socket": "-on"}, [], id="a value may look like a flag"),
        pytest.param(["-socket="], {"socket": ""}, [], id="an empty value"),
        pytest.param(["-socket=a=b"], {"socket": "a=b"}, [], id="an equals sign in the value"),
        pytest.param(["-on"], {"on": "true"}, [], id="a boolean alone"),
        pytest.param(["-on=F"], {"on": "false"}, [], id="a boolean with a value"),
        pytest.param(["-on", "false"], {"on": "true"}, ["false"], id="a boolean takes no separate value"),
        pytest.param(["-v", "-4"], {"v": "-4"}, [], id="a negative number"),
        pytest.param(["-every", "1h30m"], {"every": "1h30m"}, [], id="a duration"),
        pytest.param(["help", "-on"], {}, ["help", "-on"], id="the first other word ends the flags"),
        pytest.param(["-on", "--", "-on"], {"on": "true"}, ["-on"], id="two dashes alone end the flags"),
        pytest.param(["-on", "-", "x"], {"on": "true"}, ["-", "x"], id="a dash alone is a word"),
    ],
)
def test_command_lines(argv: list[str], values: dict[str, str], positional: list[str]) -> None:
    parsed = parse(argv, FLAGS)
    assert {name: parsed.last(name) for name in parsed.values} == values
    assert list(parsed.positional) == positional


@pytest.mark.parametrize(
    ("argv", "complaint"),
    [
        pytest.param(["-sokcet=/a"], "-sokcet: no such flag (did you mean -socket?)", id="misspelt, one dash"),
        pytest.param(["--sokcet", "/a"], "--sokcet: no such flag (did you mean --socket?)", id="misspelt, two dashes"),
        pytest.param(["-skip-headers"], "(did you mean -skip_headers?)", id="a dash for an underscore"),
        pytest.param(["-xyzzy"], "-xyzzy: no such flag", id="nothing is near"),
        pytest.param(["---on"], "---on: no such flag (did you mean --", id="three dashes"),
        pytest.param(["-=x"], "-: no such flag", id="no name"),
        pytest.param(["-socket"], "-socket: needs a value, as in -socket=VALUE", id="no value"),
        pytest.param(["-on=maybe"], "-on: invalid value 'maybe'; expected a boolean such as true", id="no boolean"),
        pytest.param(["-v", "much"], "-v: invalid value 'much'; expected a whole number such as 4", id="no number"),
        pytest.param(["-every=5"], "-every: invalid value '5'; expected a duration such as 30s", id="no unit"),
        pytest.param(["-every="], "-every: invalid value ''", id="no duration"),
    ],
)
def test_what_cannot_be_read(argv: list[str], complaint: str) -> None:
    with pytest.raises(FlagError) as caught:
        parse(argv, FLAGS)
    assert complaint in str(caught.value)
    assert caught.value.exit_code == 2


def test_each_value_is_kept_and_the_last_counts() -> None:
    parsed = parse(["-socket=/a", "--socket", "/b"], FLAGS)
    assert parsed.values["socket"] == ("/a", "/b")
    assert parsed.last("socket") == "/b"


def test_a_flag_that_was_not_given_is_not_on() -> None:
    parsed = Parsed({"on": ("true", "false")}, ())
    assert (parsed.is_on("on"), parsed.is_on("off"), parsed.last("off")) == (False, False, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0.0), ("30s", 30.0), ("1m30s", 90.0), ("1.5h", 5400.0), ("250ms", 0.25), ("-.5m", -30.0), ("2us", 2e-6)],
)
def test_durations(text: str, seconds: float) -> None:
    assert check_value("x", FLAGS["every"], text) == text
    assert duration_s(text) == pytest.approx(seconds)


@given(st.lists(st.text() | st.sampled_from(["-on", "--socket", "-v=1", "--", "-every"])))
def test_no_command_line_ends_in_anything_but_a_sentence(argv: list[str]) -> None:
    with suppress(FlagError):
        assert set(parse(argv, FLAGS).values) <= set(FLAGS)
