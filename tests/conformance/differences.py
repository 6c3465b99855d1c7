"""What the embedded runtime answers otherwise than every release of containerd, and why it may."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ITSELF = "it tells who it is"
_NEWER = "it has what came to CRI after these releases of containerd"
_WORDS = "the same refusal in other words"
_NO_HOST = "there is no CNI, kernel, runc or file system behind it"
_NO_CRIU = "containerd from 2.1.9 on looks for CRIU, which is not there, before it looks for the container"

# Scenario, field (with * and ?), reason.
PERMITTED = (
    ("version", "/version/runtime*", _ITSELF),
    ("large_request", "/answer/reply/runtime*", _ITSELF),
    ("*status", "*/runtimeHandlers/?/features/userNamespaces", _NEWER),
    ("*status", "*/conditions/1/*", _NO_HOST),
    ("verbose_status", "/info*", _ITSELF),
    ("empty_requests", "/*Metric*", _NEWER),
    ("empty_requests", "/UpdatePodSandboxResources/*", _NEWER),
    ("empty_requests", "/PullImage/text", _WORDS),
    ("unknown_ids", "/CheckpointContainer/code", _NO_CRIU),
    ("unknown_ids", "/UpdatePodSandboxResources/*", _NEWER),
    ("streamed_lists", "*", _NEWER),
    ("*", "/Checkpoint*/text", _WORDS),
    ("*", "/RestorePod/text", _WORDS),
    ("unknown_methods", "//nonsense/text", _WORDS),
    ("unreadable_request", "/text", _WORDS),
    ("*", "*/imageId", _NEWER),
    ("*", "*/stopSignal", _NEWER),
    ("statistics", "*/swap*", _NEWER),
    ("statistics", "*/fsId/mountpoint", _NO_HOST),
    ("updated_resources", "/impossible*", _NO_HOST),
    ("image_listing", "*/size", _NO_HOST),
    ("image_file_system", "/info/containerFilesystems*", _NEWER),
    ("image_file_system", "*/fsId/mountpoint", _NO_HOST),
    ("exec_stream", "/status/message", _WORDS),
    ("large_output", "/length", "it passes on all output, containerd cuts it at 16 MiB"),
)


def differences(scenario: str, sim: object, containerds: Sequence[object]) -> list[str]:
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
