"""The files of a host, which may be mounted below a directory of their own, as in a container."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_LINKS: Final = 40  # Source: path_resolution(7)


@attrs.frozen
class Host:
    """A host whose ``/`` is found at *root*.

    Symbolic links are followed as the host itself would: ``/var/run`` leads to *root*'s ``/run``, not to ours.
    """

    root: Path = attrs.field(default=Path("/"))

    def path(self, name: str) -> Path:
        """Return where the host's file *name* (absolute) is found, whether it exists or not."""
        resolved, rest, links = self.root, list(Path(name).parts[1:]), 0
        while rest:
            part = rest.pop(0)
            if part == "..":
                resolved = resolved if resolved == self.root else resolved.parent
                continue
            step = resolved / part
            if not step.is_symlink():
                resolved = step
                continue
            links += 1
            if links > MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
            target = step.readlink()
            resolved = self.root if target.is_absolute() else resolved
            rest = [*(p for p in target.parts if p != "/"), *rest]
        return resolved

    def text(self, name: str) -> str | None:
        """Return what the host's file *name* holds, None when there is none.

        Raises:
            OSError: it may not be read.
        """
        try:
            return self.path(name).read_text(errors="replace")
        except (FileNotFoundError, NotADirectoryError, ProcessLookupError):  # the last: a process that has just ended
            return None

    def names(self, directory: str) -> list[str]:
        """Return the absolute names of what is in the host's *directory*, sorted; none when there is none."""
        try:
            return sorted(f"{directory.rstrip('/')}/{entry.name}" for entry in self.path(directory).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def existing(self, names: list[str]) -> Iterator[str]:
        """Yield those of the absolute *names* that the host has."""
        return (name for name in names if self.path(name).exists())
