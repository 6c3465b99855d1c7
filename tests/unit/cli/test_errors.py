from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import click
import pytest

from crirm.cli.errors import did_you_mean, run_command
from crirm.cli.exit_codes import ExitCode
from crirm.errors import CrirmError, UsageError
from crirm.system.pid_file import PidFileInUseError
from crirm.system.unix_socket import SocketInUseError

if TYPE_CHECKING:
    from collections.abc import Callable


def fail(error: BaseException) -> Callable[[], object]:
    def command() -> object:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        pytest.param(CrirmError("no runtime"), 1, "crirm: no runtime\n", id="a sentence"),
        pytest.param(UsageError("bad"), 2, "crirm: bad\n", id="bad usage"),
        pytest.param(SocketInUseError("taken"), 73, "crirm: taken\n", id="a code of its own"),
        pytest.param(
            ExceptionGroup("", [ExceptionGroup("", [CrirmError("no runtime")])]),
            1,
            "crirm: no runtime\n",
            id="in nurseries",
        ),
        pytest.param(
            ExceptionGroup("", [CrirmError("one"), SocketInUseError("two")]), 73, "crirm: one\ncrirm: two\n", id="two"
        ),
        pytest.param(KeyboardInterrupt(), 130, "", id="interrupted"),
        pytest.param(BaseExceptionGroup("", [KeyboardInterrupt()]), 130, "", id="interrupted in a nursery"),
        pytest.param(click.Abort(), 130, "", id="interrupted at a question"),
        pytest.param(click.ClickException("no file"), 1, "crirm: no file\n", id="what click finds"),
    ],
)
def test_what_an_operator_can_act_on_is_a_sentence(
    error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command("crirm", fail(error)) == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(ValueError("surprise"), id="a fault"),
        pytest.param(ExceptionGroup("", [CrirmError("x"), ValueError("surprise")]), id="a fault beside an error"),
    ],
)
def test_a_fault_in_crirm_shows_its_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("crirm", fail(error)) == 70
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "ValueError: surprise" in said
    assert said.endswith("crirm: this is a bug in crirm; please report it with the lines above\n")


@pytest.mark.parametrize(("result", "code"), [(None, 0), (0, 0), (3, 3), ("text", 0)])
def test_what_a_command_returns_is_its_code(result: object, code: int) -> None:
    assert run_command("crirm", lambda: result) == code


def test_an_exit_that_was_asked_for_is_no_fault(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_command("crirm", fail(SystemExit(3)))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "told",
    [
        pytest.param("print('y' * 99)", id="when what was printed is flushed"),
        pytest.param("(_ for _ in ()).throw(ExceptionGroup('', [BrokenPipeError()]))", id="in a nursery"),
    ],
)
def test_a_reader_that_went_away_is_no_fault(told: str) -> None:
    script = f"import sys; from crirm.cli.errors import run_command; sys.exit(run_command('x', lambda: {told}))"
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as nobody_reads:
        done = subprocess.run([sys.executable, "-c", script], stdout=nobody_reads, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (1, b"")


def test_the_rooms_below_use_the_same_codes() -> None:
    assert {SocketInUseError.exit_code, PidFileInUseError.exit_code} == {ExitCode.IN_USE}
    assert (CrirmError.exit_code, UsageError.exit_code) == (ExitCode.FAILED, ExitCode.USAGE)


def test_only_what_is_near_is_suggested() -> None:
    assert did_you_mean("serv", ["serve", "sim"]) == " (did you mean serve?)"
    assert did_you_mean("xyzzy", ["serve", "sim"]) == ""


@pytest.mark.parametrize("at_once", [True, False])
def test_the_end_of_a_process_loses_neither_words_nor_code(at_once: bool) -> None:
    ran = "daemon_has_run(); " if at_once else ""
    program = f"from crirm.cli.errors import daemon_has_run, leave; print('words', end=''); {ran}leave(7)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("words", "", 7)
