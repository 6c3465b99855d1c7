"""The file of the store: its place, owner and version; an unusable one is renamed."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sqlite3
import stat
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from crirm.logs import get_logger
from crirm.system.store_reading import BUSY_S
from crirm.system.store_reading import FILE as FILE  # noqa: PLC0414 - whoever writes takes both from here
from crirm.system.store_reading import StoreError as StoreError  # noqa: PLC0414

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

log = get_logger("store")

_FIRST_TABLES: Final = ("meta", "pods", "containers", "grants", "told", "timers", "trails")
TABLES: Final = (*_FIRST_TABLES, "degraded")
VERSION: Final = 4
APPLICATION: Final = 0x63726972  # "crir", in the file's header
DIRECTORY_MODE: Final = 0o710
FILE_MODE: Final = 0o600
FREE_BYTES: Final = 16 << 20  # in the file, which it keeps for later
LOOK_EVERY_S: Final = 0.05
_OTHERS_WRITE: Final = stat.S_IWOTH | stat.S_IWGRP


def _table(name: str) -> str:
    return f"CREATE TABLE {name} (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"


MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        *(_table(name) for name in _FIRST_TABLES),
        """
        CREATE TABLE journal (
            id INTEGER PRIMARY KEY AUTOINCREMENT, at_s REAL NOT NULL, kind TEXT NOT NULL, pod TEXT NOT NULL,
            container TEXT NOT NULL, key TEXT NOT NULL, outcome TEXT NOT NULL
        )
        """,
    ),
    (
        "ALTER TABLE journal ADD COLUMN generation INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE journal ADD COLUMN machine TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE journal ADD COLUMN cpus TEXT NOT NULL DEFAULT ''",
    ),
    (_table("degraded"),),
    ("ALTER TABLE journal ADD COLUMN code TEXT NOT NULL DEFAULT ''",),
)
"""Statements that lead from each version to the next, the first from an empty file."""


class UntrustedError(StoreError):
    """The files may have been written by other users."""


class InUseError(StoreError):
    """Another process uses the directory."""


class StrangeError(Exception):
    """The file is not readable by this version."""


def claimed(directory: Path, patience_s: float = 0.0) -> int:
    """Make and check *directory*, and return its descriptor, locked: two writers would undo each other's rows.

    Args:
        directory: where the file is, or is to be.
        patience_s: how long to wait for another process that has claimed it.

    Raises:
        InUseError: another process has claimed it and keeps it.
        StoreError: it cannot be used.
    """
    try:
        directory.mkdir(DIRECTORY_MODE, parents=True, exist_ok=True)
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StoreError(f"{directory}: {_words(error)}") from error
    try:
        _check(directory, os.fstat(fd))
        _lock(directory, fd, patience_s)
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextmanager
def held(directory: str) -> Iterator[None]:
    """Keep every crirm from using *directory*, where there is one, while the block lasts.

    Raises:
        InUseError: one uses it.
        StoreError: it cannot be used at all.
    """
    if not Path(directory).is_dir():
        yield
        return
    lock = claimed(Path(directory))
    try:
        yield
    finally:
        os.close(lock)


def _lock(directory: Path, fd: int, patience_s: float) -> None:
    until_s = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until_s:
                problem = "in use by another crirm; stop it, or use another --state-dir"
                raise InUseError(f"{directory}: {problem}") from None
            time.sleep(LOOK_EVERY_S)
        else:
            return


def _check(path: Path, status: os.stat_result, *, regular: bool = False) -> None:
    if regular and not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path}: not a regular file")
    if status.st_uid not in {0, os.geteuid()}:
        raise UntrustedError(f"{path}: belongs to user {status.st_uid}, who could tamper with crirm's state; chown it")
    if status.st_mode & _OTHERS_WRITE:
        raise UntrustedError(f"{path}: writable by other users (mode {stat.S_IMODE(status.st_mode):o}); chmod go-w it")


def _words(error: OSError) -> str:
    match error.errno:
        case errno.EACCES | errno.EPERM:
            return f"user {os.geteuid()} has no write permission"
        case errno.EROFS:
            return "the file system is read-only"
        case errno.ENOTDIR | errno.EEXIST:
            return "is not a directory"
        case _:
            return error.strerror or str(error)


def opened(path: Path, clock: Callable[[], float]) -> sqlite3.Connection:
    """Open the file *path*, make it where it is missing, and set it aside where it is damaged or not ours.

    Raises:
        StoreError: it may not be used, or cannot be made.
        sqlite3.Error: it cannot be written, or not now.
    """
    _make(path)
    try:
        return connected(path)
    except StrangeError as error:
        reason = str(error)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):
            raise
        reason = f"it is damaged ({error})"
    aside = _set_aside(path, clock)
    log.warning(
        "saved state is unusable, renamed it and starting with an empty state",
        file=str(path),
        reason=reason,
        now=str(aside),
    )
    _make(path)
    return connected(path)


def _make(path: Path) -> None:
    """Make an empty file that only we can read, or check the one that is there."""
    try:
        fd = _open(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        what = "is a symbolic link" if error.errno == errno.ELOOP else _words(error)
        raise StoreError(f"{path}: {what}") from error
    os.close(fd)


def _open(path: Path, flags: int) -> int:
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, FILE_MODE)
    try:
        _check(path, os.fstat(fd), regular=True)
    except BaseException:
        os.close(fd)
        raise
    return fd


def connected(path: Path) -> sqlite3.Connection:
    """Open the file *path*, bring it to this version, and make sure that it is whole."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_S, check_same_thread=False)
    try:
        _migrate(connection)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        _check_whole(connection)
        _shrink(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _shrink(connection: sqlite3.Connection) -> None:
    """Give back to the disk what an earlier crirm has taken, whose journal was bounded by its rows alone."""
    (pages,), (page_bytes,) = (
        connection.execute(query).fetchone() for query in ("PRAGMA freelist_count", "PRAGMA page_size")
    )
    if pages * page_bytes > FREE_BYTES:
        with suppress(sqlite3.OperationalError):  # a full disk has no room for the smaller file beside this one
            connection.execute("VACUUM")


def _check_whole(connection: sqlite3.Connection) -> None:
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise StrangeError(f"it is damaged ({verdict})")


def _migrate(connection: sqlite3.Connection) -> None:
    (version,), (application,), (tables,) = (
        connection.execute(query).fetchone()
        for query in ("PRAGMA user_version", "PRAGMA application_id", "SELECT count(*) FROM sqlite_master")
    )
    if application != APPLICATION and (tables or version):
        raise StrangeError("written by another program")
    if version > VERSION:
        raise StrangeError(f"written by a newer crirm (version {version}, supported is {VERSION})")
    if version == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _set_aside(path: Path, clock: Callable[[], float]) -> Path:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(clock()))
    aside = path.with_name(f"{path.name}.damaged-{stamp}")
    for suffix in ("-wal", "-shm", ""):
        source = path.with_name(path.name + suffix)
        if source.exists():
            source.rename(aside.with_name(aside.name + suffix))
    return aside


def copied(directory: Path, place: Path) -> Path:
    """Copy the file and its log from *directory* to *place*, where it can be opened though *directory* cannot be used.

    Raises:
        StoreError: what is there may not be trusted.
        OSError: it cannot be read.
    """
    _check(directory, directory.stat())
    for name in (FILE, f"{FILE}-wal"):
        try:
            fd = _open(directory / name, os.O_RDONLY)
        except FileNotFoundError:
            continue
        with os.fdopen(fd, "rb") as source, (place / name).open("wb") as copy:
            shutil.copyfileobj(source, copy)
    return place / FILE
