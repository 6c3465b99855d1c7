"""The CPUs, memory nodes and CPU limits of containers, read from and written to the host's cgroups.

All calls block, so use them in a worker thread.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

import attrs

from crirm.errors import CrirmError
from crirm.model.cpuset import CPUSet, NodeSet  # noqa: TC001 - attrs resolves field types at run time
from crirm.system.cgroup_cpu import CpuV1, CpuV2, Quota, WeightFormula
from crirm.system.cgroup_cpuset import CPUS, MEMS, Cpuset, CpusetV1, CpusetV2
from crirm.system.cgroup_files import CgroupError, CgroupGoneError, Files
from crirm.system.cgroup_find import (
    Cgroup,
    CgroupVersion,
    Hierarchy,
    Place,
    find_cgroups,
    find_hierarchies,
)
from crirm.system.cgroup_glance import Glances, ReadFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

HOST_CGROUPS: Final = Path("/sys/fs/cgroup")


class CgroupsUnusableError(CrirmError):
    """There is no usable cgroup hierarchy."""


@attrs.frozen
class Reading:
    """The cgroup settings of one container; None where the host has none.

    Args:
        cpus: on which its processes may run.
        mems: from which they may take memory.
        shares: on cgroup v1.
        weight: on cgroup v2.
        quota: the CPU limit.
        online_cpus: of the machine.
        online_mems: of the machine.
        follows: whether memory follows when the runtime changes its nodes; None where it always does, as on cgroup v2.
    """

    cpus: CPUSet | None = None
    mems: NodeSet | None = None
    shares: int | None = None
    weight: int | None = None
    quota: Quota | None = None
    online_cpus: CPUSet | None = None
    online_mems: NodeSet | None = None
    follows: bool | None = None


@attrs.frozen
class Write:
    """Settings to write for a container; None leaves a setting unchanged.

    Args:
        cpus: on which its processes are to run.
        mems: from which they are to take memory.
        shares: on cgroup v1, and what the weight on v2 is made of.
        formula: by which it is made.
        quota: the CPU limit.
        follow: whether memory is to follow when the runtime changes its nodes.
    """

    cpus: CPUSet | None = None
    mems: NodeSet | None = None
    shares: int | None = None
    formula: WeightFormula = WeightFormula.QUADRATIC
    quota: Quota | None = None
    follow: bool = False


class Cgroups:
    """The host's cgroups.

    Args:
        root: the host's ``/sys/fs/cgroup``.
        files: access to them.

    Raises:
        CgroupsUnusableError: no hierarchy has the required controllers.
    """

    def __init__(self, root: Path = HOST_CGROUPS, files: Files | None = None) -> None:
        files = files or Files()
        self._read_files = ReadFiles(files)
        self._glances = Glances()
        self.hierarchies = find_hierarchies(root)
        self._cpuset, self._cpu = self._controllers(files)
        self._seen_cpuset, self._seen_cpu = self._controllers(self._read_files)
        if not self.hierarchies:
            raise CgroupsUnusableError(
                f"{root}: no cpuset or cpu controller of cgroup v1 or v2; mount the host's /sys/fs/cgroup there"
            )
        self._root = next(iter(self.hierarchies.values())).root

    def read(self, places: Sequence[Place]) -> list[Reading | CgroupError | None]:
        """Return the cgroup settings of each container; None for containers without a cgroup."""
        try:
            online = self._online()
        except CgroupError as error:
            return [error] * len(places)
        found = zip(places, find_cgroups(self._root, places), strict=True)
        return [None if cgroup is None else self._read_and_keep(place, cgroup, online) for place, cgroup in found]

    def changed(self, part: int, parts: int) -> list[str]:
        """Return the ids of containers whose cgroup settings changed since they were last read.

        Args:
            part: which part of them to check, 0 to *parts* - 1.
            parts: number of parts.
        """
        return self._glances.changed(part, parts)

    def _read_and_keep(self, place: Place, cgroup: Cgroup, online: Reading) -> Reading | CgroupError | None:
        self._read_files.contents = {}
        reading = self._read(cgroup, online)
        if isinstance(reading, Reading):
            self._glances.keep(place.id, self._read_files.contents)
        else:
            self._glances.forget(place.id)
        return reading

    def write(self, place: Place, change: Write) -> bool:
        """Write the settings of a container; False if its cgroup is gone.

        Raises:
            CgroupError: a setting could not be written; all others were.
        """
        (cgroup,) = find_cgroups(self._root, [place])
        if cgroup is None:
            return False
        trouble: CgroupError | None = None
        for write in self._writes(cgroup, change):
            try:
                write()
            except CgroupGoneError:
                return False
            except CgroupError as error:
                trouble = trouble or error
        if trouble is not None:
            raise trouble
        return True

    def _controllers(self, files: Files) -> tuple[Cpuset | None, CpuV1 | CpuV2 | None]:
        return _cpuset(files, self.hierarchies.get("cpuset")), _cpu(files, self.hierarchies.get("cpu"))

    def _online(self) -> Reading:
        """Return what is the same for all containers."""
        if self._cpuset is None:
            return Reading()
        return Reading(online_cpus=self._cpuset.available(CPUS), online_mems=self._cpuset.available(MEMS))

    def _read(self, cgroup: Cgroup, reading: Reading) -> Reading | CgroupError | None:
        try:
            if self._seen_cpuset is not None:
                cpus, mems = self._seen_cpuset.read(cgroup, CPUS), self._seen_cpuset.read(cgroup, MEMS)
                reading = attrs.evolve(reading, cpus=cpus, mems=mems, follows=self._seen_cpuset.follows(cgroup))
            if (cpu := self._seen_cpu) is not None:
                shares, weight, quota = cpu.shares(cgroup), cpu.weight(cgroup), cpu.quota(cgroup)
                reading = attrs.evolve(reading, shares=shares, weight=weight, quota=quota)
        except CgroupError as error:
            return error
        # The cgroup may have been removed meanwhile, so that half of the values are missing.
        return reading if (self._root / cgroup.own).is_dir() else None

    def _writes(self, cgroup: Cgroup, change: Write) -> Iterator[Callable[[], None]]:
        if self._cpuset is not None:
            if change.follow:
                yield partial(self._cpuset.follow, cgroup)
            if change.mems:
                yield partial(self._cpuset.write, cgroup, MEMS, change.mems)
            if change.cpus:
                yield partial(self._cpuset.write, cgroup, CPUS, change.cpus)
        if self._cpu is not None:
            if change.shares is not None:
                yield partial(self._cpu.write_shares, cgroup, change.shares, change.formula)
            if change.quota is not None:
                yield partial(self._cpu.write_quota, cgroup, change.quota)


def _cpuset(files: Files, hierarchy: Hierarchy | None) -> Cpuset | None:
    if hierarchy is None:
        return None
    match hierarchy.version:
        case CgroupVersion.V1:
            return CpusetV1(files, hierarchy.root)
        case CgroupVersion.V2:
            return CpusetV2(files, hierarchy.root)
        case _:
            assert_never(hierarchy.version)


def _cpu(files: Files, hierarchy: Hierarchy | None) -> CpuV1 | CpuV2 | None:
    if hierarchy is None:
        return None
    match hierarchy.version:
        case CgroupVersion.V1:
            return CpuV1(files, hierarchy.root)
        case CgroupVersion.V2:
            return CpuV2(files, hierarchy.root)
        case _:
            assert_never(hierarchy.version)
