from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
import structlog

from crirm.logs.source import Source, SourceLogger
from crirm.logs.stdlog import GRPC_LIBRARIES, REMEMBERED_MESSAGES, RateLimit, StdlogHandler, route

if TYPE_CHECKING:
    from collections.abc import Iterator


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def entries(clock: Clock) -> Iterator[list[structlog.typing.EventDict]]:
    capture = structlog.testing.LogCapture()
    loggers = [SourceLogger(Source(name, debug_on=False), [capture], {"source": name}) for name in ("grpc", "stdlog")]
    handler = StdlogHandler(loggers[0], loggers[1], RateLimit(60.0, clock))
    route(handler, grpc_debug=False, all_debug=False)
    yield capture.entries
    logging.getLogger().removeHandler(handler)
    for name in GRPC_LIBRARIES:
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_libraries_are_heard_from_warning_up_under_their_source(entries: list[structlog.typing.EventDict]) -> None:
    logging.getLogger("grpclib.server").info("nobody asked")
    logging.getLogger("grpclib.server").warning("stream %d", 7)
    logging.getLogger("asyncio").error("slow")
    shown = [(e["source"], e["log_level"], e["event"], e["logger"]) for e in entries]
    assert shown == [("grpc", "warning", "stream 7", "grpclib.server"), ("stdlog", "error", "slow", "asyncio")]


def test_debug_opens_the_grpc_libraries_alone_or_all(entries: list[structlog.typing.EventDict]) -> None:
    handler = next(h for h in logging.getLogger().handlers if isinstance(h, StdlogHandler))
    route(handler, grpc_debug=True, all_debug=False)
    logging.getLogger("hpack").debug("a")
    logging.getLogger("other").debug("b")
    route(handler, grpc_debug=False, all_debug=True)
    logging.getLogger("hpack").debug("c")
    logging.getLogger("other").info("d")
    assert [(e["event"], e["log_level"]) for e in entries] == [("a", "debug"), ("c", "debug"), ("d", "info")]


def test_tracebacks_come_along(entries: list[structlog.typing.EventDict]) -> None:
    try:
        int("x")
    except ValueError:
        logging.getLogger("asyncio").exception("task failed")
    assert isinstance(entries[0]["exc_info"][1], ValueError)


def test_the_same_message_passes_once_a_minute_with_the_number_held_back(
    entries: list[structlog.typing.EventDict], clock: Clock
) -> None:
    for stream in range(5):
        logging.getLogger("h2").warning("stream %d at 0x%x is gone", stream, 1 << stream)
    clock.now_s += 60
    logging.getLogger("h2").warning("stream 9 at 0xff is gone")
    assert [(e["event"], e.get("held_back")) for e in entries] == [
        ("stream 0 at 0x1 is gone", None),
        ("<rate-limited> stream 9 at 0xff is gone", 4),
    ]


def test_different_messages_do_not_hold_each_other_back(entries: list[structlog.typing.EventDict]) -> None:
    logging.getLogger("h2").warning("one")
    logging.getLogger("h2").warning("two")
    logging.getLogger("h2.other").warning("one")
    assert len(entries) == 3


def test_memory_of_messages_is_bounded(clock: Clock) -> None:
    limit = RateLimit(60.0, clock)
    words = ["".join(chr(97 + int(digit)) for digit in str(number)) for number in range(REMEMBERED_MESSAGES + 1)]
    assert [limit.admit(word) for word in words] == [0] * len(words)
    assert limit.admit(words[-1]) is None
    assert limit.admit(words[0]) == 0  # forgotten, so it passes again


def test_a_broken_format_string_does_not_end_the_caller(
    entries: list[structlog.typing.EventDict], capsys: pytest.CaptureFixture[str]
) -> None:
    handler = next(h for h in logging.getLogger().handlers if isinstance(h, StdlogHandler))
    handler.handle(logging.LogRecord("other", logging.WARNING, "file.py", 1, "%d", ("x",), None))
    assert entries == []
    assert "Logging error" in capsys.readouterr().err
