from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.system.doctor import Verdict
from crirm.system.doctor.machine import check_cgroups, check_kernel, check_python
from tests.unit.system.doctor.tree import make_host, verdicts

if TYPE_CHECKING:
    from pathlib import Path

V1 = """\
tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,nosuid,nodev,noexec,relatime,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0
cgroup /sys/fs/cgroup/memory cgroup rw,relatime,memory 0 0
cgroup /sys/fs/cgroup/systemd cgroup rw,relatime,xattr,name=systemd 0 0
"""
UNIFIED = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,relatime 0 0\n"
V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,relatime,nsdelegate 0 0\n"
ROOT_CONTROLLERS = "/sys/fs/cgroup/cgroup.controllers"
POD_CONTROLLERS = "/sys/fs/cgroup/kubepods.slice/cgroup.controllers"


def test_this_python_is_good_enough() -> None:
    assert verdicts(check_python()) == [Verdict.OK]


@pytest.mark.parametrize(
    ("release", "verdict"),
    [
        pytest.param("6.1.0-18-amd64", Verdict.OK, id="Debian 12"),
        pytest.param("5.0.0", Verdict.OK, id="the first with a v2 cpuset"),
        pytest.param("4.18.0-553.el8.x86_64", Verdict.WARNING, id="RHEL 8"),
        pytest.param("10.0", Verdict.OK, id="numbers are compared, not text"),
        pytest.param("", Verdict.FAIL, id="not Linux"),
    ],
)
def test_kernels(release: str, verdict: Verdict, tmp_path: Path) -> None:
    assert verdicts(check_kernel(make_host(tmp_path, {"/proc/sys/kernel/osrelease": f"{release}\n"}))) == [verdict]


@pytest.mark.parametrize(
    ("files", "wanted", "words"),
    [
        pytest.param({"/proc/1/mounts": V1}, [Verdict.OK], "cgroup v1 with cpu, cpuacct, cpuset, memory", id="v1"),
        pytest.param({"/proc/1/mounts": V1 + UNIFIED}, [Verdict.OK], "cgroup hybrid", id="hybrid"),
        pytest.param(
            {"/proc/1/mounts": V1.replace("cpuset", "pids")}, [Verdict.FAIL], "cgroup v1 without cpuset", id="no cpuset"
        ),
        pytest.param(
            {"/proc/1/mounts": V2, ROOT_CONTROLLERS: "cpuset cpu io memory pids\n"},
            [Verdict.OK],
            "cgroup v2 with cpu, cpuset, io, memory, pids",
            id="v2",
        ),
        pytest.param(
            {"/proc/1/mounts": V2, ROOT_CONTROLLERS: "cpu io pids\n"},
            [Verdict.FAIL],
            "cgroup v2 without cpuset, memory",
            id="v2 with controllers switched off",
        ),
        pytest.param(
            {"/proc/1/mounts": V2, ROOT_CONTROLLERS: "cpuset cpu memory\n", POD_CONTROLLERS: "cpu memory\n"},
            [Verdict.OK, Verdict.FAIL],
            "cpuset not enabled for pods",
            id="v2 cpuset not handed on to the pods",
        ),
        pytest.param(
            {"/proc/1/mounts": V2, ROOT_CONTROLLERS: "cpuset cpu memory\n", POD_CONTROLLERS: "cpuset cpu memory\n"},
            [Verdict.OK, Verdict.OK],
            "cpuset, cpu, memory enabled for pods",
            id="v2 cpuset handed on to the pods",
        ),
        pytest.param({"/proc/mounts": V1}, [Verdict.OK], "cgroup v1", id="without the table of process 1, our own"),
        pytest.param({"/proc/1/mounts": "proc /proc proc rw 0 0\n"}, [Verdict.FAIL], "no cgroup", id="none"),
        pytest.param({}, [Verdict.FAIL], "no cgroup", id="no mount table"),
    ],
)
def test_cgroups(files: dict[str, str], wanted: list[Verdict], words: str, tmp_path: Path) -> None:
    findings = list(check_cgroups(make_host(tmp_path, files)))
    assert verdicts(findings) == wanted
    assert words in findings[-1].found
