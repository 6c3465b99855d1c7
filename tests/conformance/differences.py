"""What the embedded runtime answers otherwise than every release of containerd, and why it may."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Scenario, step and field (both with * and ?), reason.
PERMITTED = (
)


def differences(scenario: str, sim: object, containerds: list[object]) -> list[str]:
    """Fields in which the embedded runtime is like no containerd, and that `PERMITTED` does not list."""
    known = [dict(_leaves(outcome)) for outcome in containerds]
    found = dict(_leaves(sim))
    paths = sorted({path for leaves in (found, *known) for path in leaves})
    return [
        f"{path}: {found.get(path)!r}, containerd {[leaves.get(path) for leaves in known]!r}"
        for path in paths
        if found.get(path) not in [leaves.get(path) for leaves in known] and not _is_permitted(scenario, path)
    ]


def _is_permitted(scenario: str, path: str) -> bool:
    return any(fnmatchcase(scenario, names) and fnmatchcase(path, paths) for names, paths, _ in PERMITTED)


def _leaves(value: object, at: str = "") -> Iterator[tuple[str, object]]:
    match value:
        case dict():
            yield at, "a message"
            for key, item in value.items():
                yield from _leaves(item, f"{at}/{key}")
        case list() | tuple():
            yield at, f"{len(value)} items"
            for number, item in enumerate(value):
                yield from _leaves(item, f"{at}/{number}")
        case _:
            yield at, value
