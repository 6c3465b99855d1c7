"""What the make-believe processes do: a few commands that end by themselves, and everything else runs for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.sim.shell import BUILTINS, Sleep, Step, run_argv, run_script, trapped_code

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

KILLED_CODE = 137
"""128 + SIGKILL."""
SHELLS = ("sh", "/bin/sh", "ash", "/bin/ash", "/bin/bash", "bash")


@attrs.frozen(eq=False)
class Program:
    """One process: its steps, and how it takes the signal that asks it to stop.

    Attributes:
        steps: what it does; the generator returns the exit code.
        stop_code: exit code when asked to stop; None: it pays no attention and must be killed, as any process that
            is number 1 of its PID namespace and has no handler for the signal.
    """

    steps: Generator[Step, None, int]
    stop_code: int | None = None


def find_program(argv: Sequence[str]) -> Program | None:
    """Return what *argv* does, or None if no such command is known."""
    name = argv[0].removeprefix("/bin/").removeprefix("/usr/bin/") if argv else ""
    if argv and argv[0] in SHELLS:
        script = argv[2] if len(argv) > 2 and argv[1] == "-c" else ""
        return Program(run_script(script), trapped_code(script))
    return Program(run_argv([name, *argv[1:]])) if name in BUILTINS else None


def main_program(argv: Sequence[str]) -> Program:
    """Return what a container does whose command is *argv*: one not known runs for ever and stops when asked to."""
    return find_program(argv) or Program(_run_for_ever(), stop_code=0)


def _run_for_ever() -> Generator[Step, None, int]:
    yield Sleep(float("inf"))
    return 0
