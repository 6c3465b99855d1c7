"""The configuration that the node agent has sent last and that was taken into use, in a file beside the state.

It has a file of its own, so that a damaged state does not cost the configuration too, and so that one can read it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crirm.errors import CrirmError
from crirm.system.store_file import FILE as STATE_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "configuration.json"
READABLE_BY_OWNER = 0o600


class ConfigCacheError(CrirmError):
    """The file is there and cannot be read, or cannot be written."""


def path_in(directory: str) -> Path:
    """Return the path of the file in *directory*."""
    return Path(directory) / FILE


def read_accepted(directory: str) -> Mapping[str, str] | None:
    """Return the data of the ConfigMap that was accepted last; None where none was.

    Raises:
        ConfigCacheError: there is one that cannot be used.
    """
    path = path_in(directory)
    try:
        found: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigCacheError(f"{path}: cannot be read: {error}; --reset-config removes it") from error
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        raise ConfigCacheError(f"{path}: is no accepted configuration; --reset-config removes it")
    return data


def write_accepted(directory: str, node_name: str, data: Mapping[str, str]) -> None:
    """Keep *data* for the next start; the file is replaced as a whole or not at all.

    Raises:
        ConfigCacheError: it cannot be written.
    """
    path = path_in(directory)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{FILE}.", delete=False) as file:
            try:
                json.dump({"node": node_name, "data": dict(data)}, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink()
                raise
    except OSError as error:
        raise ConfigCacheError(f"{path}: cannot be written: {error.strerror or error}") from error


def forget_accepted(directory: str) -> bool:
    """Remove the file; False where there is none.

    Raises:
        ConfigCacheError: it cannot be removed.
    """
    path = path_in(directory)
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigCacheError(f"{path}: cannot be removed: {error.strerror or error}") from error
    return True


def policy_in_use(directory: str) -> str | None:
    """Return the policy whose decisions are kept in *directory*; None where nothing is, or nothing that can be read."""
    path = Path(directory) / STATE_FILE
    if not path.exists():
        return None
    mode = "mode=ro" if path.with_name(f"{STATE_FILE}-wal").exists() else "immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True)) as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = 'policy'").fetchone()
            return None if row is None else str(json.loads(row[0]))
    except (sqlite3.Error, ValueError):
        return None
