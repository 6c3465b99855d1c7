"""The simulated processes: a few commands that end by themselves; everything else runs for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.sim.index import quoted
from crirm.sim.shell import BUILTINS, Sleep, Step, run_argv, run_script, trapped_code

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

KILLED_CODE = 128 + 9
STOPPED_CODE = 128 + 15
SHELLS = ("sh", "ash", "bash")
FOLDERS = ("/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/")
ENDLESS = ("crond", "ftpd", "httpd", "nc", "ntpd", "syslogd", "tail", "telnetd", "top", "watch", "yes")
"""Programs of busybox that do something else than end."""


@attrs.frozen(eq=False)
class Program:
    """One process: its steps, and how it takes the signal that asks it to stop.

    Attributes:
        steps: what it does; the generator returns the exit code.
        handler_code: exit code of its handler for the stop signal; None: it has no handler.
    """

    steps: Generator[Step, None, int]
    handler_code: int | None = None

    def code_when_asked(self, *, is_init: bool) -> int | None:
        """Return its exit code on the stop signal; None if it continues.

        Args:
            is_init: whether it is process 1 of its PID namespace, to which a signal without a handler does nothing.
        """
        if self.handler_code is not None:
            return self.handler_code
        return None if is_init else STOPPED_CODE


def find_program(argv: Sequence[str], *, has_stdin: bool = False) -> Program | None:
    """Return what *argv* does, or None if no such command is known.

    Args:
        argv: command and arguments.
        has_stdin: whether somebody may still write to its standard input, so that what reads it waits.
    """
    if not argv:
        return None
    name = argv[0]
    for folder in FOLDERS:
        name = name.removeprefix(folder)
    if has_stdin and len(argv) == 1 and name in (*SHELLS, "cat"):
        return Program(_sleep_for_ever())
    if name in SHELLS:
        script = argv[2] if len(argv) > 2 and argv[1] == "-c" else ""
        return Program(run_script(script), trapped_code(script))
    if name in ENDLESS:
        return Program(_sleep_for_ever())
    return Program(run_argv([name, *argv[1:]])) if name in BUILTINS else None


def run_for_ever() -> Program:
    """Return a server: it runs until it is asked to stop, and then stops at once and in good order."""
    return Program(_sleep_for_ever(), handler_code=0)


def _sleep_for_ever() -> Generator[Step, None, int]:
    yield Sleep(float("inf"))
    return 0


def missing_program(name: str) -> str:
    """Return runc's message about a missing program."""
    if "/" in name:
        return f"exec: {quoted(name)}: stat {name}: no such file or directory"
    return f"exec: {quoted(name)}: executable file not found in $PATH"
