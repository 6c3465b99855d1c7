"""The exit codes of all commands; those from 64 up follow sysexits.h, which systemctl shows as words."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1  # standard error says why; for doctor: at least one check failed
    USAGE = 2  # unknown command, option or value
    BUG = 70  # EX_SOFTWARE: a bug in crirm; the traceback is on standard error
    IN_USE = 73  # EX_CANTCREAT: another instance has the relay socket or the PID file
    INTERRUPTED = 130  # by SIGINT, as shells count it
