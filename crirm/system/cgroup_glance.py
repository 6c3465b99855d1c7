"""Whether a container's cgroup has changed since it was last read, in a few microseconds.

inotify does not report changes that the kernel makes in cgroup files, and finding, opening and parsing them takes
a hundred times as long as reading an open one. So the files of a reading are kept open, and only compared.
An open file does not keep a cgroup alive: reads of a removed one fail with ENODEV. Blocking; for one thread at a time.
"""

from __future__ import annotations

import os
import resource
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import attrs

from crirm.system.cgroup_files import Files

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BYTES: Final = 4096  # longer lists are compared as far as this
OPEN_FILES: Final = 65536
"""What is asked for as the limit of open files: four or five of each container, and the callers' connections."""


def raise_limit_of_open_files() -> None:
    """Raise the soft limit of open files to what crirm may need, as far as the hard limit allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def spare_files() -> int:
    """Return how many files may be kept open here: half of the limit, since connections need theirs."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return OPEN_FILES // 2 if soft == resource.RLIM_INFINITY else soft // 2


class ReadFiles(Files):
    """Files that remember what was read from them.

    Args:
        files: access to them.
    """

    def __init__(self, files: Files) -> None:
        self._files = files
        self.contents: dict[Path, str] = {}

    def read(self, path: Path) -> str | None:
        """See ``Files.read``."""
        text = self._files.read(path)
        if text is not None:
            self.contents[path] = text
        return text


@attrs.define(eq=False)
class _Seen:
    """Files of one container; closed with the last who knows them, for a thread may be left behind that reads."""

    paths: tuple[Path, ...]
    contents: tuple[bytes, ...]
    fds: list[int] = attrs.field(factory=list, init=False)

    def open(self) -> None:
        for path in self.paths:
            self.fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))

    def is_same(self) -> bool:
        pread = os.pread
        return all(pread(fd, _BYTES, 0) == was for fd, was in zip(self.fds, self.contents, strict=True))

    def __del__(self) -> None:
        for fd in self.fds:
            os.close(fd)


@attrs.define(eq=False)
class Glances:
    """What the files of each container held, by its id.

    Args:
        most: files that are kept open; containers beyond that are not looked at here.
    """

    most: int = attrs.field(factory=spare_files)
    _seen: dict[str, _Seen] = attrs.field(factory=dict, init=False)
    _open: int = attrs.field(default=0, init=False)

    def keep(self, container: str, contents: Mapping[Path, str]) -> None:
        """Compare from now on with *contents*, which were just read, by path."""
        paths, texts = tuple(contents), tuple(f"{text}\n".encode()[:_BYTES] for text in contents.values())
        seen = self._seen.get(container)
        if seen is not None and seen.paths == paths:
            seen.contents = texts
            return
        self.forget(container)
        if not paths or self._open + len(paths) > self.most:
            return
        seen = _Seen(paths, texts)
        with suppress(OSError):  # it has vanished, or there are no more files to be had
            seen.open()
            self._seen[container] = seen
            self._open += len(paths)

    def forget(self, container: str) -> None:
        """Compare no more."""
        seen = self._seen.pop(container, None)
        if seen is not None:
            self._open -= len(seen.paths)

    def changed(self, part: int, parts: int) -> list[str]:
        """Return of every *parts*-th container, from number *part* on, those that are not as they were read."""
        found = []
        for container in list(self._seen)[part::parts]:
            try:
                if not self._seen[container].is_same():
                    found.append(container)
            except OSError:
                self.forget(container)  # it has vanished, and its container with it
        return found
