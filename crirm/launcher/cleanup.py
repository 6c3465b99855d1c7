"""Take down what a private containerd leaves behind, in whatever way it ended.

containerd's pods outlive it by design: each has a shim process, mounts, cgroups and a socket in a directory that all
instances share. Everything here is found by the instance's own paths, so instances side by side never touch each other.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_MNT_DETACH = 2
_GONE_WITHIN_S = 5.0
_POLL_S = 0.01
_TASKS = "state/io.containerd.runtime.v2.task/k8s.io"
_SHIM_SOCKET = re.compile(r"/run/containerd/s/[0-9a-f]{64}")


def socket_of(root: Path) -> Path:
    """The socket of the instance in *root*."""
    return root / "containerd.sock"


def config_of(root: Path) -> Path:
    """The configuration file of the instance in *root*."""
    return root / "containerd.toml"


def cgroup_parent_of(root: Path) -> str:
    """The cgroup, counted from every hierarchy's root, that the instance's pods belong in."""
    return f"/crirm-{hashlib.sha256(str(root).encode()).hexdigest()[:12]}"


def cleanup(root: Path) -> None:
    """End the instance in *root* with all its containers, and remove its mounts, cgroups, sockets and state.

    Blocks for up to some seconds; harmless where nothing is left. The log and the configuration stay, and so do cgroups
    of pods that callers made outside `cgroup_parent_of`; their containers' cgroups go.
    """
    _end_processes(lambda: _processes_naming(config_of(root)))
    cgroups = list(_cgroups(root))
    # Before the shims: they are the parents, and reap what is killed here.
    _end_processes(lambda: _processes_in(cgroups))
    sockets = shim_sockets(root)
    _end_processes(lambda: _processes_naming(socket_of(root)))
    for cgroup in cgroups:
        _remove_cgroup(cgroup)
    for mount_point in reversed(_mounts_below(root)):
        _unmount(mount_point)
    for path in [*sockets, socket_of(root), Path(f"{socket_of(root)}.ttrpc")]:
        path.unlink(missing_ok=True)
    for leftover in ("root", "state", "runc", "opt"):
        shutil.rmtree(root / leftover, ignore_errors=True)


def _end_processes(find: Callable[[], Iterable[int]]) -> None:
    """Kill what *find* yields until it yields nothing, or for 5 s."""
    until = time.monotonic() + _GONE_WITHIN_S
    while (found := list(find())) and time.monotonic() < until:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(_POLL_S)


def _processes_naming(path: Path) -> Iterator[int]:
    """Daemon and shims with *path* among their arguments."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            program, *args = entry.read_bytes().split(b"\0")
            if Path(os.fsdecode(program)).name.startswith("containerd") and os.fsencode(path) in args:
                yield int(entry.parent.name)


def _processes_in(cgroups: list[Path]) -> Iterator[int]:
    for cgroup in cgroups:
        for listing in cgroup.rglob("cgroup.procs"):
            with suppress(OSError):
                yield from map(int, listing.read_text().split())


def _cgroups(root: Path) -> Iterator[Path]:
    """The instance's cgroups in every hierarchy: below its own, and wherever a caller had one of its containers put."""
    containers = {entry.name for folder in (_TASKS, "runc/k8s.io") for entry in (root / folder).glob("*")}
    for kind, mount_point in _mounts():
        if kind in {"cgroup", "cgroup2"}:
            own = mount_point / cgroup_parent_of(root).lstrip("/")
            if own.is_dir():
                yield own
            for folder, names, _ in os.walk(mount_point):
                yield from (Path(folder) / name for name in containers.intersection(names) if Path(folder) != own)


def _remove_cgroup(cgroup: Path) -> None:
    """Remove a tree of cgroups, the innermost first; a process that still exits keeps its cgroup busy for a moment."""
    until = time.monotonic() + _GONE_WITHIN_S
    for folder, _, _ in os.walk(cgroup, topdown=False):
        while True:
            try:
                Path(folder).rmdir()
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(_POLL_S)
            else:
                break


def _mounts() -> Iterator[tuple[str, Path]]:
    """File system type and mount point of everything mounted, oldest first.

    Source: proc(5), /proc/pid/mountinfo.
    """
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        yield after.split()[0], Path(before.split()[4].encode().decode("unicode_escape"))


def _mounts_below(root: Path) -> list[Path]:
    return [mount_point for _, mount_point in _mounts() if mount_point.is_relative_to(root)]


def _unmount(mount_point: Path) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.umount2(os.fsencode(mount_point), _MNT_DETACH) != 0:
        raise OSError(ctypes.get_errno(), "cannot unmount", str(mount_point))


def shim_sockets(root: Path) -> list[Path]:
    """Sockets of the shims, as their bundles name them; killed shims leave them in the machine-wide directory."""
    found: list[Path] = []
    for name in ("address", "bootstrap.json"):  # before containerd 2.0, and since
        for file in (root / _TASKS).glob(f"*/{name}"):
            found += map(Path, _SHIM_SOCKET.findall(file.read_text()))
    return found
