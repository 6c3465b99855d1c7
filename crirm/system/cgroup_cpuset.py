"""The CPUs and memory nodes of a cgroup, on both versions of the interface.

The versions differ in the meaning of a set. On v1 it is always a subset of the parent's set and a superset of the
children's: so a set that moves has to grow first, let the children follow, and then shrink. On v2 it is a request:
the kernel accepts any, and the *effective* set is the part that the parents have.

Sets of parent cgroups belong to an operator or the kubelet and are not changed, except that of the container's own pod,
which is extended if it is too small.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import attrs

from crirm.model.cpuset import CPUSet, ListFormatError, NodeSet
from crirm.system.cgroup_files import CgroupError, CgroupGoneError, Files, Trouble
from crirm.system.cgroup_find import folders

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from crirm.system.cgroup_find import Cgroup

S = TypeVar("S", CPUSet, NodeSet)

_MIGRATE: Final = "cpuset.memory_migrate"


@attrs.frozen
class Side(Generic[S]):
    """One of the two sets of a cpuset cgroup.

    Args:
        kind: what it is a set of.
        file: holds what was asked for; the same name in both versions.
        effective_v1: holds what counts, since Linux 3.17.
        effective_v2: holds what counts.
    """

    kind: type[S]
    file: str
    effective_v1: str
    effective_v2: str


CPUS: Final = Side(CPUSet, "cpuset.cpus", "cpuset.effective_cpus", "cpuset.cpus.effective")
MEMS: Final = Side(NodeSet, "cpuset.mems", "cpuset.effective_mems", "cpuset.mems.effective")


class Cpuset:
    """The common part of both versions: a hierarchy of cpuset cgroups below *root*."""

    def __init__(self, files: Files, root: Path) -> None:
        self._files = files
        self._root = root

    @property
    def root(self) -> Path:
        """The root of the hierarchy."""
        return self._root

    def allowed(self, folder: Path, side: Side[S]) -> S | None:
        """Return what may be used in the cgroup *folder*, which counts from the root; None if it is not there.

        Raises:
            CgroupError: the kernel's answer cannot be read.
        """
        return self._effective(self._root / folder, side)

    def available(self, side: Side[S]) -> S:
        """Return what is online."""
        return self._effective(self._root, side) or side.kind()

    def read(self, cgroup: Cgroup, side: Side[S]) -> S | None:
        """Return what the processes of *cgroup* may use, or None if it is gone.

        Raises:
            CgroupError: the kernel's answer cannot be read.
        """
        return self._effective(self._root / cgroup.of_processes, side)

    def write(self, cgroup: Cgroup, side: Side[S], wanted: S) -> None:
        """Let the processes of *cgroup* use *wanted*, as far as it is online, and check that it took effect.

        Raises:
            CgroupGoneError: it is gone.
            CgroupError: it failed, with the reason.
        """
        target = self._root / cgroup.own
        possible = wanted & self.available(side)
        if not possible:
            raise CgroupError(Trouble.REFUSED, target, str(wanted), f"none of {side.kind.noun}s {wanted} is online")
        try:
            if (pod := cgroup.of_pod) is not None:
                self._widen(self._root / pod, side, possible)
            self._set(target, side, wanted, possible)
            if cgroup.inner is not None:
                self._set_inner(self._root / cgroup.inner, side, wanted, possible)
        except CgroupError as error:
            if (limit := self._limit_above(target, side, possible)) is not None:
                raise limit from error
            raise
        effective = self.read(cgroup, side)
        if effective is not None and effective != possible:
            raise self._limit_above(target, side, possible) or self._without_effect(target, side, wanted, effective)

    def follows(self, cgroup: Cgroup) -> bool | None:  # noqa: ARG002 - v1 needs it
        """Tell whether memory follows when another program changes the nodes; None where it always does, as on v2."""
        return None

    def follow(self, cgroup: Cgroup) -> None:
        """Have memory follow whoever changes the nodes."""

    def _effective(self, folder: Path, side: Side[S]) -> S | None:
        raise NotImplementedError

    def _set(self, folder: Path, side: Side[S], wanted: S, possible: S) -> None:
        raise NotImplementedError

    def _set_inner(self, folder: Path, side: Side[S], wanted: S, possible: S) -> None:
        raise NotImplementedError

    def _widen(self, pod: Path, side: Side[S], wanted: S) -> None:
        """Extend the pod's set by *wanted*; a pod without a set of its own inherits, and stays so."""
        own = self._own(pod, side)
        if own and not wanted <= own:
            with suppress(CgroupError):  # then a cgroup above it is too small; the container's own write will tell
                self._files.write(pod / side.file, str(own | wanted))

    def _own(self, folder: Path, side: Side[S]) -> S:
        """Return what was asked for; the empty set for nothing, or where there is no such file."""
        return self._parse(folder / side.file, side) or side.kind()

    def _parse(self, path: Path, side: Side[S]) -> S | None:
        text = self._files.read(path)
        try:
            return None if text is None else side.kind.parse(text)
        except ListFormatError as error:
            raise CgroupError(Trouble.UNREADABLE, path, "", f"expected a list, found {text!r}") from error

    def _limit_above(self, folder: Path, side: Side[S], wanted: S) -> CgroupError | None:
        """Return the error that names the topmost cgroup above *folder* which lacks some of *wanted*, if one does."""
        limit: CgroupError | None = None
        while folder != self._root:
            folder = folder.parent
            has = self._effective(folder, side)
            if has is not None and not wanted <= has:
                what = f"has only {side.kind.noun}s {has}, so no child can have {wanted}"
                limit = CgroupError(Trouble.LIMITED_ABOVE, folder, str(wanted), f"{what}; widen {side.file} there")
        return limit

    def _without_effect(self, folder: Path, side: Side[S], wanted: S, effective: S) -> CgroupError:
        what = f"accepted {wanted} for {side.file}, but {effective} is in effect; another cgroup may own the rest"
        return CgroupError(Trouble.REFUSED, folder, str(wanted), what)


class CpusetV1(Cpuset):
    """Cpusets of cgroup v1.

    Memory stays where it is when the nodes change, unless a switch in the cgroup of the processes is on. Runtimes leave
    it off, so a container that they update would keep its memory on nodes that it may no longer use.

    Source: Linux Documentation/admin-guide/cgroup-v1/cpusets.rst, "What is memory migration ?".
    """

    def follows(self, cgroup: Cgroup) -> bool | None:
        """Tell whether memory follows when another program changes the nodes; None where it always does, as on v2."""
        text = self._files.read(self._root / cgroup.of_processes / _MIGRATE)
        return None if text is None else text != "0"

    def follow(self, cgroup: Cgroup) -> None:
        """Have memory follow whoever changes the nodes.

        Raises:
            CgroupGoneError: it is gone.
            CgroupError: it failed, with the reason.
        """
        for folder in dict.fromkeys((cgroup.own, cgroup.of_processes)):
            self._files.write(self._root / folder / _MIGRATE, "1")

    def _effective(self, folder: Path, side: Side[S]) -> S | None:
        effective = self._parse(folder / side.effective_v1, side)
        return self._parse(folder / side.file, side) if effective is None else effective

    def _set(self, folder: Path, side: Side[S], wanted: S, possible: S) -> None:
        """Set *possible*, and let the sets inside follow; *wanted* with what is offline would be refused."""
        own = self._own(folder, side)
        strays = [child for child in folders(folder) if not self._own(child, side) <= possible]
        if strays and not possible <= own:
            self._write(folder, side, own | possible)
        for child in strays:
            with suppress(CgroupGoneError):
                self._set(child, side, wanted, self._own(child, side) & possible or possible)
        if own != possible or strays:
            self._write(folder, side, possible)

    def _set_inner(self, folder: Path, side: Side[S], wanted: S, possible: S) -> None:
        self._set(folder, side, wanted, possible)

    def _write(self, folder: Path, side: Side[S], value: S) -> None:
        with self._migrating(folder, side):
            self._files.write(folder / side.file, str(value))

    @contextmanager
    def _migrating(self, folder: Path, side: Side[S]) -> Iterator[None]:
        """Migrate memory from other NUMA nodes, as v2 always does; ``memory_migrate`` is restored afterwards."""
        switch = folder / _MIGRATE
        if side.kind is not NodeSet or self._files.read(switch) != "0":
            yield
            return
        self._files.write(switch, "1")
        try:
            yield
        finally:
            self._files.write(switch, "0")


class CpusetV2(Cpuset):
    """Cpusets of cgroup v2."""

    def _effective(self, folder: Path, side: Side[S]) -> S | None:
        """Return what *folder* has; without the controller that is what the cgroup above has."""
        if not folder.is_dir():
            return None
        while (effective := self._parse(folder / side.effective_v2, side)) is None and folder != self._root:
            folder = folder.parent
        return effective

    def _set(self, folder: Path, side: Side[S], wanted: S, possible: S) -> None:  # noqa: ARG002 - v1 needs it
        if not (folder / side.file).is_file():
            enable(self._files, self._root, folder, "cpuset")
        if self._own(folder, side) != wanted:
            self._files.write(folder / side.file, str(wanted))

    def _set_inner(self, folder: Path, side: Side[S], wanted: S, possible: S) -> None:
        """Set *wanted* where there is a set already; without one it has what the cgroup above has."""
        if self._own(folder, side):
            self._set(folder, side, wanted, possible)


def enable(files: Files, root: Path, folder: Path, controller: str) -> None:
    """Have cgroup v2's *controller* work in *folder*, by enabling it in every cgroup from *root* down to its parent.

    Raises:
        CgroupGoneError: one of them has vanished.
        CgroupError: it cannot be enabled; mostly because a cgroup on the way holds processes.

    Source: Linux Documentation/admin-guide/cgroup-v2.rst, "Controlling Controllers".
    """
    above = [parent for parent in reversed(folder.parents) if parent.is_relative_to(root)]
    for parent in above:
        switch = parent / "cgroup.subtree_control"
        if controller not in (files.read(switch) or "").split():
            files.write(switch, f"+{controller}")
