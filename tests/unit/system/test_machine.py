"""Looks at a host whose files change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.hosts.synthetic import parse_spec, write_tree
from crirm.model.cpuset import NodeSet
from crirm.system.doctor import Host, Verdict
from crirm.system.doctor.cpus import check_cpus
from crirm.system.machine import MachineFiles, kubelet_cgroups
from tests.unit.system.cgroup_rig import MadeV1, MadeV2

if TYPE_CHECKING:
    from pathlib import Path

    Made = MadeV1 | MadeV2

SPEC = parse_spec("2p.4c mem=4Gi")
V1, V2 = pytest.param(MadeV1, id="cgroup v1"), pytest.param(MadeV2, id="cgroup v2")
PARENT = "/kubepods/burstable/pod0123abcd"


@attrs.define
class Rig:
    """A host of 8 CPUs with a kubelet's cgroups."""

    root: Path
    cgroups: Made
    top: str
    files: MachineFiles

    @classmethod
    def of(cls, root: Path, made: type[Made]) -> Rig:
        write_tree(SPEC, root)
        cgroups = made(root / "sys/fs/cgroup")
        cgroups.make("kubepods/burstable")
        top = "cpuset/" if made is MadeV1 else ""
        return cls(root, cgroups, top, MachineFiles(root))

    def narrow(self, cpus: str, cgroup: str = "kubepods") -> None:
        if self.top and cgroup == "kubepods":
            self.cgroups.put(f"{self.top}kubepods/burstable/cpuset.cpus", cpus)
        self.cgroups.put(f"{self.top}{cgroup}/cpuset.cpus", cpus)

    def usable(self, *parents: str) -> str:
        return str(self.files.read(parents)[0].usable.online)


@pytest.mark.parametrize("made", [V1, V2])
def test_what_the_kubelets_cgroup_lacks_is_not_used(tmp_path: Path, made: type[Made]) -> None:
    rig = Rig.of(tmp_path, made)
    before = rig.files.look(())
    assert rig.usable() == "0-7"
    rig.narrow("1-7")
    assert before.shows_change(rig.files.look(()))
    assert (rig.usable(), rig.usable(PARENT), rig.usable("/elsewhere/kubepods/pod1")) == ("1-7", "1-7", "0-7")


@pytest.mark.parametrize("made", [V1, V2])
def test_what_the_cgroup_of_a_class_lacks_is_not_used_either(tmp_path: Path, made: type[Made]) -> None:
    rig = Rig.of(tmp_path, made)
    rig.narrow("2-7", "kubepods/burstable")
    assert rig.usable() == "2-7"


@pytest.mark.parametrize(
    ("made", "usable"), [pytest.param(MadeV1, "1-7", id="v1"), pytest.param(MadeV2, "0-7", id="v2")]
)
def test_a_cpu_that_was_offline_once_is_lost_with_cgroup_v1_only(tmp_path: Path, made: type[Made], usable: str) -> None:
    rig = Rig.of(tmp_path, made)
    for online in ("1-7", "0-7"):
        rig.cgroups.online(online)
    assert rig.usable() == usable
    findings = list(check_cpus(Host(tmp_path)))
    assert [one.verdict for one in findings[1:]] == ([Verdict.WARNING] if usable == "1-7" else [])
    assert all("write 0-7 to" in one.fix and one.where.endswith("/kubepods/cpuset.cpus") for one in findings[1:])


def test_the_doctor_tells_of_a_slice_that_has_less(tmp_path: Path) -> None:
    rig = Rig.of(tmp_path, MadeV2)
    rig.narrow("0-3")
    _, finding = check_cpus(Host(tmp_path))
    assert "CPUs 4-7 cannot be used by pods" in finding.found
    assert "AllowedCPUs=" in finding.fix


@pytest.mark.parametrize(
    "path",
    [
        "sys/devices/system/cpu/online",
        "sys/devices/system/cpu/present",
        "sys/devices/system/node/online",
        "sys/devices/system/node/has_memory",
    ],
)
def test_a_file_of_the_kernel_that_says_something_else_is_noticed(tmp_path: Path, path: str) -> None:
    rig = Rig.of(tmp_path, MadeV2)
    before = rig.files.look(())
    assert not before.shows_change(rig.files.look(()))
    (tmp_path / path).write_text("0\n")
    assert before.shows_change(rig.files.look(()))


def test_a_host_without_cgroups_has_no_limits(tmp_path: Path) -> None:
    write_tree(SPEC, tmp_path)
    hardware, _ = MachineFiles(tmp_path).read(())
    assert (hardware.usable, hardware.limits) == (hardware.whole, ())
    assert hardware.usable.memory_nodes == NodeSet.of(0, 1)


@pytest.mark.parametrize(
    ("parents", "cgroups"),
    [
        pytest.param([], ["kubepods.slice", "kubepods"], id="where they usually are"),
        pytest.param(["/kubepods/burstable/pod1", "/kubepods/pod2"], ["kubepods"], id="cgroupfs"),
        pytest.param(["kubepods-burstable-pod1.slice"], ["kubepods.slice"], id="systemd, the slice's name alone"),
        pytest.param(
            ["/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod1.slice"],
            ["kubelet.slice/kubelet-kubepods.slice"],
            id="systemd, with a cgroup root",
        ),
        pytest.param(["/a/kubepods/pod1/b/kubepods/pod2"], ["a/kubepods/pod1/b/kubepods"], id="a kubelet in a pod"),
        pytest.param(["/system.slice"], ["kubepods.slice", "kubepods"], id="a pod of somebody else"),
    ],
)
def test_a_kubelets_cgroup_is_found_above_its_pods(parents: list[str], cgroups: list[str]) -> None:
    assert [str(path) for path in kubelet_cgroups(parents)] == cgroups
