"""Output of the simulated processes: log files in CRI's format, as the kubelet reads them."""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

MODE = 0o640
"""Of a new log file, as containerd makes it."""
LINE_BYTES = 16 * 1024
"""A longer line is cut into parts, as containerd's ``max_container_log_line_size`` says."""


class Console(Protocol):
    """Takes the output of containers; a path is the log file of one, empty for none."""

    def open(self, path: str) -> None:
        """Begin to log, or continue in a new file after the old one was renamed; OSError if that fails."""

    def write(self, path: str, data: bytes, now_ns: int, *, is_error: bool) -> None:
        """Log *data*, written at *now_ns*."""

    def close(self, path: str) -> None:
        """End the log; one that is not open is no error."""

    def close_all(self) -> None:
        """End every log; one that is written again is opened again."""


class NoConsole:
    """Discards all output."""

    def open(self, path: str) -> None:
        """Do nothing."""

    def write(self, path: str, data: bytes, now_ns: int, *, is_error: bool) -> None:
        """Do nothing."""

    def close(self, path: str) -> None:
        """Do nothing."""

    def close_all(self) -> None:
        """Do nothing."""


class LogFiles:
    """Keeps the log file of every running container open, so that a renamed file is used until it is reopened."""

    def __init__(self) -> None:
        self._descriptors: dict[str, int] = {}

    def open(self, path: str) -> None:
        """Open *path* for appending, and close what was open for it before."""
        if not path:
            return
        Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, MODE)
        self.close(path)
        self._descriptors[path] = descriptor

    def write(self, path: str, data: bytes, now_ns: int, *, is_error: bool) -> None:
        """Append *data* to the file that is open for *path*."""
        if path and path not in self._descriptors:  # the runtime was restarted
            with suppress(OSError):
                self.open(path)
        if (descriptor := self._descriptors.get(path)) is not None:
            os.write(descriptor, log_lines(data, now_ns, is_error=is_error))

    def close(self, path: str) -> None:
        """Close the file that is open for *path*."""
        if (descriptor := self._descriptors.pop(path, None)) is not None:
            os.close(descriptor)

    def close_all(self) -> None:
        """Close every file."""
        for path in list(self._descriptors):
            self.close(path)


def log_lines(data: bytes, now_ns: int, *, is_error: bool) -> bytes:
    """Return *data* as lines of a CRI log: time, stream, F for a whole line or P for a part of one, text."""
    seconds, nanoseconds = divmod(now_ns, 10**9)
    moment = datetime.fromtimestamp(seconds, UTC)
    stream = "stderr" if is_error else "stdout"
    start = f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z {stream} ".encode()
    lines = []
    for line in data.splitlines(keepends=True):
        text = line.removesuffix(b"\n")
        parts = [text[at : at + LINE_BYTES] for at in range(0, len(text), LINE_BYTES)] or [b""]
        lines += [start + b"P " + part + b"\n" for part in parts[:-1]]
        lines.append(start + (b"F " if line.endswith(b"\n") else b"P ") + parts[-1] + b"\n")
    return b"".join(lines)
