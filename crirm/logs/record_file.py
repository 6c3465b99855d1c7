"""A file of messages that tolerates temporary write errors: the log file and the file of the message dump."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from crirm.errors import CrirmError
from crirm.logs.own_file import NotOursError, open_own

MODE: Final = 0o600  # records may quote what passes through: commands, names, addresses


class RecordFileError(CrirmError):
    """The file cannot be opened for writing."""


class RecordFile:
    """Writes each message in one piece; a failure is reported once, and the number of lost messages when it is over.

    Args:
        path: made when missing, with access for its owner only.
        truncate: start empty instead of appending.
        max_bytes: when a record would make the file larger, the file is renamed to ``path.1`` first; 0: no limit.

    Raises:
        RecordFileError: *path* cannot be opened for writing.
    """

    def __init__(self, path: str, *, truncate: bool, max_bytes: int = 0) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._left_out = 0
        try:
            self._open(truncate=truncate)
        except OSError as error:
            raise RecordFileError(
                f"{path}: cannot open for writing: {error.strerror}; use a file in an existing directory to which "
                "crirm may write"
            ) from error
        except NotOursError as error:
            raise RecordFileError(f"{path}: {error}; crirm does not write to it; use another file") from error

    def write(self, text: str) -> str | None:
        """Append *text*, complete lines; return a sentence to tell the operator when that began or ceased to fail."""
        data = text.encode("utf-8", "backslashreplace")
        try:
            self._rotate_before(len(data))
            self._write_all(data)
        except OSError as error:
            return self._failed(error.strerror or str(error))
        except NotOursError as error:  # put there since the last one was set aside
            return self._failed(str(error))
        left_out, self._left_out = self._left_out, 0
        return f"{self.path}: writing works again, {left_out} messages were lost" if left_out else None

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)

    def _open(self, *, truncate: bool) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | (os.O_TRUNC if truncate else 0)
        self._fd = open_own(self.path, flags, MODE)
        os.fchmod(self._fd, MODE)
        self._size_bytes = os.fstat(self._fd).st_size

    def _rotate_before(self, more_bytes: int) -> None:
        if not self._max_bytes or not self._size_bytes or self._size_bytes + more_bytes <= self._max_bytes:
            return
        full = self._fd
        with contextlib.suppress(FileNotFoundError):  # somebody moved it already
            Path(self.path).replace(f"{self.path}.1")
        self._open(truncate=True)
        os.close(full)

    def _write_all(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._fd, rest) :]
        self._size_bytes += len(data)

    def _failed(self, reason: str) -> str | None:
        with contextlib.suppress(OSError):  # no half record stays behind
            os.ftruncate(self._fd, self._size_bytes)
        self._left_out += 1
        return f"{self.path}: cannot write: {reason}; will keep trying" if self._left_out == 1 else None
