"""What the kernel enforces for a process; nothing here asks crirm."""

from __future__ import annotations

import math
import re
from pathlib import Path

from crirm.model.cpuset import CPUSet, NodeSet

_CGROUPS = Path("/sys/fs/cgroup")


def allowed_cpus(pid: int) -> CPUSet:
    """Return the CPUs that a process may run on."""
    return CPUSet.parse(_status(pid)["Cpus_allowed_list"])


def allowed_mems(pid: int) -> NodeSet:
    """Return the NUMA nodes that a process may take memory from."""
    return NodeSet.parse(_status(pid)["Mems_allowed_list"])


def memory_by_node(pid: int) -> dict[int, int]:
    """Return the bytes of their own memory that a process and others of its cgroup have on each NUMA node.

    Source: Documentation/filesystems/proc.rst of the kernel, numa_maps.
    """
    found: dict[int, int] = {}
    processes = cgroup_of(pid).joinpath("cgroup.procs").read_text().split()
    for line in (line for each in processes for line in _numa_maps(each)):
        if " anon=" not in line:
            continue  # pages of files lie where whoever read them first was
        page_kib = re.search(r"kernelpagesize_kB=(\d+)", line)
        assert page_kib, line
        for node, pages in re.findall(r" N(\d+)=(\d+)", line):
            found[int(node)] = found.get(int(node), 0) + int(pages) * int(page_kib[1]) * 1024
    return found


def _numa_maps(pid: str) -> list[str]:
    try:
        return Path(f"/proc/{pid}/numa_maps").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []  # it has ended meanwhile


def cgroup_of(pid: int) -> Path:
    """Return the directory of the cgroup that a process is in."""
    (line,) = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    return _CGROUPS / line.removeprefix("0::/")


def effective_cpus(pid: int) -> CPUSet:
    """Return what its cgroup tells of the CPUs that a process may run on."""
    return CPUSet.parse(cgroup_of(pid).joinpath("cpuset.cpus.effective").read_text().strip())


def cpu_limit(pid: int) -> float:
    """Return how many CPUs' worth of time the cgroup of a process may use; infinity for no limit."""
    quota_us, period_us = cgroup_of(pid).joinpath("cpu.max").read_text().split()
    return math.inf if quota_us == "max" else int(quota_us) / int(period_us)


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
