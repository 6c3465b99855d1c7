"""The PID file, for scripts; protected by a lock, so that a killed owner is recognised reliably.

A process number alone is not enough: after a crash or a reboot it may belong to another process. The owner holds a lock
(flock) on its file, which the kernel releases however the owner ends.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crirm.errors import CrirmError
from crirm.logs import get_logger
from crirm.logs.own_file import NotOursError, open_own

if TYPE_CHECKING:
    from collections.abc import Iterator

MODE: Final = 0o644
MAX_BYTES: Final = 32  # a process number and a line end are shorter; what is longer is some other file

log = get_logger("system")


class PidFileError(CrirmError):
    """The PID file cannot be written where it was asked for."""


class PidFileInUseError(PidFileError):
    """Another instance is running; same exit code as for its socket."""

    exit_code = 73


@contextmanager
def held_pid_file(path: str) -> Iterator[None]:
    """Keep this process' number in the file *path*, mode 0644, and remove it at the end.

    A file left by a killed owner is taken over. Only an empty file or one with a number in it is ever written to.

    Raises:
        PidFileInUseError: another living process holds it.
        PidFileError: something else is there, or the system refuses, with the reason.
    """
    try:
        fd = _take(path)
    except OSError as error:
        raise PidFileError(_refusal(path, error)) from error
    try:
        yield
    finally:
        _remove(path, fd)


def _take(path: str) -> int:
    """Return the descriptor of the locked and written file."""
    while True:
        fd = _open(path)
        try:
            _claim(path, fd)
            if _is_file_at(path, fd):  # else its owner removed it between our open and our lock
                os.fchmod(fd, MODE)  # the umask may have taken bits away, or somebody else
                os.ftruncate(fd, 0)
                os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
                return fd
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def _open(path: str) -> int:
    try:
        return open_own(path, os.O_RDWR | os.O_CREAT, MODE)
    except NotOursError as error:
        raise PidFileError(f"{path}: {error}; crirm does not overwrite it; choose another --pid-file") from error


def _claim(path: str, fd: int) -> None:
    content = os.pread(fd, MAX_BYTES, 0).decode("ascii", "replace").strip()
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise PidFileInUseError(
            f"{path}: already running as process {content or '(just starting)'}; stop it, or choose another --pid-file"
        ) from None
    if content and not content.isdecimal():
        raise PidFileError(f"{path}: not a PID file; crirm does not overwrite it; choose another --pid-file")
    if content:
        log.warning("replacing PID file of a killed process", pid_file=path, stale_pid=int(content))


def _remove(path: str, fd: int) -> None:
    try:
        if _is_file_at(path, fd):
            Path(path).unlink()
    except OSError as error:
        log.warning("cannot remove PID file", pid_file=path, error=error.strerror)
    finally:
        os.close(fd)  # last: the lock outlives the file


def _is_file_at(path: str, fd: int) -> bool:
    try:
        return os.path.samestat(Path(path).lstat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _refusal(path: str, error: OSError) -> str:
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            reason = f"user {os.geteuid()} has no write permission"
        case errno.ENOENT | errno.ENOTDIR:
            reason = f"directory {Path(path).parent} does not exist"
        case errno.EISDIR:
            reason = "is a directory"
        case _:
            reason = error.strerror or str(error)
    return f"{path}: cannot create PID file: {reason}; choose another --pid-file"
