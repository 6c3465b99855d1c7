"""Starts of crirm that cost no imports: a process that has made them all, and becomes crirm in a fork of itself.

``python -m tests.storm.quick_start`` reads a line of JSON for each start, ``[log file, word, word...]``, and answers
with the number of the process.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Self

import attrs

from tests.integration.support import Stage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tests.integration.support import Process

MODULES = ("crirm.cli.main", "crirm.cli.serve", "crirm.daemon.app", "crirm.daemon.node", "crirm.rpc.bridge")


class QuickStage(Stage):
    """A stage on which ``crirm serve`` starts quickly."""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        argv = [sys.executable, "-m", __name__]
        self._forker = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._forked: list[Forked] = []

    def close(self) -> None:
        """See ``Stage``."""
        with self._forker:
            self._forker.kill()
        try:
            super().close()
        finally:
            for process in self._forked:
                os.close(process.fd)

    def spawn(self, argv: Sequence[str], log_path: Path, environment: Mapping[str, str]) -> Process:
        """Start *argv*, which is ``crirm`` and its words."""
        if argv[1] != "serve":
            return super().spawn(argv, log_path, environment)
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._forker.stdin.write(json.dumps([str(log_path), *argv]) + "\n")
        self._forker.stdin.flush()
        process = Forked.of(int(self._forker.stdout.readline()))
        self._forked.append(process)
        return process


@attrs.frozen
class Forked:
    """Somebody else's child.

    Args:
        pid: its number.
        fd: of the process itself, since its number may soon be another's.
    """

    pid: int
    fd: int

    @classmethod
    def of(cls, pid: int) -> Self:
        """Take hold of the process *pid*, which has just begun."""
        return cls(pid, os.pidfd_open(pid))

    def poll(self) -> int | None:
        """Return an exit code, though not the right one, when it has ended."""
        return 0 if select.select([self.fd], [], [], 0)[0] else None

    def wait(self, timeout: float = 60.0) -> int:
        """Wait until it has ended."""
        assert select.select([self.fd], [], [], timeout)[0], "it does not end"
        return 0

    def send_signal(self, sig: int) -> None:
        """Send a signal, if there is still somebody to get it."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.fd, sig)

    def kill(self) -> None:
        """End it as nobody can refuse."""
        self.send_signal(signal.SIGKILL)


def main() -> None:
    """Fork as told, until nobody tells any more."""
    for name in MODULES:
        import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children: the kernel forgets them
    for line in sys.stdin:
        log_path, *argv = json.loads(line)
        pid = os.fork()
        if pid == 0:
            become(argv, log_path)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


def become(argv: list[str], log_path: str) -> None:
    """Be the program *argv*."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log_fd = os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    null_fd = os.open(os.devnull, os.O_RDONLY)
    for fd, as_fd in ((null_fd, 0), (log_fd, 1), (log_fd, 2)):
        os.dup2(fd, as_fd)
    sys.argv = argv
    import_module("crirm.cli.main").main()


if __name__ == "__main__":
    main()
