"""The file of the store for readers; apart from the rest, so that a command that reads it starts at once."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Final

from crirm.errors import CrirmError

if TYPE_CHECKING:
    from pathlib import Path

FILE: Final = "state.db"
BUSY_S: Final = 2.0


class StoreError(CrirmError):
    """State cannot be saved in this directory."""


def read_only(path: Path) -> sqlite3.Connection:
    """Return a connection to the file at *path*, which must exist, that changes nothing there.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    # Without its log nobody writes to it, and a reader may not make one where it has no right to.
    mode = "mode=ro" if path.with_name(f"{path.name}-wal").exists() else "immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=BUSY_S)
