"""Made cgroup trees that obey the kernel's rules, as far as crirm meets them."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from crirm.model.cpuset import CPUSet, ListFormatError, NodeSet
from crirm.system.cgroup_files import CgroupGoneError, Files, Trouble, CgroupError, refused

if TYPE_CHECKING:
    from pathlib import Path

ONLINE_CPUS = "0-7"
ONLINE_MEMS = "0-1"
PRESENT = 16  # CPUs that the kernel could have at most
POD = "kubepods/burstable/pod0123abcd-0000-1111-2222-333344445555"
CONTAINER = f"{POD}/c1"


class MadeV1(Files):
    """Cgroup v1: the cpuset and the cpu controller, each with its own tree. Writes are the kernel's; see `refused`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log: list[str] = []
        for controller in ("cpuset", "cpu"):
            self._fill(root / controller)
        self.set("cpuset/cpuset.cpus", ONLINE_CPUS)
        self.set("cpuset/cpuset.mems", ONLINE_MEMS)
        self._follow()

    def make(self, path: str, cpus: str = ONLINE_CPUS, mems: str = ONLINE_MEMS) -> None:
        """Make a cgroup, and those above it, as runc does: with the sets of the one above where it has none."""
        for controller in ("cpuset", "cpu"):
            folder = self.root / controller
            for part in path.split("/"):
                folder = folder / part
                self._fill(folder)
        self.set(f"cpuset/{path}/cpuset.cpus", cpus)
        self.set(f"cpuset/{path}/cpuset.mems", mems)
        self._follow()

    def get(self, path: str) -> str:
        return (self.root / path).read_text().strip()

    def set(self, path: str, value: str) -> None:
        """Set anything, against all rules."""
        (self.root / path).write_text(f"{value}\n")

    def put(self, path: str, value: str) -> None:
        """Write as somebody else would."""
        self.write(self.root / path, value)

    def online(self, cpus: str) -> None:
        """Plug CPUs; v1 takes those that go out of every cgroup's set."""
        for folder in [self.root / "cpuset", *self._below(self.root / "cpuset")]:
            file = folder / "cpuset.cpus"
            kept = CPUSet.parse(file.read_text()) & CPUSet.parse(cpus)
            file.write_text(cpus if folder == self.root / "cpuset" else str(kept))
        self._follow()

    def write(self, path: Path, value: str) -> None:
        if not path.is_file():
            raise self._not_opened(path, value, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        code = self._verdict(path, value)
        if code:
            raise refused(path, value, OSError(code, os.strerror(code)))
        self.log.append(f"{path.relative_to(self.root)}={value}")
        path.write_text(f"{self._kept(path, value)}\n")
        self._follow()

    def _verdict(self, path: Path, value: str) -> int:
        match path.name:
            case "cpuset.cpus":
                return self._set_verdict(CPUSet, path, value)
            case "cpuset.mems":
                return self._set_verdict(NodeSet, path, value)
            case "cpu.cfs_quota_us":
                return 0 if int(value) < 0 or int(value) >= 1000 else errno.EINVAL
            case _:
                return 0

    def _set_verdict(self, kind: type[CPUSet | NodeSet], path: Path, value: str) -> int:
        try:
            new = kind.parse(value)
        except ListFormatError:
            return errno.EINVAL
        if new and new.highest >= PRESENT:
            return errno.ERANGE
        top = kind.parse((self.root / "cpuset" / path.name).read_text())
        if new.mask & ~top.mask:
            return errno.EINVAL
        if any(kind.parse((child / path.name).read_text()).mask & ~new.mask for child in self._children(path.parent)):
            return errno.EBUSY
        if new.mask & ~kind.parse((path.parent.parent / path.name).read_text()).mask:
            return errno.EACCES
        return 0 if new else errno.ENOSPC

    def _kept(self, path: Path, value: str) -> str:
        return str(min(max(int(value), 2), 262144)) if path.name == "cpu.shares" else value

    def _follow(self) -> None:
        for folder in [self.root / "cpuset", *self._below(self.root / "cpuset")]:
            for side in ("cpus", "mems"):
                (folder / f"cpuset.effective_{side}").write_text((folder / f"cpuset.{side}").read_text())

    def _fill(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        files = {
            "cpuset.cpus": ONLINE_CPUS, "cpuset.mems": ONLINE_MEMS, "cpuset.memory_migrate": "0",
            "cpu.shares": "1024", "cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000",
        }  # fmt: skip
        for name, value in files.items():
            if name.split(".")[0] == folder.relative_to(self.root).parts[0] and not (folder / name).exists():
                (folder / name).write_text(f"{value}\n")

    def _children(self, folder: Path) -> list[Path]:
        return [child for child in folder.iterdir() if child.is_dir()]

    def _below(self, folder: Path) -> list[Path]:
        return [path for child in self._children(folder) for path in (child, *self._below(child))]


class MadeV2(Files):
    """Cgroup v2, one tree."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log: list[str] = []
        self.cpus, self.mems = CPUSet.parse(ONLINE_CPUS), NodeSet.parse(ONLINE_MEMS)
        root.mkdir(parents=True, exist_ok=True)
        self.set("cgroup.controllers", "cpuset cpu memory")
        self.set("cgroup.subtree_control", "cpuset cpu memory")
        self._follow()

    def make(self, path: str, controllers: str = "cpuset cpu") -> None:
        """Make a cgroup, and those above it, with *controllers* for the ones inside."""
        folder = self.root
        for part in path.split("/"):
            folder = folder / part
            if not folder.exists():
                folder.mkdir()
                (folder / "cgroup.subtree_control").write_text(controllers)
        self._follow()

    def get(self, path: str) -> str:
        return (self.root / path).read_text().strip()

    def set(self, path: str, value: str) -> None:
        (self.root / path).write_text(f"{value}\n")

    def put(self, path: str, value: str) -> None:
        self.write(self.root / path, value)

    def online(self, cpus: str) -> None:
        self.cpus = CPUSet.parse(cpus)
        self._follow()

    def write(self, path: Path, value: str) -> None:
        if not path.is_file():
            raise self._not_opened(path, value, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))
        if path.name == "cpu.weight" and not 1 <= int(value) <= 10000:
            raise refused(path, value, OSError(errno.ERANGE, "range"))
        if path.name == "cgroup.subtree_control":
            if value[1:] not in self.read(path.parent / "cgroup.controllers").split():  # type: ignore[union-attr]
                raise refused(path, value, FileNotFoundError(errno.ENOENT, "no such controller"))
            value = f"{self.read(path)} {value[1:]}"
        self.log.append(f"{path.relative_to(self.root)}={value}")
        path.write_text(f"{value}\n")
        self._follow()

    def _follow(self) -> None:
        """Let files appear and effective sets follow, from the root down."""
        (self.root / "cpuset.cpus.effective").write_text(f"{self.cpus}\n")
        (self.root / "cpuset.mems.effective").write_text(f"{self.mems}\n")
        for folder in self._below(self.root):
            enabled = (folder.parent / "cgroup.subtree_control").read_text().split()
            (folder / "cgroup.controllers").write_text(" ".join(enabled))
            if "cpuset" in enabled:
                self._effective(folder, CPUSet, "cpuset.cpus")
                self._effective(folder, NodeSet, "cpuset.mems")
            if "cpu" in enabled:
                for name, value in (("cpu.weight", "100"), ("cpu.max", "max 100000")):
                    if not (folder / name).exists():
                        (folder / name).write_text(f"{value}\n")

    def _effective(self, folder: Path, kind: type[CPUSet | NodeSet], name: str) -> None:
        if not (folder / name).exists():
            (folder / name).write_text("\n")
        above = kind.parse((folder.parent / f"{name}.effective").read_text()).mask
        own = kind.parse((folder / name).read_text()).mask
        (folder / f"{name}.effective").write_text(f"{kind.from_mask(own & above or above)}\n")

    def _below(self, folder: Path) -> list[Path]:
        children = [child for child in folder.iterdir() if child.is_dir()]
        return [path for child in children for path in (child, *self._below(child))]
