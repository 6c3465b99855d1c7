"""Made cgroup trees that obey the kernel's rules, as far as crirm meets them; checked against Linux 6.18 by hand."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from crirm.model.cpuset import CPUSet, ListFormatError, NodeSet
from crirm.system.cgroup_files import Files, refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ONLINE_CPUS = "0-7"
ONLINE_MEMS = "0-1"
PRESENT = 16  # CPUs that the kernel could have at most
POD = "kubepods/burstable/pod0123abcd-0000-1111-2222-333344445555"
CONTAINER = f"{POD}/c1"

_KINDS: dict[str, type[CPUSet | NodeSet]] = {"cpuset.cpus": CPUSet, "cpuset.mems": NodeSet}


class Made(Files):
    """What both versions have in common; paths are relative to what would be mounted on /sys/fs/cgroup."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log: list[str] = []

    def get(self, path: str) -> str:
        """Return the content of a file."""
        return (self.root / path).read_text().strip()

    def set(self, path: str, value: str) -> None:
        """Give a file any content, against all rules."""
        (self.root / path).write_text(f"{value}\n")

    def put(self, path: str, value: str) -> None:
        """Write as somebody else would, by the rules."""
        self.write(self.root / path, value)

    def write(self, path: Path, value: str) -> None:
        """Write by the rules."""
        if not path.is_file():
            raise self._not_opened(path, value, FileNotFoundError(errno.ENOENT, "no such file"))
        if code := self.verdict(path, value):
            raise refused(path, value, OSError(code, os.strerror(code)))
        self.log.append(f"{path.relative_to(self.root)}={value}")
        path.write_text(f"{self.kept(path, value)}\n")
        self.follow()

    def verdict(self, path: Path, value: str) -> int:
        """Return the error number with which the kernel answers, 0 for none."""
        raise NotImplementedError

    def kept(self, path: Path, value: str) -> str:
        """Return what a file shows after *value* was written."""
        raise NotImplementedError

    def follow(self) -> None:
        """Let all that depends on other files follow them."""
        raise NotImplementedError


class MadeV1(Made):
    """Cgroup v1: the cpuset and the cpu controller, each with its own tree."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        for controller in ("cpuset", "cpu"):
            self._fill(root / controller)
        self.follow()

    def make(self, path: str) -> None:
        """Make a cgroup, and those above it, with all that is online."""
        for controller in ("cpuset", "cpu"):
            folder = self.root / controller
            for part in path.split("/"):
                folder = folder / part
                self._fill(folder)
        self.follow()

    def online(self, cpus: str) -> None:
        """Plug CPUs; v1 takes those that go out of the set of every cgroup, for good."""
        top = self.root / "cpuset"
        for folder in below(top):
            file = folder / "cpuset.cpus"
            file.write_text(str(CPUSet.parse(file.read_text()) & CPUSet.parse(cpus)))
        (top / "cpuset.cpus").write_text(cpus)
        self.follow()

    def verdict(self, path: Path, value: str) -> int:
        if path.name in _KINDS:
            return self._set_verdict(_KINDS[path.name], path, value)
        if path.name == "cpu.cfs_quota_us":
            return errno.EINVAL if 0 <= int(value) < 1000 else 0
        return 0

    def kept(self, path: Path, value: str) -> str:
        return str(min(max(int(value), 2), 262144)) if path.name == "cpu.shares" else value

    def follow(self) -> None:
        for folder in [self.root / "cpuset", *below(self.root / "cpuset")]:
            for side in ("cpus", "mems"):
                (folder / f"cpuset.effective_{side}").write_text((folder / f"cpuset.{side}").read_text())

    def _set_verdict(self, kind: type[CPUSet | NodeSet], path: Path, value: str) -> int:
        def mask(folder: Path) -> int:
            return kind.parse((folder / path.name).read_text()).mask

        try:
            new = kind.parse(value)
        except ListFormatError:
            return errno.EINVAL
        if new and new.highest >= PRESENT:
            return errno.ERANGE
        if new.mask & ~mask(self.root / "cpuset"):
            return errno.EINVAL
        if any(mask(child) & ~new.mask for child in children(path.parent)):
            return errno.EBUSY
        if new.mask & ~mask(path.parent.parent):
            return errno.EACCES
        return 0 if new else errno.ENOSPC

    def _fill(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        files = {
            "cpuset.cpus": ONLINE_CPUS, "cpuset.mems": ONLINE_MEMS, "cpuset.memory_migrate": "0",
            "cpu.shares": "1024", "cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000",
        }  # fmt: skip
        controller = folder.relative_to(self.root).parts[0]
        for name, value in files.items():
            if name.startswith(f"{controller}.") and not (folder / name).exists():
                (folder / name).write_text(f"{value}\n")


class MadeV2(Made):
    """Cgroup v2, one tree."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._online = {"cpuset.cpus": ONLINE_CPUS, "cpuset.mems": ONLINE_MEMS}
        root.mkdir(parents=True, exist_ok=True)
        self.set("cgroup.controllers", "cpuset cpu memory")
        self.set("cgroup.subtree_control", "cpuset cpu memory")
        self.follow()

    def make(self, path: str, controllers: str = "cpuset cpu") -> None:
        """Make a cgroup, and those above it, with *controllers* for the ones inside."""
        folder = self.root
        for part in path.split("/"):
            folder = folder / part
            if not folder.exists():
                folder.mkdir()
                (folder / "cgroup.subtree_control").write_text(controllers)
        self.follow()

    def online(self, cpus: str) -> None:
        """Plug CPUs."""
        self._online["cpuset.cpus"] = cpus
        self.follow()

    def verdict(self, path: Path, value: str) -> int:
        if path.name == "cpu.weight":
            return 0 if 1 <= int(value) <= 10000 else errno.ERANGE
        if path.name == "cgroup.subtree_control":
            known = (path.parent / "cgroup.controllers").read_text().split()
            return 0 if value.removeprefix("+") in known else errno.ENOENT
        return 0

    def kept(self, path: Path, value: str) -> str:
        return f"{self.read(path)} {value[1:]}" if path.name == "cgroup.subtree_control" else value

    def follow(self) -> None:
        for name, online in self._online.items():
            (self.root / f"{name}.effective").write_text(f"{online}\n")
        for folder in below(self.root):
            enabled = (folder.parent / "cgroup.subtree_control").read_text().split()
            (folder / "cgroup.controllers").write_text(" ".join(enabled))
            if "cpuset" in enabled:
                for name, kind in _KINDS.items():
                    self._effective(folder, kind, name)
            if "cpu" in enabled:
                self._appear(folder / "cpu.weight", "100")
                self._appear(folder / "cpu.max", "max 100000")

    def _effective(self, folder: Path, kind: type[CPUSet | NodeSet], name: str) -> None:
        self._appear(folder / name, "")
        above = kind.parse((folder.parent / f"{name}.effective").read_text()).mask
        own = kind.parse((folder / name).read_text()).mask
        (folder / f"{name}.effective").write_text(f"{kind.from_mask(own & above or above)}\n")

    def _appear(self, path: Path, value: str) -> None:
        if not path.exists():
            path.write_text(f"{value}\n")


def children(folder: Path) -> list[Path]:
    """Return the cgroups directly in *folder*."""
    return sorted(child for child in folder.iterdir() if child.is_dir())


def below(folder: Path) -> Iterator[Path]:
    """Yield all cgroups in *folder*, each before those in it."""
    for child in children(folder):
        yield child
        yield from below(child)
