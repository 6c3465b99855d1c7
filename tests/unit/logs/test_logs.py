"""Logs as a whole: loggers, settings, switches and where the records end up."""

from __future__ import annotations

import errno
import json
import logging
import os
import pty
import sys
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from crirm.errors import CrirmError
from crirm.logs import Format, Level, LogSettings, configure, get_logger, toggle_full_debug
from crirm.logs.record_file import RecordFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = get_logger("relay")


@pytest.fixture(autouse=True)
def afterwards_as_before() -> Iterator[None]:
    yield
    configure(LogSettings())


def stderr_of(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().err.splitlines()


def test_records_go_to_standard_error_with_time_and_level(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings())
    log.info("hello", n=1)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith(" info    relay: hello n=1\n")


def test_every_level_has_its_method(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(format=Format.JOURNAL, debug={"relay": True}))
    for say in (log.debug, log.info, log.warning, log.error, log.critical):
        say("hello")
    assert stderr_of(capsys) == [f"<{priority}>relay: hello" for priority in (7, 6, 4, 3, 2)]


def test_debug_is_switched_by_source_also_for_loggers_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    bound = log.bind(call=1)
    for states in ({}, {"relay": True}, {"*": True, "relay": False}, {"*": True}, {"*": False}):
        configure(LogSettings(headers=False, debug=states))
        assert log.debug_on is bound.debug_on
        bound.debug("seen", states=len(states))
        get_logger("daemon").debug("seen")
    in_relay, in_daemon = "relay: seen call=1 states=1", "daemon: seen"
    assert stderr_of(capsys) == [in_relay, in_daemon, in_relay, in_daemon]


def test_a_source_made_later_obeys_too() -> None:
    configure(LogSettings(debug={"test-later": True}))
    assert get_logger("test-later").debug_on


def test_full_debug_toggles_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(headers=False, debug={"relay": False}))
    assert toggle_full_debug() is True
    log.debug("seen")
    assert logging.getLogger("hpack").isEnabledFor(logging.DEBUG)
    assert toggle_full_debug() is False
    log.debug("not seen")
    assert not logging.getLogger("hpack").isEnabledFor(logging.DEBUG)
    lines = stderr_of(capsys)
    assert [line.partition(": ")[0] for line in lines] == ["logs", "relay", "logs"]
    assert "debug logging enabled" in lines[0]
    assert "debug logging restored" in lines[2]


def test_exception_logs_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings())
    try:
        int("why")
    except ValueError:
        log.exception("failed")
    lines = stderr_of(capsys)
    assert lines[0].endswith("error   relay: failed")
    assert lines[-1].startswith("ValueError: ")


def test_libraries_are_routed_here(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(headers=False))
    logging.getLogger("test.library").warning("careful")
    assert stderr_of(capsys) == ["stdlog: careful logger=test.library"]


def test_options_and_sources_without_effect_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(headers=False, debug={"relya": True, "rdt": True}, ignored=("--one_output", "LOGGER_X")))
    rdt = "rdt: this version of crirm has no such source"
    no_source = "logs: ignoring debug settings for unknown sources"
    assert stderr_of(capsys) == [
        'logs: ignoring logging options without effect options="--one_output, LOGGER_X"',
        f'{no_source} sources="relya: no such source (did you mean relay?); {rdt}"',
    ]


def test_journald_is_recognised_by_the_pipe_that_it_announced(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    status = os.fstat(writer)
    with os.fdopen(reader) as lines, os.fdopen(writer, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        configure(LogSettings())
        log.warning("hello")
        assert lines.readline() == "<4>relay: hello\n"
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino + 1}")  # redirected meanwhile
        configure(LogSettings())
        log.warning("hello")
        assert lines.readline().endswith(" warning relay: hello\n")
        monkeypatch.undo()


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [
        pytest.param({"TERM": "xterm"}, True, id="a terminal gets colours"),
        pytest.param({"TERM": "dumb"}, False, id="a dumb one does not"),
        pytest.param({"TERM": "xterm", "NO_COLOR": "1"}, False, id="nor one whose owner does not want them"),
    ],
)
def test_colours(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], coloured: bool) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen, os.fdopen(theirs, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        configure(LogSettings())
        log.warning("hello")
        shown = screen.read(1000)
        monkeypatch.undo()
    assert (b"\x1b[" in shown) is coloured


def test_a_file_gets_everything_and_standard_error_what_is_serious(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "crirm.log"
    configure(LogSettings(log_file=str(path), stderr_level=Level.ERROR))
    log.info("fine")
    log.error("broken")
    assert [line[24:] for line in path.read_text().splitlines()] == ["info    relay: fine", "error   relay: broken"]
    assert [line[24:] for line in stderr_of(capsys)] == ["error   relay: broken"]


def test_json_in_both_places(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "crirm.log"
    configure(LogSettings(log_file=str(path), format=Format.JSON))
    log.info("fine")
    assert json.loads(path.read_text())["event"] == json.loads(capsys.readouterr().err)["event"] == "fine"


def test_a_log_file_that_cannot_be_opened_changes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogSettings(headers=False))
    with pytest.raises(CrirmError):
        configure(LogSettings(log_file=str(tmp_path / "no" / "file"), debug={"*": True}))
    log.debug("not seen")
    log.info("seen")
    assert stderr_of(capsys) == ["relay: seen"]


def test_a_log_file_that_fails_is_told_on_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full_disk(_file: RecordFile, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    file = str(tmp_path / "log")
    monkeypatch.setattr(RecordFile, "_write_all", full_disk)
    configure(LogSettings(headers=False, log_file=file))
    log.info("one")
    log.info("two")
    assert stderr_of(capsys) == [
        "relay: one",
        f"logs: {file}: cannot write: No space left on device; will keep trying",
        "relay: two",
    ]


def test_nobody_left_to_read_standard_error_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    stderr = os.fdopen(writer, "w")
    monkeypatch.setattr(sys, "stderr", stderr)
    configure(LogSettings())
    log.info("into the void")
    monkeypatch.undo()
    with pytest.raises(BrokenPipeError):
        stderr.close()


def test_tests_can_capture_what_is_logged() -> None:
    with capture_logs() as entries:
        log.info("hello", n=1)
    assert entries == [{"source": "relay", "event": "hello", "n": 1, "log_level": "info"}]
