"""The host's cgroups as a whole."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import attrs
import pytest

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.system.cgroup import Cgroups, CgroupsUnusableError, Reading, Write
from crirm.system.cgroup_cpu import Quota
from crirm.system.cgroup_files import CgroupError, Files, Trouble
from crirm.system.cgroup_find import CgroupVersion, Place
from tests.unit.system.cgroup_rig import CONTAINER, POD, MadeV1, MadeV2

if TYPE_CHECKING:
    from pathlib import Path

PLACE = Place(f"/{POD}", "c1")
ALL = Write(CPUSet.parse("2-3"), NodeSet.of(1), 512, quota=Quota(20_000))


@pytest.fixture(params=[MadeV1, MadeV2])
def host(tmp_path: Path, request: pytest.FixtureRequest) -> MadeV1 | MadeV2:
    made: MadeV1 | MadeV2 = request.param(tmp_path)
    made.make(CONTAINER)
    return made


def test_what_was_written_is_read_back(host: MadeV1 | MadeV2) -> None:
    cgroups = Cgroups(host.root, host)
    (before,) = cgroups.read([PLACE])
    assert isinstance(before, Reading)
    assert (before.cpus, before.quota) == (CPUSet.parse("0-7"), Quota(None))
    assert cgroups.write(PLACE, ALL)
    (after,) = cgroups.read([PLACE])
    assert isinstance(after, Reading)
    assert (after.cpus, after.mems, after.quota) == (CPUSet.parse("2-3"), NodeSet.of(1), Quota(20_000))
    assert (after.shares, after.weight) in {(512, None), (None, 59)}
    assert (after.online_cpus, after.online_mems) == (CPUSet.parse("0-7"), NodeSet.parse("0-1"))


def test_nothing_is_written_that_was_not_asked_for(host: MadeV1 | MadeV2) -> None:
    assert Cgroups(host.root, host).write(PLACE, Write())
    assert host.log == []


def test_a_vanished_container_is_none_and_takes_nothing(host: MadeV1 | MadeV2) -> None:
    cgroups = Cgroups(host.root, host)
    for folder in list(host.root.rglob("c1")):
        shutil.rmtree(folder)
    assert cgroups.read([PLACE, PLACE]) == [None, None]
    assert cgroups.write(PLACE, ALL) is False


def test_one_that_vanishes_in_the_middle_is_none_too(host: MadeV1 | MadeV2, monkeypatch: pytest.MonkeyPatch) -> None:
    cgroups = Cgroups(host.root, host)

    def vanish(path: Path) -> str | None:
        content = Files().read(path)
        for folder in list(host.root.rglob("c1")):
            shutil.rmtree(folder)
        return content

    monkeypatch.setattr(host, "read", vanish)
    assert cgroups.read([PLACE]) == [None]


def test_a_write_to_one_that_vanishes_in_the_middle_is_no_error(
    host: MadeV1 | MadeV2, monkeypatch: pytest.MonkeyPatch
) -> None:
    cgroups = Cgroups(host.root, host)

    def vanish(path: Path, value: str) -> None:
        for folder in list(host.root.rglob("c1")):
            shutil.rmtree(folder)
        Files().write(path, value)

    monkeypatch.setattr(host, "write", vanish)
    assert cgroups.write(PLACE, ALL) is False


def test_what_is_refused_does_not_keep_the_rest_from_being_written(host: MadeV1 | MadeV2) -> None:
    cgroups = Cgroups(host.root, host)
    with pytest.raises(CgroupError, match="none of CPUs 9 is online") as caught:
        cgroups.write(PLACE, Write(CPUSet.of(9), NodeSet.of(1), 512))
    assert caught.value.trouble is Trouble.REFUSED
    assert sum("mems=1" in line for line in host.log) == 1
    assert any("cpu.shares=512" in line or "cpu.weight=59" in line for line in host.log)


def test_an_unreadable_cgroup_is_that_containers_error_and_no_others(host: MadeV1 | MadeV2) -> None:
    host.make(f"{POD}/c2")
    top = "cpuset/" if isinstance(host, MadeV1) else ""
    name = "effective_cpus" if isinstance(host, MadeV1) else "cpus.effective"
    host.set(f"{top}{CONTAINER}/cpuset.{name}", "?")
    bad, good = Cgroups(host.root, host).read([PLACE, Place(f"/{POD}", "c2")])
    assert isinstance(bad, CgroupError)
    assert isinstance(good, Reading)


def test_a_host_that_does_not_tell_what_is_online_is_an_error_for_all(host: MadeV1 | MadeV2) -> None:
    for file in ("cpuset/cpuset.effective_cpus", "cpuset.cpus.effective"):
        if (host.root / file).exists():
            host.set(file, "?")
    first, second = Cgroups(host.root, host).read([PLACE, PLACE])
    assert isinstance(first, CgroupError)
    assert first == second


def test_a_hybrid_host_has_each_controller_in_its_own_version(tmp_path: Path) -> None:
    v1, v2 = MadeV1(tmp_path), MadeV2(tmp_path / "unified")
    v1.make(CONTAINER)
    v2.make(CONTAINER, controllers="cpuset")
    shutil.rmtree(tmp_path / "cpuset")
    v2.set("cgroup.controllers", "cpuset")
    cgroups = Cgroups(tmp_path)
    versions = {name: found.version for name, found in cgroups.hierarchies.items()}
    assert versions == {"cpuset": CgroupVersion.V2, "cpu": CgroupVersion.V1}
    (reading,) = cgroups.read([PLACE])
    assert isinstance(reading, Reading)
    assert (reading.cpus, reading.shares, reading.weight) == (CPUSet.parse("0-7"), 1024, None)


def test_one_controller_alone_is_used_as_far_as_it_goes(tmp_path: Path) -> None:
    host = MadeV1(tmp_path)
    host.make(CONTAINER)
    shutil.rmtree(tmp_path / "cpu")
    cgroups = Cgroups(tmp_path, host)
    assert cgroups.write(PLACE, ALL)
    (reading,) = cgroups.read([PLACE])
    online = Reading(online_cpus=CPUSet.parse("0-7"), online_mems=NodeSet.parse("0-1"))
    assert reading == attrs.evolve(online, cpus=ALL.cpus, mems=ALL.mems, follows=False)


def test_a_host_without_cgroups_is_told_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CgroupsUnusableError, match="mount the host's /sys/fs/cgroup there"):
        Cgroups(tmp_path)
