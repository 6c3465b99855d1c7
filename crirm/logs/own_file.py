"""Files whose names are configured: opened only if they are regular files of crirm's own.

crirm runs as root, and these names may lie in directories where others may write. So no link is followed, nothing that
waits for a reader is waited for, and nothing is written or cut before it is known whose file it is.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import Final

_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_REASONS: Final = {
    errno.ELOOP: "is a symbolic link",
    errno.ENXIO: "is not a regular file",  # a named pipe that nobody reads, or a socket
}


class NotOursError(Exception):
    """Something else is there; str() is the rest of the sentence after the path."""


def open_own(path: str, flags: int, mode: int) -> int:
    """Return the descriptor of the regular file *path*, which belongs to this user alone.

    Args:
        path: whose last part is no link; it is made where *flags* have ``O_CREAT``.
        flags: as for ``os.open``; ``O_TRUNC`` takes effect once it is known whose file it is.
        mode: of a new file. One that is there keeps its own: the caller sets it once it knows what is in there.

    Raises:
        NotOursError: something else is there.
        OSError: it cannot be opened.
    """
    try:
        fd = os.open(path, flags & ~os.O_TRUNC | _FLAGS, mode)
    except OSError as error:
        if error.errno in _REASONS:
            raise NotOursError(_REASONS[error.errno]) from error
        raise
    try:
        _check(os.fstat(fd))
        if flags & os.O_TRUNC:
            os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _check(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotOursError("is not a regular file")
    if status.st_uid != os.geteuid():
        raise NotOursError(f"belongs to user {status.st_uid}, but crirm runs as user {os.geteuid()}")
    if status.st_nlink > 1:
        raise NotOursError("has other hard links, so it may belong to somebody else")
