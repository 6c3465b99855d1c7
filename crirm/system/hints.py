"""Topology hints: the places of the devices and disks that a container uses.

From a path on the host to a place in the machine:

1. A device node tells its own device, any other file the disk whose file system it is on.
2. ``/sys/dev`` leads from a device number to the device in ``/sys/devices``; devices that are made of others (LVM, md,
   NVMe multipath) and VFIO groups lead to those others.
3. The first directory from there upwards that tells NUMA node or CPUs, counts.

Firmware is wrong here in known ways. If it names all CPUs, it is ignored. If it names a NUMA node without
CPUs, a parent directory is used, and if none is better, the number is treated as that of a package, which is
what such firmware means.

All calls block, and on a dead network file system they block for ever: call them in a thread
and limit the wait.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet, NodeSet
from crirm.model.workload import TopologyHint
from crirm.system.sysfs_files import CPU_DIR, NODE_DIR, SysFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from crirm.cri.decode import Place

    Finder = Callable[[str, str], "DeviceNumber | None"]

_SKIPPED = (
    "/.cri-resmgr",
    "/etc/",
    "/dev/termination-log",
    "/lib/",
    "/lib64/",
    "/usr/lib/",
    "/usr/lib32/",
    "/usr/lib64/",
)
"""Beginnings of paths, on the host or in the container, that every container has and that tell nothing about it."""
_VOLUME = re.compile(r"/pods/[^/]+/volumes/kubernetes\.io~(configmap|secret|projected|downward-api)/")
"""Volumes that the kubelet makes on its own disk; their files are read once."""
_DEVICES = "sys/devices/"
_VFIO_GROUP = re.compile(r"sys/devices/virtual/vfio/(\d+)", re.ASCII)
_NVME_MULTIPATH = re.compile(r"sys/devices/virtual/nvme-subsystem/[^/]+", re.ASCII)
_MOST_LINKS = 40
"""Symbolic links in one path, as in Linux."""


@attrs.frozen
class DeviceNumber:
    """A device as the kernel numbers it."""

    kind: str
    """``block`` or ``char``."""
    major: int
    minor: int


def hints_of(
    places: Iterable[Place], *, host_root: Path, find_device: Finder | None = None
) -> tuple[TopologyHint, ...]:
    """Return where the devices and disks behind *places* are, each once; blocking.

    Unknown places are left out: hints never prevent the start of a container.

    Args:
        places: mounts and devices of a container; read-only ones and those that every container has do not count.
        host_root: where the host's files are seen.
        find_device: tells the device behind a path (`device_of`).
    """
    find = find_device or device_of
    root = str(host_root).rstrip("/")
    machine = _Machine(root)
    hints: dict[str, TopologyHint] = {}
    for path in dict.fromkeys(place.path for place in places if _counts(place)):
        number = find(root, path)
        for hint in machine.hints(number) if number else ():
            hints.setdefault(hint.provider, hint)
    return tuple(hints.values())


def device_of(root: str, path: str) -> DeviceNumber | None:
    """Return the device that *path* is, or that the file system holding it is on; None where there is none; blocking.

    Args:
        root: of the host's files, without a slash at the end.
        path: on the host, absolute.
    """
    try:
        found = Path(_resolved(root, path)).lstat()
    except (OSError, ValueError):
        return None
    if stat.S_ISCHR(found.st_mode):
        return DeviceNumber("char", os.major(found.st_rdev), os.minor(found.st_rdev))
    device = found.st_rdev if stat.S_ISBLK(found.st_mode) else found.st_dev
    return DeviceNumber("block", os.major(device), os.minor(device))


def _resolved(root: str, path: str) -> str:
    """Return where *path* leads for the host, for which symbolic links start at its own root."""
    done: list[str] = []
    todo = deque(path.split("/"))
    links = 0
    while todo:
        part = todo.popleft()
        if part == "..":
            del done[-1:]
        elif part not in ("", "."):
            target = _link("/".join([root, *done, part]))
            if target is None:
                done.append(part)
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                done.clear()
            todo.extendleft(reversed(target.split("/")))
    return "/".join([root, *done]) or "/"


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115 - a Path costs more than the call
    except OSError:
        return None


def _counts(place: Place) -> bool:
    if not place.writable or not place.path.startswith("/"):
        return False
    return (
        not place.path.startswith(_SKIPPED) and not place.inside.startswith(_SKIPPED) and not _VOLUME.search(place.path)
    )


class _Machine:
    """The devices of one host; paths are relative to its root."""

    def __init__(self, root: str) -> None:
        self._root = os.path.realpath(root or "/").rstrip("/")
        self._files = SysFiles(Path(self._root or "/"))
        self._online = self._files.cpus(f"{CPU_DIR}/online") or NO_CPUS

    def hints(self, number: DeviceNumber) -> Iterator[TopologyHint]:
        """Yield the hints of a device and of all that it is made of."""
        if not number.major:
            return  # a file system without a device, such as tmpfs
        todo = deque(self._real(f"sys/dev/{number.kind}/{number.major}:{number.minor}"))
        seen: set[str] = set()
        while todo:
            device = todo.popleft()
            if device not in seen:
                seen.add(device)
                hint = self._first_hint(device)
                if hint is not None:
                    yield hint
                todo.extend(self._parts(device))

    def _real(self, path: str) -> list[str]:
        """Return the device that *path* leads to, or nothing."""
        real = os.path.realpath(f"{self._root}/{path}").removeprefix(f"{self._root}/")
        return [real] if real.startswith(_DEVICES) else []

    def _parts(self, device: str) -> Iterator[str]:
        """Yield the devices that *device* is made of."""
        folders = [(f"{device}/slaves", "")]
        if group := _VFIO_GROUP.fullmatch(device):
            folders.append((f"sys/kernel/iommu_groups/{group[1]}/devices", ""))
        if subsystem := _NVME_MULTIPATH.match(device):
            folders.append((subsystem[0], "nvme"))
        for folder, prefix in folders:
            for name in self._files.names(folder):
                if name.startswith(prefix) and self._files.link(f"{folder}/{name}"):
                    yield from self._real(f"{folder}/{name}")

    def _first_hint(self, device: str) -> TopologyHint | None:
        """Return what the nearest directory from *device* upwards tells."""
        package: TopologyHint | None = None
        folder = device
        while folder.startswith(_DEVICES):
            provider = f"/{folder}"
            cpus = self._files.cpus(f"{folder}/local_cpulist") or NO_CPUS
            node = self._files.number(f"{folder}/numa_node")
            nodes = NodeSet.of(node) if node is not None and node >= 0 else None
            if cpus and not cpus >= self._online:
                return TopologyHint(provider, cpus, nodes)
            if nodes and not cpus:
                if self._cpus_of(nodes):
                    return TopologyHint(provider, nodes=nodes)
                package = package or TopologyHint(provider, packages=frozenset(nodes))
            folder = folder.rpartition("/")[0]
        return package

    def _cpus_of(self, nodes: NodeSet) -> CPUSet:
        return CPUSet.union(self._files.cpus(f"{NODE_DIR}/node{node}/cpulist") or NO_CPUS for node in nodes)
