"""The last accepted configuration of the node agent, in a file beside the saved state.

It is a separate file, so that it survives a damaged state, and is readable.
"""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from crirm.errors import CrirmError
from crirm.system.json_file import JsonFileError, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "configuration.json"
ADJUSTMENTS_FILE = "adjustments.json"


class ConfigCacheError(CrirmError):
    """The file exists but cannot be read, or cannot be written."""


def path_in(directory: str) -> Path:
    """Return the path of the file in *directory*."""
    return Path(directory) / FILE


def adjustments_in(directory: str) -> Path:
    """Return the path of the file of adjustments in *directory*."""
    return Path(directory) / ADJUSTMENTS_FILE


def read_accepted(directory: str) -> Mapping[str, str] | None:
    """Return the data of the last accepted ConfigMap; None if there is none.

    Raises:
        ConfigCacheError: there is one that cannot be used.
    """
    path = path_in(directory)
    try:
        found = read_json(path)
    except JsonFileError as error:
        raise ConfigCacheError(f"{error}; --reset-config removes it") from error
    if found is None:
        return None
    data = found.get("data") if isinstance(found, dict) else None
    if not isinstance(data, dict) or not all(isinstance(text, str) for text in data.values()):
        raise ConfigCacheError(f"{path}: not a saved configuration; --reset-config removes it")
    return data


def write_accepted(directory: str, node_name: str, data: Mapping[str, str]) -> None:
    """Save *data* for the next start; the file is replaced completely or not at all.

    Raises:
        ConfigCacheError: it cannot be written.
    """
    try:
        write_json(path_in(directory), {"node": node_name, "data": dict(data)})
    except JsonFileError as error:
        raise ConfigCacheError(str(error)) from error


def forget_accepted(directory: str) -> bool:
    """Remove the file, and that of the adjustments, which come from the node agent too; False where there is neither.

    Raises:
        ConfigCacheError: one cannot be removed.
    """
    return any([_removed(path_in(directory)), _removed(adjustments_in(directory))])


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigCacheError(f"{path}: cannot be removed: {error.strerror or error}") from error
    return True


def policy_in_use(directory: str) -> str | None:
    """Return the policy whose decisions are kept in *directory*; None where nothing is, or nothing that can be read."""
    import sqlite3  # noqa: PLC0415 - few daemons are told to keep their policy

    from crirm.system.store_reading import FILE, read_only  # noqa: PLC0415

    path = Path(directory) / FILE
    if not path.exists():
        return None
    try:
        with closing(read_only(path)) as connection:
            row = connection.execute("SELECT value FROM meta WHERE key = 'policy'").fetchone()
            return None if row is None else str(json.loads(row[0]))
    except (sqlite3.Error, ValueError):
        return None
