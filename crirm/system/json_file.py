"""A file with one JSON document, replaced completely or not at all; only its owner may read it."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from crirm.errors import CrirmError


class JsonFileError(CrirmError):
    """The file exists but cannot be read, or cannot be written."""


def read_json(path: Path) -> Any:
    """Return the document in *path*, None where there is no such file.

    Raises:
        JsonFileError: it cannot be read, or is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise JsonFileError(f"{path}: cannot be read: {error}") from error


def write_json(path: Path, document: Any) -> None:
    """Replace what *path* holds with *document*; once this returns, a power cut does not undo it.

    Raises:
        JsonFileError: it cannot be written; what was there is there still.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            try:
                json.dump(document, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
                Path(file.name).replace(path)
            except BaseException:
                Path(file.name).unlink()
                raise
        _sync_directory(path.parent)
    except OSError as error:
        raise JsonFileError(f"{path}: cannot be written: {error.strerror or error}") from error


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
