"""The host's cgroups as a whole."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.system.cgroup import Cgroups, CgroupsUnusableError, Change, Reading
from crirm.system.cgroup_cpu import Quota
from crirm.system.cgroup_files import CgroupError, Files, Trouble
from crirm.system.cgroup_find import CgroupVersion, Place
from tests.unit.system.cgroup_rig import CONTAINER, POD, Made, MadeV1, MadeV2

if TYPE_CHECKING:
    from pathlib import Path

PLACE = Place(f"/{POD}", "c1")
ALL = Change(CPUSet.parse("2-3"), NodeSet.of(1), 512, quota=Quota(20_000))


@pytest.fixture(params=[MadeV1, MadeV2])
def host(tmp_path: Path, request: pytest.FixtureRequest) -> MadeV1 | MadeV2:
    made: MadeV1 | MadeV2 = request.param(tmp_path)
    made.make(CONTAINER)
    return made


def test_what_was_written_is_read_back(host: Made) -> None:
    cgroups = Cgroups(host.root, host)
    before, after = Reading(), Reading()
    (before,) = cgroups.read([PLACE])  # type: ignore[assignment]
    assert (before.cpus, before.quota) == (CPUSet.parse("0-7"), Quota(None))
    assert cgroups.write(PLACE, ALL)
    (after,) = cgroups.read([PLACE])  # type: ignore[assignment]
    assert (after.cpus, after.mems, after.quota) == (CPUSet.parse("2-3"), NodeSet.of(1), Quota(20_000))
    assert (after.shares, after.weight) in {(512, None), (None, 59)}
    assert (after.online_cpus, after.online_mems) == (CPUSet.parse("0-7"), NodeSet.parse("0-1"))


def test_nothing_is_written_that_was_not_asked_for(host: Made) -> None:
    assert Cgroups(host.root, host).write(PLACE, Change())
    assert host.log == []


def test_a_vanished_container_is_none_and_takes_nothing(host: Made) -> None:
    cgroups = Cgroups(host.root, host)
    for folder in list(host.root.rglob("c1")):
        shutil.rmtree(folder)
    assert cgroups.read([PLACE, PLACE]) == [None, None]
    assert cgroups.write(PLACE, ALL) is False


def test_one_that_vanishes_in_the_middle_is_none_too(host: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    cgroups = Cgroups(host.root, host)

    def vanish(files: Files, path: Path, *value: str) -> str | None:
        for folder in list(host.root.rglob("c1")):
            shutil.rmtree(folder)
        return (host.write(path, *value) or None) if value else Files.read(files, path)

    monkeypatch.setattr(host, "read", lambda path: vanish(host, path))
    assert cgroups.read([PLACE]) == [None]


def test_what_is_refused_does_not_keep_the_rest_from_being_written(host: Made) -> None:
    cgroups = Cgroups(host.root, host)
    with pytest.raises(CgroupError, match="none is online") as caught:
        cgroups.write(PLACE, Change(CPUSet.of(9), NodeSet.of(1), 512))
    assert caught.value.trouble is Trouble.REFUSED
    assert sum("mems=1" in line for line in host.log) == 1
    assert any("cpu.shares=512" in line or "cpu.weight=59" in line for line in host.log)


def test_an_unreadable_cgroup_is_that_containers_error_and_no_others(host: Made) -> None:
    host.make(f"{POD}/c2")
    top = "cpuset/" if isinstance(host, MadeV1) else ""
    name = "effective_cpus" if isinstance(host, MadeV1) else "cpus.effective"
    host.set(f"{top}{CONTAINER}/cpuset.{name}", "?")
    bad, good = Cgroups(host.root, host).read([PLACE, Place(f"/{POD}", "c2")])
    assert isinstance(bad, CgroupError)
    assert isinstance(good, Reading)


def test_a_hybrid_host_has_each_controller_in_its_own_version(tmp_path: Path) -> None:
    MadeV1(tmp_path).make(CONTAINER)
    shutil.rmtree(tmp_path / "cpuset")
    MadeV2(tmp_path / "unified").make(CONTAINER)
    cgroups = Cgroups(tmp_path)
    assert {name: found.version for name, found in cgroups.hierarchies.items()} == {
        "cpuset": CgroupVersion.V2,
        "cpu": CgroupVersion.V2,
    }


def test_one_controller_alone_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    host = MadeV1(tmp_path)
    host.make(CONTAINER)
    shutil.rmtree(tmp_path / "cpu")
    cgroups = Cgroups(tmp_path, host)
    assert cgroups.write(PLACE, ALL)
    (reading,) = cgroups.read([PLACE])
    assert reading == Reading(
        cpus=ALL.cpus, mems=ALL.mems, online_cpus=CPUSet.parse("0-7"), online_mems=NodeSet.parse("0-1")
    )


def test_a_host_without_cgroups_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CgroupsUnusableError, match="mount the host's /sys/fs/cgroup there"):
        Cgroups(tmp_path)
