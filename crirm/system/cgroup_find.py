"""Finding the host's cgroup hierarchies, and a container's cgroup in them.

A container's cgroup lies in its pod's, whose path the kubelet gives to the runtime. How the two are written depends on
the cgroup driver:

=========  ======================================================  =============================================
driver     cgroup parent                                           the container's cgroup in it
=========  ======================================================  =============================================
cgroupfs   ``/kubepods/burstable/pod<uid>``                        ``<id>``, with CRI-O ``crio-<id>``
systemd    a path that ends in a slice, or the slice's name alone  ``cri-containerd-<id>.scope``, ``crio-<id>.scope``
=========  ======================================================  =============================================

With systemd, crun may put the processes one level further down, into ``container``.
"""

from __future__ import annotations

import enum
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_CONTROLLERS: Final = {"cpuset": "cpuset.cpus", "cpu": "cpu.shares"}  # with a v1 file that even the root cgroup has
_LEAF_NAMES: Final = (
    "{id}", "cri-containerd-{id}.scope", "crio-{id}.scope", "crio-{id}", "cri-containerd-{id}", "docker-{id}.scope",
)  # fmt: skip
_INNER: Final = "container"  # Source: crun(1), annotation run.oci.systemd.subgroup
_SEARCH_DEPTH: Final = 10  # a kubelet with a cgroup root, inside a container, needs eight
_POD_NAME: Final = re.compile(r"(?:.*-)?pod[0-9a-f_-]{8,}(?:\.slice)?")  # a UUID, or a static pod's hash


class CgroupVersion(enum.Enum):
    """The cgroup version of a hierarchy."""

    V1 = "v1"
    V2 = "v2"


@attrs.frozen
class Hierarchy:
    """The place of one controller."""

    version: CgroupVersion
    root: Path


@attrs.frozen
class Place:
    """How to find a container's cgroup.

    Args:
        cgroup_parent: of its pod, as the kubelet has given it; empty where it is not known.
        id: of the container, given by the runtime.
        search: whether to search all cgroups if it is not where it should be.
    """

    cgroup_parent: str
    id: str
    search: bool = True


@attrs.frozen
class Cgroup:
    """A container's cgroup; its paths count from the root of every hierarchy.

    Args:
        own: the one that the runtime has made for it.
        inner: the one inside it that holds its processes, where that is another.
    """

    own: Path
    inner: Path | None = None

    @property
    def of_processes(self) -> Path:
        """The cgroup that holds the container's processes."""
        return self.inner or self.own

    @property
    def of_pod(self) -> Path | None:
        """The cgroup of its pod, if it lies in one that belongs to a single pod."""
        return self.own.parent if _POD_NAME.fullmatch(self.own.parent.name) else None


def find_hierarchies(root: Path) -> Mapping[str, Hierarchy]:
    """Return where the controllers ``cpuset`` and ``cpu`` are; one that is missing is nowhere below *root*.

    A controller belongs to one hierarchy at a time, so on a hybrid host each may be found in another version.

    Args:
        root: the host's ``/sys/fs/cgroup``.
    """
    candidates = [root, *folders(root)]
    found: dict[str, Hierarchy] = {}
    for controller, v1_file in _CONTROLLERS.items():
        for folder in candidates:
            if controller in _unified_controllers(folder):
                found[controller] = Hierarchy(CgroupVersion.V2, folder)
            elif (folder / v1_file).is_file():
                found[controller] = Hierarchy(CgroupVersion.V1, folder)
            else:
                continue
            break
    return found


def find_cgroups(root: Path, places: Iterable[Place]) -> list[Cgroup | None]:
    """Return the cgroup of each container, or None where it has none now.

    Args:
        root: of one hierarchy; the others have the same paths.
        places: what is sought.
    """
    places = list(places)
    found = [_below_parent(root, place) for place in places]
    missing = {
        name: index
        for index, place in enumerate(places)
        if found[index] is None and place.search and not _pod_is_there(root, place)
        for name in _leaf_names(place.id)
    }
    for path in _search(root, Path(), missing.keys()) if missing else ():
        found[missing[path.name]] = _with_inner(root, path)
    return found


def parent_paths(cgroup_parent: str) -> list[Path]:
    """Return the paths that a pod's *cgroup_parent* may stand for, the likeliest first.

    Source: systemd.slice(5), names and nesting of slices; runc's ExpandSlice.
    """
    parts = [part for part in cgroup_parent.split("/") if part not in {"", ".", ".."}]
    if not parts:
        return []
    as_told = Path(*parts)
    if not parts[-1].endswith(".slice"):
        return [as_told]
    words = parts[-1].removesuffix(".slice").split("-")
    expanded = Path(*("-".join(words[:count]) + ".slice" for count in range(1, len(words) + 1)))
    return [as_told] if as_told == expanded else [as_told, expanded]


def _below_parent(root: Path, place: Place) -> Cgroup | None:
    for parent in parent_paths(place.cgroup_parent):
        for name in _leaf_names(place.id):
            if (root / parent / name).is_dir():
                return _with_inner(root, parent / name)
    return None


def _pod_is_there(root: Path, place: Place) -> bool:
    """Whether the pod has its cgroup where it should be, so that what is not in it is nowhere else."""
    return any((root / parent).is_dir() for parent in parent_paths(place.cgroup_parent))


def _with_inner(root: Path, own: Path) -> Cgroup:
    has_inner = own.name.endswith(".scope") and (root / own / _INNER).is_dir()
    return Cgroup(own, own / _INNER if has_inner else None)


def _leaf_names(container_id: str) -> list[str]:
    return [name.format(id=container_id) for name in _LEAF_NAMES] if container_id else []


def _search(root: Path, folder: Path, names: Iterable[str]) -> Iterator[Path]:
    if len(folder.parts) >= _SEARCH_DEPTH:
        return
    for child in folders(root / folder):
        if child.name in names:
            yield folder / child.name
        else:
            yield from _search(root, folder / child.name, names)


def _unified_controllers(folder: Path) -> list[str]:
    try:
        return (folder / "cgroup.controllers").read_text().split()
    except OSError:
        return []


def folders(path: Path) -> list[Path]:
    """Return the cgroups directly in *path*, sorted; none if it is gone."""
    try:
        with os.scandir(path) as entries:  # it tells folders from the many files beside them without asking for each
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())
    except OSError:
        return []
