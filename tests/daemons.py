"""crirm's own programs as subprocesses, for tests that use them as their users do."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_STARTS_WITHIN_S = 20.0
_STOPS_WITHIN_S = 20.0
CRIRM = Path(sys.executable).with_name("crirm")


@contextmanager
def running_daemon(*args: object, socket_path: Path, log_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``crirm ARGS`` from the moment that it accepts on *socket_path*; ended with SIGTERM, which it must obey.

    A daemon that the test ended itself is left alone.
    """
    with log_path.open("ab") as log_file:
        argv = [str(CRIRM), *map(str, args)]
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log_file, stderr=subprocess.STDOUT)
    try:
        _wait_accepting(process, socket_path, log_path)
        yield process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(_STOPS_WITHIN_S) == 0, log_path.read_text()
    finally:
        process.kill()
        process.wait()


def _wait_accepting(process: subprocess.Popen[bytes], path: Path, log_path: Path) -> None:
    until = time.monotonic() + _STARTS_WITHIN_S
    while not _accepts(path):
        assert process.poll() is None, f"ended with {process.returncode}: {log_path.read_text()}"
        assert time.monotonic() < until, f"does not serve: {log_path.read_text()}"
        time.sleep(0.02)


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
