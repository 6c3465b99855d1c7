"""The exit codes of all commands; the numbers from 64 up follow sysexits.h, so that systemctl shows fitting words."""

from __future__ import annotations

import enum


class ExitCode(enum.IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1  # the sentence on standard error says why; for doctor: at least one check failed
    USAGE = 2  # the command line says something that crirm does not know
    BUG = 70  # EX_SOFTWARE: a fault in crirm; the traceback is on standard error
    IN_USE = 73  # EX_CANTCREAT: another instance has the relay socket or the PID file
    INTERRUPTED = 130  # by SIGINT, as shells count it
