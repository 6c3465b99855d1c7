"""Where hierarchies and containers' cgroups are found."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.system.cgroup_find import (
    Cgroup,
    CgroupVersion,
    Hierarchy,
    Place,
    find_cgroups,
    find_hierarchies,
    parent_paths,
)
from tests.unit.system.cgroup_rig import MadeV1, MadeV2

if TYPE_CHECKING:
    from pathlib import Path

ID = "8f3b" * 16
UID = "pod0123abcd_0000_1111_2222_333344445555"
PLAIN = "kubepods/burstable/pod0123abcd-0000-1111-2222-333344445555"
SLICES = f"kubepods.slice/kubepods-burstable.slice/kubepods-burstable-{UID}.slice"


def place(parent: str, *, search: bool = True) -> Place:
    return Place(parent, ID, search)


def test_v1_controllers_are_found_by_their_files_however_they_are_mounted(tmp_path: Path) -> None:
    MadeV1(tmp_path)
    (tmp_path / "cpu").rename(tmp_path / "cpu,cpuacct")
    (tmp_path / "cpu").symlink_to("cpu,cpuacct")
    (tmp_path / "cpuacct,cpu").mkdir()  # left over, nothing is mounted there
    found = find_hierarchies(tmp_path)
    assert found["cpuset"] == Hierarchy(CgroupVersion.V1, tmp_path / "cpuset")
    assert found["cpu"] == Hierarchy(CgroupVersion.V1, tmp_path / "cpu")


def test_v2_is_found_by_its_list_of_controllers(tmp_path: Path) -> None:
    MadeV2(tmp_path).make("kubepods.slice")
    v2 = Hierarchy(CgroupVersion.V2, tmp_path)
    assert find_hierarchies(tmp_path) == {"cpuset": v2, "cpu": v2}


def test_on_a_hybrid_host_each_controller_is_where_it_really_is(tmp_path: Path) -> None:
    MadeV1(tmp_path)
    MadeV2(tmp_path / "unified").set("cgroup.controllers", "hugetlb")
    assert {h.version for h in find_hierarchies(tmp_path).values()} == {CgroupVersion.V1}
    for file in (tmp_path / "cpuset").glob("cpuset.*"):
        file.unlink()
    (tmp_path / "unified/cgroup.controllers").write_text("cpuset\n")
    assert find_hierarchies(tmp_path)["cpuset"] == Hierarchy(CgroupVersion.V2, tmp_path / "unified")


def test_no_cgroups_at_all_are_no_hierarchies(tmp_path: Path) -> None:
    assert find_hierarchies(tmp_path / "nowhere") == {}
    assert find_hierarchies(tmp_path) == {}


@pytest.mark.parametrize(
    ("parent", "paths"),
    [
        pytest.param("", [], id="not known"),
        pytest.param("/", [], id="the root is no pod's"),
        pytest.param(f"/{PLAIN}", [PLAIN], id="cgroupfs: as told"),
        pytest.param(f"/{SLICES}", [SLICES], id="systemd with the whole path: as told"),
        pytest.param(f"kubepods-burstable-{UID}.slice", [f"kubepods-burstable-{UID}.slice", SLICES],
                     id="systemd with the slice's name: its path follows from the name"),
        pytest.param("/kubelet/../x", ["kubelet/x"], id="never out of the hierarchy"),
    ],
)  # fmt: skip
def test_a_parent_stands_for_paths(parent: str, paths: list[str]) -> None:
    assert [str(path) for path in parent_paths(parent)] == paths


@pytest.mark.parametrize(
    ("parent", "own"),
    [
        pytest.param(f"/{PLAIN}", f"{PLAIN}/{ID}", id="cgroupfs, containerd"),
        pytest.param(f"/{PLAIN}", f"{PLAIN}/crio-{ID}", id="cgroupfs, CRI-O"),
        pytest.param(f"/{SLICES}", f"{SLICES}/cri-containerd-{ID}.scope", id="systemd, containerd"),
        pytest.param(f"kubepods-burstable-{UID}.slice", f"{SLICES}/crio-{ID}.scope", id="systemd, CRI-O"),
        pytest.param(f"/kubelet/{PLAIN}", f"kubelet/{PLAIN}/{ID}", id="kubelet with a cgroup root"),
        pytest.param(f"/{PLAIN}", f"docker/{'ab' * 32}/{PLAIN}/{ID}", id="a whole node inside a container"),
        pytest.param("", f"k8s.io/{ID}", id="parent not known: found all the same"),
    ],
)
def test_a_container_is_found(tmp_path: Path, parent: str, own: str) -> None:
    (tmp_path / own).mkdir(parents=True)
    (tmp_path / own).with_name("crio-conmon-" + ID + ".scope").mkdir()
    (found,) = find_cgroups(tmp_path, [place(parent)])
    assert found is not None
    assert (str(found.own), found.of_processes) == (own, found.own)


def test_crun_keeps_processes_one_level_down(tmp_path: Path) -> None:
    scope = f"{SLICES}/crio-{ID}.scope"
    (tmp_path / scope / "container").mkdir(parents=True)
    (found,) = find_cgroups(tmp_path, [place(f"/{SLICES}")])
    assert found is not None
    assert (str(found.own), str(found.of_processes)) == (scope, f"{scope}/container")


def test_a_cgroup_that_the_container_made_itself_is_not_taken_for_cruns(tmp_path: Path) -> None:
    (tmp_path / PLAIN / ID / "container").mkdir(parents=True)
    (found,) = find_cgroups(tmp_path, [place(f"/{PLAIN}")])
    assert found is not None
    assert found.inner is None


def test_a_vanished_container_is_not_found_and_no_other_is_taken_for_it(tmp_path: Path) -> None:
    (tmp_path / PLAIN / ("ff" * 32)).mkdir(parents=True)
    (tmp_path / "elsewhere" / ID).mkdir(parents=True)  # the pod is where it should be, so nothing is sought
    assert find_cgroups(tmp_path, [place(f"/{PLAIN}")]) == [None]


def test_one_that_has_not_started_is_not_sought(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / ID).mkdir(parents=True)
    assert find_cgroups(tmp_path, [place("", search=False)]) == [None]
    assert find_cgroups(tmp_path, [place("")]) != [None]


def test_a_container_without_an_id_is_never_found(tmp_path: Path) -> None:
    (tmp_path / PLAIN).mkdir(parents=True)
    assert find_cgroups(tmp_path, [Place(f"/{PLAIN}", "")]) == [None]


@pytest.mark.parametrize(
    ("parent", "is_pods"),
    [
        pytest.param(PLAIN, True, id="cgroupfs"),
        pytest.param(SLICES, True, id="systemd"),
        pytest.param("kubepods/besteffort/pod" + "0a" * 16, True, id="a static pod's hash"),
        pytest.param("k8s.io", False, id="shared by all that have no parent"),
        pytest.param("machine.slice/podman.slice", False, id="a name that only begins so"),
        pytest.param("kubepods/burstable", False, id="the class's"),
    ],
)
def test_the_cgroup_of_a_pod_is_told_from_shared_ones(tmp_path: Path, parent: str, is_pods: bool) -> None:
    own = tmp_path.__class__(parent) / ID
    assert (Cgroup(own).of_pod == own.parent) is is_pods
