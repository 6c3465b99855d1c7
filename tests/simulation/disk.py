"""The model disk: stands for ``crirm.system.store.Store``, and is full or hangs when it is told to."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import attrs

from crirm.system.store_file import TABLES, StoreError

if TYPE_CHECKING:
    from crirm.system.store import Batch, Rows


def _no_rows() -> Rows:
    return {table: {} for table in TABLES}


@attrs.define
class Disk:
    """What outlives crirm.

    Args:
        rows: that the kernel has.
        latest_s: the latest wall-clock time in the journal.
        full: whether nothing more can be written.
    """

    rows: Rows = attrs.field(factory=_no_rows)
    latest_s: float = 0.0
    full: bool = False
    writes: int = 0

    def open(self, life: object) -> ModelStore:
        """Open the file for one life of crirm.

        Raises:
            StoreError: the disk is full.
        """
        if self.full:
            raise StoreError("disk: cannot be written: no space left on device")
        return ModelStore(self, life)


@attrs.define
class ModelStore:
    """An open file of one life of crirm; what a dead one writes is not written."""

    disk: Disk
    life: object

    def load(self) -> Rows:
        """See ``Store``."""
        return {table: dict(rows) for table, rows in self.disk.rows.items()}

    def latest_s(self) -> float:
        """See ``Store``."""
        return self.disk.latest_s

    def write(self, batch: Batch) -> None:
        """See ``Store``."""
        if self.disk.full:
            raise sqlite3.OperationalError("database or disk is full")
        if self.life.dead:  # type: ignore[attr-defined] # a Life, which knows the disk
            raise sqlite3.OperationalError("the process is dead")
        rows = _no_rows() if batch.fresh else self.disk.rows
        for table, keys in batch.gone.items():
            for key in keys:
                rows[table].pop(key, None)
        for table, put in batch.put.items():
            rows[table].update(put)
        self.disk.rows = rows
        self.disk.writes += 1
        self.disk.latest_s = max([self.disk.latest_s, *(entry.at_s for entry in batch.journal)])

    def sync(self) -> None:
        """See ``Store``."""
        if self.disk.full:
            raise OSError(28, "No space left on device")

    def reopen(self) -> None:
        """See ``Store``."""
        if self.disk.full:
            raise StoreError("disk: cannot be written: no space left on device")

    def close(self) -> None:
        """See ``Store``."""
