"""The little shell of the simulated processes: lists, ``&&``, ``||``, endless loops, and five words of busybox."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

BUILTINS = ("true", "false", "echo", "sleep", "cat", "head", "exit", "trap", "wait", ":")
NOT_FOUND_CODE = 127
USAGE_CODE = 2
SPIN_S = 0.1
"""How long one turn of a loop takes that does not sleep: an endless loop must not take the event loop with it."""


@attrs.frozen
class Say:
    """The process writes *data*."""

    data: bytes
    is_error: bool = False


@attrs.frozen
class Sleep:
    """The process does nothing for *seconds*."""

    seconds: float


Step = Say | Sleep
"""What a process does next; the generators of steps return its exit code."""


_ESCAPE = re.compile(rb"\\([nt\\]|0[0-7]{0,3})")
_ESCAPES = {b"n": b"\n", b"t": b"\t", b"\\": b"\\"}


class _Exit(Exception):  # noqa: N818 - leaves the script, is no error
    def __init__(self, code: int) -> None:
        self.code = code


def run_script(script: str) -> Generator[Step, None, int]:
    """Run *script* as ``sh -c`` would."""
    return _guarded(_run_script(script))


def run_argv(argv: Sequence[str]) -> Generator[Step, None, int]:
    """Run one command of `BUILTINS`; *argv* is not empty."""
    return _guarded(_run_builtin(list(argv)))


def _guarded(steps: Generator[Step, None, int]) -> Generator[Step, None, int]:
    try:
        return (yield from steps)
    except _Exit as end:
        return end.code
    except ValueError as fault:
        yield Say(f"sh: {fault}\n".encode(), is_error=True)
        return USAGE_CODE


def _run_script(script: str) -> Generator[Step, None, int]:
    return (yield from _run_list(_tokens(script)))


def _run_builtin(argv: list[str]) -> Generator[Step, None, int]:
    name, *args = argv
    match name:
        case "false":
            return 1
        case "echo":
            yield Say(_echo(args))
        case "sleep":
            yield Sleep(_seconds(args))
        case "cat":
            return (yield from _cat(args))
        case "head":
            yield Say(_head(args))
        case "exit":
            raise _Exit(int(args[0]) if args else 0)
        case _:
            pass
    return 0


def _echo(args: list[str]) -> bytes:
    options = set[str]()
    while args and args[0] in ("-n", "-e", "-ne", "-en"):
        options |= set(args[0][1:])
        args = args[1:]
    text = " ".join(args).encode()
    if "e" in options:
        text = _ESCAPE.sub(lambda match: _ESCAPES.get(match[1]) or bytes((int(match[1], 8) & 0xFF,)), text)
    return text if "n" in options else text + b"\n"


def _seconds(args: list[str]) -> float:
    return float("inf") if args[:1] in (["inf"], ["infinity"]) else float(args[0]) if args else 0.0


def _cat(files: list[str]) -> Generator[Step, None, int]:
    """Nothing is on standard input, and no file exists."""
    for name in files:
        yield Say(f"cat: can't open '{name}': No such file or directory\n".encode(), is_error=True)
    return 1 if files else 0


def _head(args: list[str]) -> bytes:
    """``head -c N /dev/zero``: an answer of a wanted size."""
    return bytes(int(args[1])) if args[:1] == ["-c"] else b""


def _tokens(script: str) -> list[str]:
    lexer = shlex.shlex(script.replace("\n", " ; "), posix=True, punctuation_chars=";&|<>")
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


def _run_list(tokens: list[str]) -> Generator[Step, None, int]:
    code, connector, at = 0, ";", 0
    while at < len(tokens):
        if tokens[at] in (";", "&", "&&", "||"):
            connector, at = tokens[at], at + 1
            continue
        if tokens[at] in ("while", "until"):
            end = _loop_end(tokens, at)
            code = yield from _run_loop(tokens[at:end])
        else:
            end = _command_end(tokens, at)
            if (connector != "&&" or code == 0) and (connector != "||" or code != 0):
                code = yield from _run_command(tokens[at:end])
        at = end
    return code


def _command_end(tokens: list[str], at: int) -> int:
    while at < len(tokens) and tokens[at] not in (";", "&", "&&", "||"):
        at += 1
    return at


def _loop_end(tokens: list[str], at: int) -> int:
    depth = 0
    for position in range(at, len(tokens)):
        depth += (tokens[position] in ("while", "until")) - (tokens[position] == "done")
        if depth == 0:
            return position + 1
    raise ValueError("syntax error: unterminated loop")


def _run_loop(tokens: list[str]) -> Generator[Step, None, int]:
    if "do" not in tokens:
        raise ValueError('syntax error: "do" expected')
    start = tokens.index("do")
    wanted = tokens[0] == "while"
    while ((yield from _run_list(tokens[1:start])) == 0) is wanted:
        slept = False
        for step in _run_list(tokens[start + 1 : -1]):
            slept = slept or isinstance(step, Sleep)
            yield step
        if not slept:
            yield Sleep(SPIN_S)
    return 0


def _run_command(words: list[str]) -> Generator[Step, None, int]:
    to_error = False
    if ">&" in words:
        at = words.index(">&")
        to_error, words = words[at + 1 : at + 2] == ["2"], words[:at]
    if not words:
        return 0
    if words[0] not in BUILTINS:
        yield Say(f"sh: {words[0]}: not found\n".encode(), is_error=True)
        return NOT_FOUND_CODE
    steps = _run_builtin(words)
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return int(end.value)
        yield attrs.evolve(step, is_error=True) if to_error and isinstance(step, Say) else step


def trapped_code(script: str) -> int | None:
    """Return the code with which *script* exits when asked to stop; None if it pays no attention to SIGTERM."""
    try:
        tokens = _tokens(script)
    except ValueError:
        return None
    for at, token in enumerate(tokens):
        if token == "trap" and {"TERM", "SIGTERM", "15"} & set(tokens[at + 2 : _command_end(tokens, at)]):  # noqa: S105
            action = tokens[at + 1].split()
            return int(action[1]) if action[:1] == ["exit"] and len(action) > 1 else 0 if action else None
    return None
