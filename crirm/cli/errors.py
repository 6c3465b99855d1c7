"""How commands end: an operator's mistake is one sentence, a bug in crirm is a traceback."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from contextlib import suppress
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, NoReturn

import click

from crirm.cli.exit_codes import ExitCode
from crirm.errors import CrirmError, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


COLLECTED_AT: Final = 20_000
"""New objects: imports make many and little garbage, and by default a tenth of a start would go into looking for it."""


def run_command(program: str, command: Callable[[], object]) -> int:
    """Run *command*, report errors on standard error, and return the exit code.

    Args:
        program: the name that messages start with.
        command: returns an exit code, or anything else for success.
    """
    gc.set_threshold(COLLECTED_AT)
    try:
        result = command()
        sys.stdout.flush()
    except SystemExit:
        raise
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BaseException as error:  # noqa: BLE001  # the last place that can turn an error into a sentence
        if all(isinstance(cause, BrokenPipeError) for cause in _leaves(error)):
            # the reader of our output went away; the interpreter would complain when it flushes standard output
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return ExitCode.FAILED
        return _explain(program, error)
    return result if isinstance(result, int) else ExitCode.OK


class _Process:
    """How this process ends."""

    ends_at_once = False


def daemon_has_run() -> None:
    """Have `leave` end the process at once: nothing else runs in it."""
    _Process.ends_at_once = True


def leave(code: int) -> NoReturn:
    """End the process with *code*.

    A daemon has closed its files and removed its sockets when it logs that it has stopped. Freeing all its objects
    then takes up to a second on a slow or large node, for nothing, while nobody serves the kubelet.
    """
    if not _Process.ends_at_once:
        sys.exit(code)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _explain(program: str, error: BaseException) -> int:
    causes = list(_leaves(error))
    if all(isinstance(cause, CrirmError) for cause in causes):
        for cause in causes:
            _say(f"{program}: {cause}")
        return max(cause.exit_code for cause in causes if isinstance(cause, CrirmError))
    match error:
        case click.UsageError():
            where = error.ctx.command_path if error.ctx else program
            _say(f"{where}: {_usage_sentence(error)}; see `{where} --help`")
            return ExitCode.USAGE
        case click.ClickException():
            _say(f"{program}: {error.format_message()}")
            return ExitCode.FAILED
    if isinstance(error, click.Abort) or any(isinstance(cause, KeyboardInterrupt) for cause in causes):
        return ExitCode.INTERRUPTED
    traceback.print_exception(error)
    _say(f"{program}: this is a bug in crirm; please report it with the lines above")
    return ExitCode.BUG


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield *error*, or the errors in an exception group, at any depth."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _usage_sentence(error: click.UsageError) -> str:
    if isinstance(error, click.NoSuchOption):
        known = [name for option in error.ctx.command.params for name in option.opts] if error.ctx else []
        return f"{error.option_name}: no such option{did_you_mean(error.option_name, known)}"
    return error.format_message().rstrip(".")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean ...?)`` with the *known* word nearest to *word*, or nothing."""
    near = get_close_matches(word, list(known), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _say(line: str) -> None:
    click.echo(visible(line, but="\n"), err=True)
