"""Rendering of log messages: for people, for journald, as JSON.

A renderer takes a record, a dict of the facts and of ``event``, ``level``, ``source`` and ``timestamp`` (seconds since
1970), and returns complete lines. Control characters never get through: what a container is called must not be able to
forge a line or to drive a terminal.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from crirm.errors import clipped, visible

Record = Mapping[str, Any]
Renderer = Callable[[Record], str]

INDENT: Final = "    "
TEXT_CHARS: Final = 4000  # of a sentence, and of each fact; what others are called or say may have any length
ITEMS: Final = 100
TRACEBACK_CHARS: Final = 64_000
OWN_KEYS: Final = frozenset(("block", "event", "exc_info", "level", "source", "timestamp"))
BRIGHT, DIM, RED, YELLOW, CYAN, RESET = "\x1b[1m", "\x1b[2m", "\x1b[31m", "\x1b[33m", "\x1b[36m", "\x1b[0m"
LEVEL_COLOURS: Final = {"debug": DIM, "warning": YELLOW, "error": RED, "critical": RED + BRIGHT}
SYSLOG_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}  # Source: syslog(3)


@attrs.frozen
class Block:
    """Text of several lines that belongs to a record, given as the fact ``block``."""

    header: str  # repeated before each line where lines stand alone
    text: str


def human(*, colours: bool, headers: bool, dated: bool) -> Renderer:
    """Make the renderer for people: time, level, source, sentence, facts; blocks and tracebacks on lines of their own.

    Args:
        colours: whether terminal colours are understood.
        headers: whether time and level stand before each line.
        dated: whether the time says the day; local time either way.
    """

    def paint(colour: str, text: str) -> str:
        return f"{colour}{text}{RESET}" if colours and colour else text

    def render(record: Record) -> str:
        head = ""
        if headers:
            level = paint(LEVEL_COLOURS.get(record["level"], ""), f"{record['level']:<7}")
            head = f"{paint(DIM, _clock(record['timestamp'], dated=dated))} {level} "
        head += f"{paint(BRIGHT, record['source'])}: "
        facts = "".join(f" {paint(CYAN, visible(key))}={value_text(value)}" for key, value in _facts(record))
        traceback_lines = _traceback(record).splitlines()
        return "".join(
            f"{line}\n"
            for line in (
                f"{head}{visible(_sentence(record))}{facts}",
                *(head + line for line in _block_lines(record)),
                *map(visible, traceback_lines),
            )
        )

    return render


def journal(record: Record) -> str:
    """Render for journald, which has the time: syslog priority, source, sentence, facts; a block's lines alike."""
    head = f"<{SYSLOG_PRIORITIES[record['level']]}>{record['source']}: "
    facts = "".join(f" {visible(key)}={value_text(value)}" for key, value in _facts(record))
    if failure := _traceback(record):
        facts += f" exception={value_text(failure)}"
    lines = (f"{visible(_sentence(record))}{facts}", *_block_lines(record))
    return "".join(f"{head}{line}\n" for line in lines)


def as_json(record: Record) -> str:
    """Render one JSON object a line; time in UTC, a block and a traceback as strings."""
    stamp = record["timestamp"]
    shown = {
        "timestamp": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(stamp))}.{int(stamp % 1 * 1e6):06d}Z",
        "level": record["level"],
        "source": record["source"],
        "event": _sentence(record),
        **{key: _plain(value) for key, value in _facts(record)},
    }
    if block := record.get("block"):
        shown["block"] = block.text
    if failure := _traceback(record):
        shown["exception"] = failure
    return json.dumps(shown, default=str) + "\n"


def value_text(value: object) -> str:
    """Return *value* as one word, quoted when it would not read as one."""
    text = clipped(str(value), TEXT_CHARS)
    if text and text.isprintable() and not any(char in text for char in " \"'="):
        return text
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{visible(quoted)}"'


def _sentence(record: Record) -> str:
    return clipped(record["event"], TEXT_CHARS)


def _facts(record: Record) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in record.items() if key not in OWN_KEYS]


def _plain(value: Any) -> Any:
    """Return a fact for JSON: numbers as they are, the first items of lists, all else as a text of bounded length."""
    match value:
        case bool() | int() | float() | None:
            return value
        case list() | tuple():
            return [_plain(item) for item in value[:ITEMS]]
        case _:
            return clipped(str(value), TEXT_CHARS)


def _block_lines(record: Record) -> list[str]:
    block = record.get("block")
    return [visible(f"{block.header}{INDENT}{line}") for line in block.text.splitlines()] if block else []


def _traceback(record: Record) -> str:
    failure = record.get("exc_info")
    if failure is True:
        failure = sys.exc_info()[1]
    elif isinstance(failure, tuple):
        failure = failure[1]
    text = "".join(traceback.format_exception(failure)).rstrip("\n") if failure else ""
    return text if len(text) <= TRACEBACK_CHARS else f"...{text[-TRACEBACK_CHARS:]}"  # the end tells what it was


def _clock(timestamp: float, *, dated: bool) -> str:
    layout = "%Y-%m-%d %H:%M:%S" if dated else "%H:%M:%S"
    return f"{time.strftime(layout, time.localtime(timestamp))}.{int(timestamp % 1 * 1000):03d}"
