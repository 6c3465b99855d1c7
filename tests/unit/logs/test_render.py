from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crirm.logs.render import Block, Renderer, as_json, human, journal, value_text

if TYPE_CHECKING:
    from collections.abc import Iterator

BASE = {"level": "info", "source": "relay", "timestamp": 1767323045.25, "event": "runtime is reachable"}
PLAIN = human(colours=False, headers=True, dated=True)
BARE = human(colours=False, headers=False, dated=True)


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def fail() -> None:
    raise ValueError("no\nway")


def failure() -> ValueError | None:
    try:
        fail()
    except ValueError as error:
        return error
    return None


def test_people_get_time_level_source_sentence_and_facts() -> None:
    line = PLAIN({**BASE, "socket": "/run/x.sock", "try_": 3})
    assert line == "2026-01-02 03:04:05.250 info    relay: runtime is reachable socket=/run/x.sock try_=3\n"


def test_a_terminal_gets_colours_and_no_date() -> None:
    line = human(colours=True, headers=True, dated=False)({**BASE, "level": "warning"})
    assert line.startswith("\x1b[2m03:04:05.250\x1b[0m \x1b[33mwarning\x1b[0m \x1b[1mrelay\x1b[0m: ")


def test_without_headers_the_source_remains() -> None:
    assert BARE(BASE) == "relay: runtime is reachable\n"


def test_blocks_and_tracebacks_have_lines_of_their_own_for_people() -> None:
    text = BARE({**BASE, "block": Block("pod Run =>", "a: 1\nb: 2"), "exc_info": failure()})
    lines = text.splitlines()
    assert lines[:3] == ["relay: runtime is reachable", "relay: pod Run =>    a: 1", "relay: pod Run =>    b: 2"]
    assert lines[3] == "Traceback (most recent call last):"
    assert lines[-2:] == ["ValueError: no", "way"]


@pytest.mark.parametrize(
    ("level", "priority"),
    [("debug", 7), ("info", 6), ("warning", 4), ("error", 3), ("critical", 2)],
)
def test_journald_gets_priorities_and_no_time(level: str, priority: int) -> None:
    assert journal({**BASE, "level": level, "n": 1}) == f"<{priority}>relay: runtime is reachable n=1\n"


def test_a_traceback_stays_on_one_line_for_journald() -> None:
    text = journal({**BASE, "exc_info": failure()})
    assert text.count("\n") == 1
    assert 'exception="Traceback (most recent call last):\\n' in text
    assert text.endswith('ValueError: no\\nway"\n')


def test_every_line_of_a_block_has_its_priority_for_journald() -> None:
    assert journal({**BASE, "block": Block("h", "a\nb")}).splitlines()[1:] == ["<6>relay: h    a", "<6>relay: h    b"]


def test_json_is_one_object_a_line_with_everything() -> None:
    text = as_json({**BASE, "path": object, "block": Block("h", "a\nb"), "exc_info": failure(), "n": 2})
    assert text.count("\n") == 1
    record = json.loads(text)
    assert record["timestamp"] == "2026-01-02T03:04:05.250000Z"
    assert (record["level"], record["source"], record["event"]) == ("info", "relay", "runtime is reachable")
    assert (record["block"], record["n"]) == ("a\nb", 2)
    assert record["exception"].endswith("ValueError: no\nway")


@pytest.mark.parametrize(
    ("value", "word"),
    [
        pytest.param("plain", "plain", id="a word needs no quotes"),
        pytest.param("", '""', id="nothing can be seen"),
        pytest.param("a b", '"a b"', id="blanks are quoted"),
        pytest.param('say "x"', '"say \\"x\\""', id="quotes are escaped"),
        pytest.param("a\nb", '"a\\nb"', id="a line break cannot forge a record"),
        pytest.param("\x1b[31m", '"\\x1b[31m"', id="a terminal is not driven"),
        pytest.param("é", "é", id="letters of any language"),
        pytest.param(None, "None", id="anything has a text"),
    ],
)
def test_values_are_one_word(value: object, word: str) -> None:
    assert value_text(value) == word


@settings(deadline=None)  # busy machines run tests too
@given(st.text(), st.text())
@example("\x1b[2J\x9b31m", "\u202e\u2066")
@example("a\r\nb", "\u2028\x85")
@example("\ud800", "\x00")
def test_no_text_makes_a_second_line_or_an_escape_sequence(event: str, fact: str) -> None:
    for render in (PLAIN, BARE, journal, as_json):
        text = render({**BASE, "event": event, "fact": fact})
        assert text.endswith("\n")
        assert text[:-1].isprintable()


@pytest.mark.parametrize("render", [PLAIN, journal, as_json], ids=["human", "journal", "json"])
def test_a_record_is_bounded_whatever_it_is_about(render: Renderer) -> None:
    long = "x" * 1_000_000
    text = render({**BASE, "event": long, "fact": long, "items": [long] * 1000, "exc_info": ValueError(long)})
    assert len(text) < 520_000
    assert f"({len(long)} characters)" in text


def test_lists_stay_lists_in_json() -> None:
    assert json.loads(as_json({**BASE, "calls": ["a", "b"], "n": 1.5, "no": None}))["calls"] == ["a", "b"]
