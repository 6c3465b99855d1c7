"""The Unix socket that the embedded runtime listens on."""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from crirm.errors import CrirmError

if TYPE_CHECKING:
    from collections.abc import Iterator

MODE = 0o660


class SocketError(CrirmError):
    """The socket cannot be made where it was asked for."""


@contextmanager
def bound_socket(path: str) -> Iterator[socket.socket]:
    """Bind a Unix socket to *path*, in place of a stale one, and remove its file at the end.

    Raises:
        SocketError: something else is there, or is served there, or the path cannot be used.
    """
    _make_room(path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            sock.bind(path)
            os.chmod(path, MODE)  # noqa: PTH101 - as the line before
        except OSError as fault:
            raise SocketError(f"{path}: cannot listen here: {fault.strerror or fault}; choose another path") from fault
        mark = os.stat(path).st_ino  # noqa: PTH116
        try:
            yield sock
        finally:
            _remove(path, mark)


def _make_room(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketError(f"{path}: not a socket; choose another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except OSError as fault:
            if fault.errno != errno.ECONNREFUSED:
                raise SocketError(f"{path}: {fault.strerror}; choose another path") from fault
            Path(path).unlink()
        else:
            raise SocketError(f"{path}: in use by another process; stop it or choose another path")


def _remove(path: str, inode: int) -> None:
    """Remove our own socket file; another one that took its place stays."""
    try:
        if os.stat(path).st_ino == inode:  # noqa: PTH116
            Path(path).unlink()
    except OSError:
        pass
