"""What the kernel has of one container: its CPUs, its memory by NUMA node, its waiting for CPUs.

All of it is read in a worker thread: `numa_maps` takes the kernel milliseconds for each GiB. A facility that is missing
is named, with the reason as far as it can be seen, and the others are read all the same.

Source: Linux Documentation/admin-guide/cgroup-v2.rst (cpuset.cpus.effective, memory.numa_stat, cpu.stat), accounting/
psi.rst, cgroup-v1/memory.rst (memory.numa_stat in pages), filesystems/proc.rst and man 7 numa (numa_maps).
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from crirm.model.cpuset import CPUSet, ListFormatError, NodeSet
from crirm.system.cgroup_cpuset import CPUS, MEMS, Side
from crirm.system.cgroup_files import CgroupError, Files
from crirm.system.cgroup_find import CgroupVersion, find_cgroups, find_hierarchies, folders

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from crirm.system.cgroup_find import Cgroup, Hierarchy, Place

S = TypeVar("S", CPUSet, NodeSet)

CGROUPS: Final = "sys/fs/cgroup"  # under the host's root
MOST_PROCESSES: Final = 64  # of one container, whose numa_maps are read
_V2_KINDS: Final = frozenset(
    {"anon", "file"}
)  # the pages of processes; other lines are parts of these, or the kernel's
_NODE: Final = re.compile(r"N(\d+)=(\d+)")
_PAGE: Final = re.compile(r"kernelpagesize_kB=(\d+)")
_AVERAGE: Final = re.compile(r"avg(10|60|300)=([0-9.]+)")
_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")


@attrs.frozen
class Pressure:
    """How much of the time a process of the container waited for a CPU, in percent.

    Args:
        avg10: of the last 10 s.
        avg60: of the last minute.
        avg300: of the last 5 minutes.
    """

    avg10: float
    avg60: float
    avg300: float


@attrs.frozen
class Throttling:
    """How often the CPU limit stopped the container.

    Args:
        periods: in which it ran.
        throttled: of those.
        throttled_us: microseconds in all.
    """

    periods: int
    throttled: int
    throttled_us: int


@attrs.frozen
class Analysis:
    """What the kernel has of a container; None where it does not tell.

    Args:
        cgroup: its path; empty if it has none.
        version: of cgroups, for its CPUs.
        cpus: effective ones.
        mems: effective NUMA nodes.
        memory: bytes by NUMA node.
        memory_source: where they are from.
        pressure: on CPUs.
        throttling: by the CPU limit.
        missing: what the kernel does not tell, and why.
    """

    cgroup: str
    version: str = ""
    cpus: CPUSet | None = None
    mems: NodeSet | None = None
    memory: Mapping[int, int] | None = None
    memory_source: str = ""
    pressure: Pressure | None = None
    throttling: Throttling | None = None
    missing: tuple[str, ...] = ()


def analyse(host_root: Path, place: Place) -> Analysis:
    """Return what the kernel of the host below *host_root* has of the container at *place*; blocks."""
    return _Reader(host_root, Files()).analyse(place)


class _Reader:
    """Reads the files of one container."""

    def __init__(self, host_root: Path, files: Files) -> None:
        self._proc = host_root / "proc"
        self._root = host_root / CGROUPS
        self._files = files
        self._hierarchies = find_hierarchies(self._root)
        self._missing: list[str] = []

    def analyse(self, place: Place) -> Analysis:
        cpuset = self._hierarchies.get("cpuset") or self._hierarchies.get("cpu")
        if cpuset is None:
            return Analysis("", missing=(f"{self._root}: no cpuset or cpu controller of cgroup v1 or v2",))
        (cgroup,) = find_cgroups(cpuset.root, [place])
        if cgroup is None:
            return Analysis("", missing=("the container has no cgroup: it has ended, or runs in a virtual machine",))
        memory, source = self._memory(cgroup, cpuset)
        return Analysis(
            cgroup=str(cpuset.root / cgroup.of_processes),
            version=cpuset.version.value,
            cpus=self._effective(cgroup, CPUS),
            mems=self._effective(cgroup, MEMS),
            memory=memory,
            memory_source=source,
            pressure=self._pressure(cgroup),
            throttling=self._throttling(cgroup),
            missing=tuple(self._missing),
        )

    def _read(self, path: Path) -> str | None:
        try:
            return self._files.read(path)
        except CgroupError as error:
            self._missing.append(str(error))
            return None

    # --- CPUs ----------------------------------------------------------------------------------------------------

    def _effective(self, cgroup: Cgroup, side: Side[S]) -> S | None:
        found = self._hierarchies.get("cpuset")
        if found is None:
            if side.file == CPUS.file:
                self._missing.append("effective CPUs and memory nodes: the cpuset controller is not available")
            return None
        v2 = found.version is CgroupVersion.V2
        folder = found.root / cgroup.of_processes
        for at in _upwards(folder, found.root):  # without the controller, the nearest cgroup above that has it counts
            for name in (side.effective_v2,) if v2 else (side.effective_v1, side.file):
                if text := self._read(at / name):
                    return _parsed(side, text)
        self._missing.append(f"{folder}: no {side.file} of the kernel")
        return None

    def _pressure(self, cgroup: Cgroup) -> Pressure | None:
        cpu = self._hierarchies.get("cpu")
        if cpu is None or cpu.version is CgroupVersion.V1:
            self._missing.append("CPU pressure: cgroup v1 does not tell it for each cgroup; cgroup v2 does")
            return None
        path = cpu.root / cgroup.of_processes / "cpu.pressure"
        found = parse_pressure(self._read(path) or "")
        if found is None:
            self._missing.append(f"CPU pressure: {path} is missing or empty; boot with psi=1 to turn PSI on")
        return found

    def _throttling(self, cgroup: Cgroup) -> Throttling | None:
        cpu = self._hierarchies.get("cpu")
        if cpu is None:
            self._missing.append("throttling: the cpu controller is not available")
            return None
        found = [
            parse_throttling(self._read(cpu.root / path / "cpu.stat") or "")
            for path in dict.fromkeys((cgroup.own, cgroup.of_processes))
        ]
        known = [one for one in found if one is not None]
        if not known:
            self._missing.append(f"throttling: {cpu.root / cgroup.own}/cpu.stat does not tell; is cpu enabled there?")
            return None
        return max(known, key=lambda one: (one.throttled, one.periods))

    # --- memory --------------------------------------------------------------------------------------------------

    def _memory(self, cgroup: Cgroup, cpuset: Hierarchy) -> tuple[Mapping[int, int] | None, str]:
        stat = self._numa_stat(cgroup)
        if stat is not None:
            return stat, "memory.numa_stat"
        found, problem = self._numa_maps(cpuset.root / cgroup.of_processes)
        if found is not None:
            return found, "/proc/PID/numa_maps"
        self._missing.append(f"memory by NUMA node: no memory.numa_stat in its memory cgroup, and {problem}")
        return None, ""

    def _numa_stat(self, cgroup: Cgroup) -> Mapping[int, int] | None:
        for folder in (self._root, *folders(self._root)):
            path = folder / cgroup.own / "memory.numa_stat"
            text = self._read(path) if path.is_file() else None
            if text:
                v2 = (path.parent / "cgroup.controllers").exists()
                return parse_numa_stat_v2(text) if v2 else parse_numa_stat_v1(text, _PAGE_BYTES)
        return None

    def _numa_maps(self, folder: Path) -> tuple[Mapping[int, int] | None, str]:
        """Return the memory of all processes; what several of them map counts for each."""
        processes = (self._read(folder / "cgroup.procs") or "").split()[:MOST_PROCESSES]
        if not processes:
            return None, "it has no processes"
        maps, problem = [], ""
        for process in processes:
            path = self._proc / process / "numa_maps"
            try:
                maps.append(path.read_text(errors="replace"))
            except OSError as error:
                problem = f"{path} cannot be read ({error.strerror})"
        return (parse_numa_maps("\n".join(maps)), "") if maps else (None, problem)


def _upwards(folder: Path, root: Path) -> list[Path]:
    """Return *folder* and those above it, *root* the last."""
    return [folder, *(at for at in folder.parents if at == root or root in at.parents)]


def _parsed(side: Side[S], text: str) -> S | None:
    try:
        return side.kind.parse(text)
    except ListFormatError:
        return None


# --- formats ---------------------------------------------------------------------------------------------------------


def parse_numa_stat_v2(text: str) -> dict[int, int]:
    """Return bytes by node: the anonymous memory and the page cache of a cgroup and those below it."""
    return _summed(_nodes(line) for line in text.splitlines() if line.split(" ", 1)[0] in _V2_KINDS)


def parse_numa_stat_v1(text: str, page_bytes: int) -> dict[int, int]:
    """Return bytes by node, of a cgroup and those below it where the kernel tells these (since Linux 3.3).

    Args:
        text: lines such as ``hierarchical_total=5 N0=2 N1=3``.
        page_bytes: size of a page.
    """
    lines = {line.split("=", 1)[0]: line for line in text.splitlines()}
    total = lines.get("hierarchical_total") or lines.get("total") or ""
    return _summed([_nodes(total, page_bytes)])


def parse_numa_maps(text: str) -> dict[int, int]:
    """Return bytes by node, of all mappings; without ``kernelpagesize_kB``, pages have the usual size."""
    return _summed(_nodes(line, _page_bytes(line)) for line in text.splitlines())


def _page_bytes(line: str) -> int:
    size = _PAGE.search(line)
    return int(size[1]) << 10 if size else _PAGE_BYTES


def _nodes(line: str, unit: int = 1) -> list[tuple[int, int]]:
    return [(int(node), int(amount) * unit) for node, amount in _NODE.findall(line)]


def _summed(lines: Iterable[list[tuple[int, int]]]) -> dict[int, int]:
    sums: dict[int, int] = {}
    for node, amount in _flat(lines):
        sums[node] = sums.get(node, 0) + amount
    return dict(sorted(sums.items()))


def _flat(lines: Iterable[list[tuple[int, int]]]) -> Iterator[tuple[int, int]]:
    for line in lines:
        yield from line


def parse_pressure(text: str) -> Pressure | None:
    """Return the line ``some`` of a pressure file; None if there is none."""
    line = next((line for line in text.splitlines() if line.startswith("some ")), "")
    found = {span: float(percent) for span, percent in _AVERAGE.findall(line)}
    return Pressure(found["10"], found["60"], found["300"]) if len(found) == 3 else None


def parse_throttling(text: str) -> Throttling | None:
    """Return what ``cpu.stat`` tells, in nanoseconds on v1 and microseconds on v2; None if it tells nothing."""
    values = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    if not {"nr_periods", "nr_throttled"} <= values.keys():
        return None
    in_us = (
        int(values["throttled_usec"]) if "throttled_usec" in values else int(values.get("throttled_time", 0)) // 1000
    )
    return Throttling(int(values["nr_periods"]), int(values["nr_throttled"]), in_us)
