"""Small reads below a host root, and the list of what was odd in them."""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs

from crirm.model.cpuset import CPUSet, ListFormatError, NodeSet

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU_DIR = "sys/devices/system/cpu"
NODE_DIR = "sys/devices/system/node"

_CHUNK = 4096
_SHOWN_FILES = 3

_Set = TypeVar("_Set", CPUSet, NodeSet)


class Fault(enum.Enum):
    """What can be odd about a machine's description; the value says it of ``{what}``, with what was done about it."""

    UNREADABLE = "{what} cannot be read; treated as missing"
    MALFORMED = "{what} has unexpected content; treated as missing"
    NO_ONLINE_LIST = "the list of online CPUs is missing; {what} treated as online"
    NO_PACKAGE = "{what} have no package number; treated as one package"
    NO_DIE = "{what} have no die number; treated as one die per package"
    BAD_GROUP = "{what} are grouped inconsistently; groups were split or merged"
    NO_CACHE = "{what} have no L2 or L3 cache information; ignored for cache groups"
    NUMA_OFF = "no NUMA nodes (disabled or not supported); {what} and all memory treated as NUMA node 0"
    NO_NODE = "{what} are in no NUMA node; assigned to the first one of their package"
    TWO_NODES = "{what} are in several NUMA nodes; assigned to the first"
    EMPTY_NODE = "{what} have neither CPUs nor memory; ignored"
    NO_MEMORY_SIZE = "{what} have no memory size; treated as without memory"
    NO_NORMAL_LIST = "the list of NUMA nodes with normal memory is missing; {what} treated as having it"
    NO_DISTANCE = "{what} have no distances; treated as 10 to itself and 20 to others"
    BAD_DISTANCE = "{what} have inconsistent distances; using the larger of each pair, and 10 to itself"
    GUESSED_KIND = (
        "{what} have memory of unknown kind and no CPUs; treated as HBM if smaller than the "
        "average DRAM node, otherwise as PMEM"
    )


@attrs.frozen
class Oddity:
    """One kind of fault and where it was met; its text is one sentence for the operator."""

    fault: Fault
    what: str

    def __str__(self) -> str:
        return self.fault.value.format(what=self.what)


class SysFiles:
    """Reads files below one host root and collects what is odd; a file that is missing is no error."""

    def __init__(self, host_root: Path) -> None:
        self._root = str(host_root).rstrip("/")
        self._paths: dict[Fault, dict[str, None]] = {}
        self._cpus: dict[Fault, CPUSet] = {}
        self._nodes: dict[Fault, NodeSet] = {}

    def shown(self, path: str) -> str:
        """Return *path*, which is relative to the host root, as the operator knows it."""
        return f"{self._root}/{path}"

    def text(self, path: str) -> str | None:
        """Return the stripped content of a file, or None if there is none to be had."""
        try:
            fd = os.open(f"{self._root}/{path}", os.O_RDONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            self._odd_file(Fault.UNREADABLE, path)
            return None
        try:
            content = chunk = os.read(fd, _CHUNK)
            while len(chunk) == _CHUNK:
                content += (chunk := os.read(fd, _CHUNK))
        except OSError:
            self._odd_file(Fault.UNREADABLE, path)
            return None
        finally:
            os.close(fd)
        return content.decode("ascii", "replace").strip()

    def number(self, path: str) -> int | None:
        """Return the whole number in a file, or None."""
        text = self.text(path)
        if text is None:
            return None
        try:
            return int(text)
        except ValueError:
            self._odd_file(Fault.MALFORMED, path)
            return None

    def cpus(self, path: str) -> CPUSet | None:
        """Return the CPU list in a file, or None."""
        return self._set(CPUSet, path)

    def nodes(self, path: str) -> NodeSet | None:
        """Return the NUMA node list in a file, or None."""
        return self._set(NodeSet, path)

    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory; none if it is missing."""
        try:
            return sorted(entry.name for entry in Path(f"{self._root}/{path}").iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []
        except OSError:
            self._odd_file(Fault.UNREADABLE, path)
            return []

    def numbered(self, path: str, prefix: str) -> list[int]:
        """Return the numbers of the entries of a directory that are *prefix* and a number, ascending."""
        found = (name.removeprefix(prefix) for name in self.names(path) if name.startswith(prefix))
        return sorted(int(digits) for digits in found if digits.isascii() and digits.isdecimal())

    def link(self, path: str) -> str:
        """Return where a symbolic link points, or an empty text."""
        try:
            return str(Path(f"{self._root}/{path}").readlink())
        except OSError:
            return ""

    def note(self, fault: Fault, where: CPUSet | NodeSet) -> None:
        """Remember that *fault* was met at these CPUs or NUMA nodes."""
        if isinstance(where, CPUSet):
            self._cpus[fault] = self._cpus.get(fault, CPUSet()) | where
        else:
            self._nodes[fault] = self._nodes.get(fault, NodeSet()) | where

    def malformed(self, path: str) -> None:
        """Remember that a file did not hold what it should."""
        self._odd_file(Fault.MALFORMED, path)

    def oddities(self) -> tuple[Oddity, ...]:
        """Return all that was odd: each fault once, with all the places where it was met."""
        return tuple(Oddity(fault, what) for fault in Fault for what in self._places(fault))

    def _places(self, fault: Fault) -> Iterator[str]:
        if cpus := self._cpus.get(fault):
            yield f"CPU{'' if len(cpus) == 1 else 's'} {cpus}"
        if nodes := self._nodes.get(fault):
            yield f"NUMA node{'' if len(nodes) == 1 else 's'} {nodes}"
        if paths := self._paths.get(fault):
            more = len(paths) - _SHOWN_FILES
            yield ", ".join(list(paths)[:_SHOWN_FILES]) + (f" and {more} more files" if more > 0 else "")

    def _odd_file(self, fault: Fault, path: str) -> None:
        self._paths.setdefault(fault, {})[self.shown(path)] = None

    def _set(self, kind: type[_Set], path: str) -> _Set | None:
        text = self.text(path)
        if text is None:
            return None
        try:
            return kind.parse(text)
        except ListFormatError:
            self._odd_file(Fault.MALFORMED, path)
            return None
