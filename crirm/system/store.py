"""Saved state: one SQLite database of JSON rows, and a journal.

Rows are opaque texts here. A batch of changes is one transaction: after a
crash the file has all of it or nothing. Once `Store.write` has returned, the kernel has the bytes, and the batch
survives the death of this process. Only a power cut needs the disk to have them too, and is waited for apart from that
(`Store.sync`; SQLite's ``synchronous=NORMAL`` leaves it out of the commit): a power cut ends all containers anyway, and
a sync is dear. Measured on a virtual disk: 0.5 ms in the median and 4 to 20 ms in one case of ten, against 0.1 ms.

A file that is damaged, not ours, or of a newer version is renamed, and a new one is created: everything in it can be
derived from the runtime's lists, though not every container then gets the same CPUs.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import attrs

from crirm.system.journal_entry import COLUMNS, SIZE
from crirm.system.journal_entry import Entry as Entry  # noqa: PLC0414 - whoever writes takes it from here
from crirm.system.store_file import (
    FILE,
    TABLES,
    StoreError,
    StrangeError,
    claimed,
    connected,
    copied,
    opened,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

JOURNAL_ROWS: Final = 300_000
JOURNAL_BYTES: Final = 48 << 20  # of file somewhat more: 30 days on which 1200 pods come and go, 8 entries each
JOURNAL_S: Final = 30 * 24 * 3600.0
PRUNE_EVERY: Final = 1000  # rows
PRUNE_EVERY_BYTES: Final = 1 << 20
MEMORY: Final = "/dev/shm"  # noqa: S108 - a directory of our own is made in it

Rows = dict[str, dict[str, str]]
"""JSON texts by table and key."""


@attrs.frozen
class Batch:
    """Changes that belong together.

    Args:
        put: new or other rows.
        gone: keys of rows to remove, by table.
        journal: to append.
        fresh: whether everything but the journal is removed first.
    """

    put: Mapping[str, Mapping[str, str]] = attrs.field(factory=dict)
    gone: Mapping[str, Iterable[str]] = attrs.field(factory=dict)
    journal: tuple[Entry, ...] = ()
    fresh: bool = False


@attrs.define
class Store:
    """An open file; used by one thread at a time.

    Args:
        path: of the file.
    """

    path: Path
    _connection: sqlite3.Connection
    _lock: int
    _clock: Callable[[], float] = time.time
    _since_pruned: int = PRUNE_EVERY
    _since_pruned_bytes: int = 0
    _journal_bytes: int | None = None  # None: not counted yet

    @classmethod
    def open(cls, directory: str, clock: Callable[[], float] = time.time, *, patience_s: float = 0.0) -> Self:
        """Open the file in *directory*, and make both where they are missing.

        Args:
            directory: of nobody else.
            clock: wall-clock seconds.
            patience_s: how long to wait for another process that uses it.

        Raises:
            StoreError: the directory cannot be used, with the reason.
        """
        lock = claimed(Path(directory), patience_s)
        path = Path(directory) / FILE
        try:
            return cls(path, opened(path, clock), lock, clock)
        except (sqlite3.Error, OSError) as error:
            os.close(lock)
            raise StoreError(f"{path}: cannot be written: {error}") from error
        except BaseException:
            os.close(lock)
            raise

    def load(self) -> Rows:
        """Return all rows; the journal is not among them.

        Raises:
            sqlite3.Error: the disk does not give them.
        """
        return _rows(self._connection)

    def latest_s(self) -> float:
        """Return the latest wall-clock time in the journal; 0 where it is empty.

        Raises:
            sqlite3.Error: the disk does not give it.
        """
        return _latest_s(self._connection)

    def write(self, batch: Batch) -> None:
        """Write *batch* wholly, and return when it survives the death of this process.

        Raises:
            sqlite3.Error: nothing was written, with the reason.
        """
        connection = self._connection
        rows = self._since_pruned + len(batch.journal)
        size_bytes = self._since_pruned_bytes + sum(entry.size_bytes for entry in batch.journal)
        prune = rows >= PRUNE_EVERY or size_bytes >= PRUNE_EVERY_BYTES
        connection.execute("BEGIN IMMEDIATE")
        try:
            self._fill(connection, batch)
            if prune:
                self._prune(connection)
            connection.execute("COMMIT")
        except BaseException:
            self._journal_bytes = None
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        self._since_pruned, self._since_pruned_bytes = (0, 0) if prune else (rows, size_bytes)

    def _fill(self, connection: sqlite3.Connection, batch: Batch) -> None:
        if batch.fresh:
            for table in TABLES:
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our names
        for table, keys in batch.gone.items():
            connection.executemany(f"DELETE FROM {table} WHERE key = ?", [(key,) for key in keys])  # noqa: S608
        for table, rows in batch.put.items():
            connection.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", rows.items())  # noqa: S608
        connection.executemany(
            f"INSERT INTO journal ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})",  # noqa: S608
            [attrs.astuple(entry) for entry in batch.journal],
        )
        if self._journal_bytes is not None:
            self._journal_bytes += sum(entry.size_bytes for entry in batch.journal)

    def _prune(self, connection: sqlite3.Connection) -> None:
        """Keep the journal within its limits; what it takes is counted once, and then with every change."""
        if self._journal_bytes is None:
            self._journal_bytes = _size_of(connection, "true")
        self._drop(connection, "id <= (SELECT max(id) FROM journal) - ?", JOURNAL_ROWS)
        self._drop(connection, "at_s < ?", self._clock() - JOURNAL_S)
        if self._journal_bytes > JOURNAL_BYTES:
            self._drop(connection, "id <= ?", _last_of(connection, self._journal_bytes - JOURNAL_BYTES))

    def _drop(self, connection: sqlite3.Connection, which: str, *values: float) -> None:
        self._journal_bytes = (self._journal_bytes or 0) - _size_of(connection, which, *values)
        connection.execute(f"DELETE FROM journal WHERE {which}", values)  # noqa: S608 - our words

    def sync(self) -> None:
        """Return when all that was written survives a power cut; may be called while another thread writes.

        Raises:
            OSError: the disk has not taken it.
        """
        try:
            fd = os.open(self.path.with_name(f"{FILE}-wal"), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # all of it has gone into the file itself, which SQLite syncs
            self.path.stat()
            return
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def reopen(self) -> None:
        """Open the file again after a failure; a damaged one is set aside.

        Raises:
            sqlite3.Error: it cannot be opened.
            StoreError: likewise.
            OSError: likewise.
        """
        self._connection.close()
        self._journal_bytes = None
        if os.fstat(self._lock).st_nlink == 0:  # the directory was removed under us
            lock, self._lock = self._lock, claimed(self.path.parent)
            os.close(lock)
        self._connection = opened(self.path, self._clock)

    def close(self) -> None:
        """Close the file; it is whole already."""
        self._connection.close()
        os.close(self._lock)


def _size_of(connection: sqlite3.Connection, which: str, *values: float) -> int:
    """Return what the entries *which* take."""
    (size_bytes,) = connection.execute(f"SELECT sum({SIZE}) FROM journal WHERE {which}", values).fetchone()  # noqa: S608
    return int(size_bytes or 0)


def _last_of(connection: sqlite3.Connection, excess_bytes: int) -> int:
    """Return the number of the last of the oldest entries that take *excess_bytes* together."""
    number = 0
    for number, size_bytes in connection.execute(f"SELECT id, {SIZE} FROM journal ORDER BY id"):  # noqa: S608, B007
        excess_bytes -= size_bytes
        if excess_bytes <= 0:
            break
    return number


def _rows(connection: sqlite3.Connection) -> Rows:
    return {table: dict(connection.execute(f"SELECT key, value FROM {table}")) for table in TABLES}  # noqa: S608 - our names


def _latest_s(connection: sqlite3.Connection) -> float:
    (latest_s,) = connection.execute("SELECT max(at_s) FROM journal").fetchone()
    return float(latest_s or 0)


def rescued(directory: str) -> tuple[Rows, float]:
    """Return rows and latest time of a store that cannot be opened where it is, on a disk that is full or read-only.

    Raises:
        StoreError: what is there may not be trusted, is of no use, or cannot be read.
    """
    beside = MEMORY if Path(MEMORY).is_dir() else None
    try:
        with tempfile.TemporaryDirectory(dir=beside) as place:
            connection = connected(copied(Path(directory), Path(place)))
            with closing(connection):
                return _rows(connection), _latest_s(connection)
    except (OSError, sqlite3.Error, StrangeError) as error:
        raise StoreError(f"{Path(directory) / FILE}: cannot be read: {error}") from error


def forget(directory: str, reason: str) -> bool:
    """Remove everything but the journal, and write *reason* there; False where there is nothing to remove.

    Raises:
        StoreError: a daemon uses it, or it cannot be written.
    """
    if not (Path(directory) / FILE).exists():
        return False
    store = Store.open(directory)
    try:
        known = any(store.load().values())
        store.write(Batch(journal=(Entry(time.time(), reason),), fresh=True))
    except sqlite3.Error as error:
        raise StoreError(f"{store.path}: cannot be written: {error}") from error
    finally:
        store.close()
    return known
