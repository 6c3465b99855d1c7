"""CDI files: which variables of the environment a CDI device sets.

Drivers write one JSON file per device or a few, into a directory that the runtime reads when a container is created.
All calls block.

Source: the specification of CDI, github.com/cncf-tags/container-device-interface, SPEC.md: ``kind`` is vendor and
class, ``devices[].name`` the rest of a device's name, ``containerEdits.env`` variables as ``NAME=VALUE``; what stands
beside ``devices`` holds for all of them. The first of several directories is the weakest.
"""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DIRECTORIES: Final = ("etc/cdi", "var/run/cdi", "run/cdi")
"""Of the host, the weakest first; the latter two are usually one."""
LONGEST_BYTES: Final = 1 << 20


def variables_of(devices: tuple[str, ...], host_root: Path) -> dict[str, tuple[str, ...]]:
    """Return the variables that each of *devices* sets, ``NAME=VALUE``; those in no file are left out.

    Args:
        devices: qualified names, such as ``dra.k8s.io/cpu=claim-1``.
        host_root: where the host's files are.
    """
    found: dict[str, tuple[str, ...]] = {}
    wanted = frozenset(devices)
    for directory in DIRECTORIES:
        for path in _files(host_root / directory):
            found |= {name: variables for name, variables in _devices(_read(path)) if name in wanted}
    return found


def _files(directory: Path) -> list[Path]:
    try:
        return sorted(path for path in directory.iterdir() if path.suffix == ".json")
    except OSError:
        return []


def _read(path: Path) -> Any:
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            plain = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return json.loads(file.read(LONGEST_BYTES)) if plain else None
    except (OSError, ValueError, RecursionError):  # being written, or not for us: then no file tells the device
        return None


def _without_waiting(path: str, flags: int) -> int:
    """Open *path*; the other end of a pipe is not waited for."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)


def _devices(document: Any) -> Iterator[tuple[str, tuple[str, ...]]]:
    if not isinstance(document, dict) or not isinstance(document.get("devices"), list):
        return
    common = _variables(document)
    for device in document["devices"]:
        if isinstance(device, dict):
            yield f"{document.get('kind')}={device.get('name')}", (*_variables(device), *common)


def _variables(part: Mapping[str, Any]) -> tuple[str, ...]:
    edits = part.get("containerEdits")
    listed = edits.get("env") if isinstance(edits, dict) else None
    return tuple(one for one in listed if isinstance(one, str)) if isinstance(listed, list) else ()
