"""Reading and writing cgroup files, and their errors.

A cgroup that is gone is not an error but the normal end of a container, so it has its own, silent signal.
"""

from __future__ import annotations

import enum
import errno
import os
from typing import TYPE_CHECKING, Final

from crirm.errors import CrirmError

if TYPE_CHECKING:
    from pathlib import Path

_CHUNK = 4096
_VANISHED: Final = (errno.ENOENT, errno.ENODEV, errno.ENOTDIR)  # ENODEV: removed between open and read or write
_REASONS: Final = {
    errno.EACCES: "the parent cgroup does not have all of these",
    errno.EBUSY: "a child cgroup has more than that, or the cgroup has processes of its own",
    errno.EINVAL: "invalid value",
    errno.ENOSPC: "the cgroup has processes, which need at least one",
    errno.ERANGE: "no such CPU or NUMA node",
}


class Trouble(enum.Enum):
    """Why a cgroup cannot be written or read."""

    NOT_PERMITTED = "not permitted"
    REFUSED = "refused by the kernel"
    LIMITED_ABOVE = "limited by a parent cgroup"
    NO_CONTROLLER = "controller not available"
    UNREADABLE = "unreadable"


class CgroupError(CrirmError):
    """A cgroup cannot be written or read.

    Args:
        trouble: why.
        path: the file or directory.
        tried: the value to write; empty for a read.
        what: the rest of the sentence after the path.
    """

    def __init__(self, trouble: Trouble, path: Path, tried: str, what: str) -> None:
        super().__init__(f"{path}: {what}")
        self.trouble = trouble
        self.path = path
        self.tried = tried


class CgroupGoneError(Exception):
    """The cgroup is gone, and its container with it."""


class Files:
    """The files of mounted cgroup hierarchies; stateless, and usable from any thread."""

    def read(self, path: Path) -> str | None:
        """Return the stripped content of a file, or None where there is none.

        Raises:
            CgroupError: it is there and cannot be read.
        """
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                content = chunk = os.read(fd, _CHUNK)
                while len(chunk) == _CHUNK:
                    content += (chunk := os.read(fd, _CHUNK))
            finally:
                os.close(fd)
        except OSError as error:
            if error.errno in _VANISHED:
                return None
            raise CgroupError(Trouble.UNREADABLE, path, "", f"cannot be read: {error.strerror}") from error
        return content.decode("ascii", "replace").strip()

    def write(self, path: Path, value: str) -> None:
        """Give a file the value *value*.

        Raises:
            CgroupGoneError: its cgroup is gone.
            CgroupError: it was rejected, with the reason.
        """
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._not_opened(path, value, error) from error
        try:
            os.write(fd, f"{value}\n".encode())  # a write of nothing at all would not reach the kernel
        except OSError as error:
            if error.errno in _VANISHED:
                raise CgroupGoneError(str(path)) from error
            raise refused(path, value, error) from error
        finally:
            os.close(fd)

    def _not_opened(self, path: Path, value: str, error: OSError) -> Exception:
        if error.errno not in _VANISHED:
            what = f"cannot write {value!r} ({error.strerror}); run crirm as root, with cgroups mounted read-write"
            return CgroupError(Trouble.NOT_PERMITTED, path, value, what)
        if not path.parent.is_dir():
            return CgroupGoneError(str(path))
        what = f"cannot write {value!r}: no such file; the controller is not enabled for this cgroup"
        return CgroupError(Trouble.NO_CONTROLLER, path, value, what)


def refused(path: Path, value: str, error: OSError) -> CgroupError:
    """Return the error for a write that the kernel rejected."""
    name = errno.errorcode.get(error.errno or 0, "?")
    reason = _REASONS.get(error.errno or 0, error.strerror)
    return CgroupError(Trouble.REFUSED, path, value, f"kernel rejected {value!r} ({name}): {reason}")
