"""Python, the kernel and its cgroups."""

from __future__ import annotations

import platform
import re
import sys
from typing import TYPE_CHECKING, Final

import attrs

from crirm.system.doctor.finding import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from crirm.system.doctor.host import Host

OLDEST_PYTHON: Final = (3, 11)
OLDEST_KERNEL_V2_CPUSET: Final = (5, 0)  # Source: kernel 5.0 release, cpuset controller of cgroup v2
NEEDED_CONTROLLERS: Final = ("cpuset", "cpu", "memory")
KUBELET_CGROUPS: Final = ("kubepods.slice", "kubepods")  # systemd driver, cgroupfs driver
MOUNT_TABLES: Final = ("/proc/1/mounts", "/proc/mounts")  # the first is the host's, whatever namespace asks


def check_python() -> Iterator[Finding]:
    """Check the interpreter that runs this."""
    found = f"{platform.python_implementation()} {platform.python_version()}"
    if sys.version_info[:2] >= OLDEST_PYTHON:
        yield Finding("python", Verdict.OK, found, where=sys.executable)
    else:
        yield Finding("python", Verdict.FAIL, found, where=sys.executable, fix="install Python 3.11 or newer")


def check_kernel(host: Host) -> Iterator[Finding]:
    """Check that the kernel can do what its cgroup version asks of it."""
    where = "/proc/sys/kernel/osrelease"
    release = (host.text(where) or "").strip()
    numbers = re.match(r"(\d+)\.(\d+)", release)
    if numbers is None:
        yield Finding("kernel", Verdict.FAIL, "not a Linux host", where=where, fix="run crirm on Linux")
    elif tuple(map(int, numbers.groups())) < OLDEST_KERNEL_V2_CPUSET:
        yield Finding(
            "kernel",
            Verdict.WARNING,
            f"Linux {release} cannot pin containers with cgroup v2",
            where=where,
            fix="use Linux 5.0 or newer, or cgroup v1",
        )
    else:
        yield Finding("kernel", Verdict.OK, f"Linux {release}", where=where)


@attrs.frozen
class Hierarchies:
    """The cgroup file systems that are mounted."""

    v1: frozenset[str]  # controllers
    v2: str  # mount point, empty: none

    @property
    def layout(self) -> str:
        """The name that systemd has for it."""
        if self.v1:
            return "hybrid (v1 controllers and v2)" if self.v2 else "v1"
        return "v2"


def read_hierarchies(host: Host) -> Hierarchies:
    """Read which cgroup hierarchies the host has mounted, and where."""
    v1: set[str] = set()
    v2 = ""
    for line in _mount_table(host):
        _, point, kind, options = (line.split() + [""] * 4)[:4]
        if kind == "cgroup2":
            v2 = v2 or point
        elif kind == "cgroup":
            v1 |= {option for option in options.split(",") if _is_controller(option)}
    return Hierarchies(frozenset(v1), v2)


def _mount_table(host: Host) -> list[str]:
    for name in MOUNT_TABLES:
        try:
            text = host.text(name)
        except PermissionError:
            continue  # another process' table needs rights, our own does not
        if text:
            return text.splitlines()
    return []


def _is_controller(option: str) -> bool:
    return option not in {"rw", "ro", "relatime", "noatime", "nosuid", "nodev", "noexec", "xattr"} and "=" not in option


def check_cgroups(host: Host) -> Iterator[Finding]:
    """Check that the controllers which place containers are there, and reach the pods."""
    hierarchies = read_hierarchies(host)
    if hierarchies.v1:
        yield _judge_controllers(hierarchies.layout, hierarchies.v1, MOUNT_TABLES[0])
    elif hierarchies.v2:
        where = f"{hierarchies.v2}/cgroup.controllers"
        yield _judge_controllers(hierarchies.layout, (host.text(where) or "").split(), where)
        yield from _check_pods(host, hierarchies.v2)
    else:
        fix = "mount cgroup v2 at /sys/fs/cgroup (systemd does), or set --host-root if the host's / is elsewhere"
        yield Finding("cgroup", Verdict.FAIL, "no cgroup hierarchy is mounted", where=MOUNT_TABLES[0], fix=fix)


def _judge_controllers(layout: str, controllers: Collection[str], where: str) -> Finding:
    missing = [name for name in NEEDED_CONTROLLERS if name not in controllers]
    if missing:
        fix = "remove cgroup_disable= from the kernel command line, or use a kernel with these controllers"
        return Finding("cgroup", Verdict.FAIL, f"cgroup {layout} without {', '.join(missing)}", where=where, fix=fix)
    return Finding("cgroup", Verdict.OK, f"cgroup {layout} with {', '.join(sorted(controllers))}", where=where)


def _check_pods(host: Host, mount_point: str) -> Iterator[Finding]:
    """With v2 a controller reaches a cgroup only when every cgroup above hands it on."""
    for name in host.existing([f"{mount_point}/{name}/cgroup.controllers" for name in KUBELET_CGROUPS]):
        missing = [one for one in NEEDED_CONTROLLERS if one not in (host.text(name) or "").split()]
        if missing:
            fix = f"add +{' +'.join(missing)} to {mount_point}/cgroup.subtree_control; restarting the kubelet does it"
            found = f"{', '.join(missing)} not enabled for pods"
            yield Finding("cgroup", Verdict.FAIL, found, where=name, fix=fix)
        else:
            yield Finding("cgroup", Verdict.OK, f"{', '.join(NEEDED_CONTROLLERS)} enabled for pods", where=name)
