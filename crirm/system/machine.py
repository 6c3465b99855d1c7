"""The current machine: a quick check, and full discovery from sysfs; both block.

The kernel reports hotplug by uevents, but nothing reports a cgroup that was reduced. So crirm polls
a few small files; only if they have changed, it reads sysfs completely.

On cgroup v1 a CPU that goes offline leaves every cpuset for ever, so that pods lose it even when it is back. With v2 it
comes back by itself. Source: Linux Documentation/admin-guide/cgroup-v1/cpusets.rst, section 1.2; cgroup-v2.rst, Cpuset.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

from crirm.model.hardware import Hardware, Limit, Sight, hardware_of
from crirm.model.quantity import Bytes
from crirm.system.cgroup_cpuset import CPUS, MEMS, Cpuset, CpusetV1, CpusetV2
from crirm.system.cgroup_files import CgroupError, Files
from crirm.system.cgroup_find import CgroupVersion, find_hierarchies, parent_paths
from crirm.system.sysfs import discover

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from crirm.system.sysfs_files import Oddity

_FACTS: Final = (
    "sys/devices/system/cpu/online",
    "sys/devices/system/cpu/present",
    "sys/devices/system/node/online",
    "sys/devices/system/node/has_cpu",
    "sys/devices/system/node/has_memory",
    "sys/devices/system/node/has_normal_memory",
)
_TOTAL: Final = re.compile(r"MemTotal:\s+(\d+) kB")
_CGROUPS: Final = "sys/fs/cgroup"
_USUAL: Final = (Path("kubepods.slice"), Path("kubepods"))  # of the kubelet, with the drivers systemd and cgroupfs
_CLASSES: Final = ("burstable", "besteffort")


@attrs.define
class MachineFiles:
    """Looks at one host.

    Args:
        host_root: where the host's files are.
    """

    host_root: Path
    _cpuset: Cpuset | None = attrs.field(default=None, init=False)
    _files: Files = attrs.field(factory=Files, init=False)

    def look(self, parents: Collection[str]) -> Sight:
        """Return what a quick look shows.

        Args:
            parents: the cgroup parents of the pods that are known.
        """
        facts = tuple(_text(self.host_root / path) for path in _FACTS)
        found = _TOTAL.search(_text(self.host_root / "proc/meminfo"))
        return Sight(facts, Bytes(int(found[1]) * 1024 if found else 0), tuple(self._limits(parents)))

    def read(self, parents: Collection[str]) -> tuple[Hardware, tuple[Oddity, ...]]:
        """Return the machine, and what was odd about its description.

        Raises:
            CrirmError: there is none to be found, or cgroups leave pods nothing of it.
        """
        sight = self.look(parents)
        discovery = discover(self.host_root)
        return hardware_of(discovery.topology, sight), discovery.warnings

    def _limits(self, parents: Collection[str]) -> Iterator[Limit]:
        cpuset = self._found()
        if cpuset is None:
            return
        for above in kubelet_cgroups(parents):
            for folder in (above, *_of_classes(above)):
                limit = self._limit(cpuset, folder)
                if limit is not None:
                    yield limit

    def _limit(self, cpuset: Cpuset, folder: Path) -> Limit | None:
        try:
            cpus, mems = cpuset.allowed(folder, CPUS), cpuset.allowed(folder, MEMS)
        except CgroupError:
            return None  # the enforcer tells of cgroups that cannot be read
        if not cpus or not mems:  # not there, or not set up yet
            return None
        return Limit(f"/{folder}", str(cpuset.root / folder / CPUS.file), cpus, mems, isinstance(cpuset, CpusetV1))

    def _found(self) -> Cpuset | None:
        if self._cpuset is None or not self._cpuset.root.is_dir():
            found = find_hierarchies(self.host_root / _CGROUPS).get("cpuset")
            kind = CpusetV1 if found is not None and found.version is CgroupVersion.V1 else CpusetV2
            self._cpuset = None if found is None else kind(self._files, found.root)
        return self._cpuset


def kubelet_cgroups(parents: Collection[str]) -> tuple[Path, ...]:
    """Return the cgroups that may hold all pods of a kubelet: those above *parents*, else where they usually are."""
    found = dict.fromkeys(path for parent in sorted(parents) for path in _above(parent))
    return tuple(found) or _USUAL


def _above(parent: str) -> Iterator[Path]:
    for path in parent_paths(parent):
        at = [number for number, part in enumerate(path.parts) if _is_kubelets(part)]
        if at:
            yield Path(*path.parts[: at[-1] + 1])


def _is_kubelets(part: str) -> bool:
    """Tell whether a cgroup of this name holds a kubelet's pods; with a ``--cgroup-root``, slices have longer names."""
    return part == "kubepods" or (part.endswith(".slice") and part.removesuffix(".slice").split("-")[-1] == "kubepods")


def _of_classes(above: Path) -> Iterator[Path]:
    slice_ = above.name.endswith(".slice")
    for name in _CLASSES:
        yield above / (f"{above.name.removesuffix('.slice')}-{name}.slice" if slice_ else name)


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
