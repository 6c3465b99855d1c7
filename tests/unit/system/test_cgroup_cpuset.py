"""Reading and writing sets of CPUs and memory nodes, by the kernel's rules."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.system.cgroup_cpuset import CPUS, MEMS, CpusetV1, CpusetV2
from crirm.system.cgroup_files import CgroupError, CgroupGoneError, Trouble
from crirm.system.cgroup_find import Cgroup
from tests.unit.system.cgroup_rig import CONTAINER, POD, MadeV1, MadeV2

if TYPE_CHECKING:
    from crirm.system.cgroup_cpuset import Cpuset

C = Cgroup(Path(CONTAINER))
SCOPE = "kubepods.slice/kubepods-pod0123abcd.slice/crio-c1.scope"
CRUN = Cgroup(Path(SCOPE), Path(SCOPE) / "container")
SOME_CPUS = st.sets(st.integers(0, 7), min_size=1)


@pytest.fixture
def v1(tmp_path: Path) -> MadeV1:
    host = MadeV1(tmp_path)
    host.make(CONTAINER)
    return host


@pytest.fixture
def v2(tmp_path: Path) -> MadeV2:
    host = MadeV2(tmp_path)
    host.make(CONTAINER)
    return host


def cpuset(host: MadeV1 | MadeV2) -> Cpuset:
    return CpusetV1(host, host.root / "cpuset") if isinstance(host, MadeV1) else CpusetV2(host, host.root)


def write(host: MadeV1 | MadeV2, cpus: str, cgroup: Cgroup = C) -> None:
    host.log.clear()
    cpuset(host).write(cgroup, CPUS, CPUSet.parse(cpus))


# --- v1 ----------------------------------------------------------------------------------------------------------


def test_v1_reads_what_counts(v1: MadeV1) -> None:
    v1.set(f"cpuset/{CONTAINER}/cpuset.effective_cpus", "2-3")
    assert cpuset(v1).read(C, CPUS) == CPUSet.parse("2-3")
    assert cpuset(v1).read(C, MEMS) == NodeSet.parse("0-1")


def test_v1_before_linux_3_17_has_only_what_was_asked_for(v1: MadeV1) -> None:
    for file in (v1.root / "cpuset").rglob("cpuset.effective_*"):
        file.unlink()
    v1.set(f"cpuset/{CONTAINER}/cpuset.cpus", "5")
    assert cpuset(v1).read(C, CPUS) == CPUSet.of(5)


def test_v1_writes_one_file_where_nothing_is_inside(v1: MadeV1) -> None:
    write(v1, "2-3")
    assert v1.log == [f"cpuset/{CONTAINER}/cpuset.cpus=2-3"]


def test_v1_writes_nothing_that_is_so_already(v1: MadeV1) -> None:
    write(v1, "0-7")
    assert v1.log == []


def test_v1_grows_lets_the_cgroups_inside_follow_and_shrinks(v1: MadeV1) -> None:
    v1.make(f"{CONTAINER}/docker/inner")
    for path in (f"{CONTAINER}/docker/inner", f"{CONTAINER}/docker", CONTAINER):
        v1.put(f"cpuset/{path}/cpuset.cpus", "0-1")
    write(v1, "1-2")
    assert v1.log == [
        f"cpuset/{CONTAINER}/cpuset.cpus=0-2",
        f"cpuset/{CONTAINER}/docker/inner/cpuset.cpus=1",
        f"cpuset/{CONTAINER}/docker/cpuset.cpus=1",
        f"cpuset/{CONTAINER}/cpuset.cpus=1-2",
    ]
    write(v1, "6-7")
    assert {v1.get(f"cpuset/{path}/cpuset.cpus") for path in (CONTAINER, f"{CONTAINER}/docker/inner")} == {"6-7"}


def test_v1_widens_the_pods_own_cgroup(v1: MadeV1) -> None:
    for path in (CONTAINER, POD):
        v1.put(f"cpuset/{path}/cpuset.cpus", "0")
    write(v1, "4")
    assert v1.get(f"cpuset/{POD}/cpuset.cpus") == "0,4"
    assert v1.get(f"cpuset/{CONTAINER}/cpuset.cpus") == "4"


@pytest.mark.parametrize("made", [MadeV1, MadeV2])
def test_a_cgroup_above_the_pods_is_left_alone_and_named(tmp_path: Path, made: type[MadeV1 | MadeV2]) -> None:
    host = made(tmp_path)
    host.make(CONTAINER)
    top = "cpuset/" if made is MadeV1 else ""
    for path in (CONTAINER, POD, "kubepods/burstable", "kubepods"):
        host.put(f"{top}{path}/cpuset.cpus", "0-3")
    with pytest.raises(CgroupError, match=r"/kubepods: has only CPUs 0-3, so no child can have 3-4") as caught:
        write(host, "3-4")
    assert caught.value.trouble is Trouble.LIMITED_ABOVE
    assert host.get(f"{top}kubepods/cpuset.cpus") == "0-3"


def test_v1_takes_memory_along_and_leaves_the_switch_as_it_was(v1: MadeV1) -> None:
    cpuset(v1).write(C, MEMS, NodeSet.of(1))
    own = f"cpuset/{CONTAINER}"
    assert v1.log == [f"{own}/cpuset.memory_migrate=1", f"{own}/cpuset.mems=1", f"{own}/cpuset.memory_migrate=0"]
    v1.set(f"{own}/cpuset.memory_migrate", "1")
    v1.log.clear()
    cpuset(v1).write(C, MEMS, NodeSet.of(0))
    assert v1.log == [f"{own}/cpuset.mems=0"]


@pytest.mark.parametrize(
    ("cgroup", "paths"),
    [pytest.param(C, [CONTAINER], id="one cgroup"), pytest.param(CRUN, [SCOPE, f"{SCOPE}/container"], id="crun's two")],
)
def test_v1_has_memory_follow_where_the_processes_are(v1: MadeV1, cgroup: Cgroup, paths: list[str]) -> None:
    v1.make(paths[-1])
    assert cpuset(v1).follows(cgroup) is False
    v1.log.clear()
    cpuset(v1).follow(cgroup)
    assert v1.log == [f"cpuset/{path}/cpuset.memory_migrate=1" for path in paths]
    assert cpuset(v1).follows(cgroup) is True


def test_v2_always_has_memory_follow(v2: MadeV2) -> None:
    v2.log.clear()
    cpuset(v2).follow(C)
    assert cpuset(v2).follows(C) is None
    assert v2.log == []


def test_v1_with_an_inner_cgroup_for_processes_gives_both_all_of_it(v1: MadeV1) -> None:
    v1.make(f"{SCOPE}/container")
    write(v1, "2-3", CRUN)
    v1.put(f"cpuset/{SCOPE}/container/cpuset.cpus", "2")
    write(v1, "2-3", CRUN)
    assert v1.get(f"cpuset/{SCOPE}/container/cpuset.cpus") == "2-3"


def test_v1_gets_what_is_online_of_what_is_wanted(v1: MadeV1) -> None:
    v1.online("0-3")
    write(v1, "2-5")
    assert v1.get(f"cpuset/{CONTAINER}/cpuset.cpus") == "2-3"
    v1.online("0-7")
    with pytest.raises(CgroupError, match="/kubepods: has only CPUs 0-3"):
        write(v1, "2-5")


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(before=st.lists(SOME_CPUS, min_size=3, max_size=3), wanted=SOME_CPUS)
def test_v1_any_set_can_follow_any_other(tmp_path: Path, before: list[set[int]], wanted: set[int]) -> None:
    """Whatever nested cgroups have, the writes come in an order that the kernel takes."""
    shutil.rmtree(tmp_path / "cpuset", ignore_errors=True)
    host = MadeV1(tmp_path)
    host.make("c1/a/b")
    innermost = CPUSet(before[2])
    inner = innermost | CPUSet(before[1])
    for path, cpus in (("c1/a/b", innermost), ("c1/a", inner), ("c1", inner | CPUSet(before[0]))):
        host.set(f"cpuset/{path}/cpuset.cpus", str(cpus))
    host.follow()
    write(host, str(CPUSet(wanted)), Cgroup(Path("c1")))
    assert host.get("cpuset/c1/cpuset.cpus") == str(CPUSet(wanted))
    assert host.get("cpuset/c1/a/b/cpuset.cpus")


# --- v2 ----------------------------------------------------------------------------------------------------------


def test_v2_reads_what_the_cgroups_above_leave(v2: MadeV2) -> None:
    v2.put(f"{CONTAINER}/cpuset.cpus", "2-5")
    v2.put("kubepods/cpuset.cpus", "0-3")
    assert cpuset(v2).read(C, CPUS) == CPUSet.parse("2-3")


def test_v2_without_the_controller_has_what_the_cgroup_above_has(tmp_path: Path) -> None:
    host = MadeV2(tmp_path)
    host.make("kubepods", controllers="cpuset")
    host.make(CONTAINER, controllers="cpu")
    host.put("kubepods/cpuset.cpus", "0-3")
    assert cpuset(host).read(C, CPUS) == CPUSet.parse("0-3")


def test_v2_enables_the_controller_on_the_way_down(tmp_path: Path) -> None:
    host = MadeV2(tmp_path)
    host.make("kubepods", controllers="cpuset cpu")
    host.make(CONTAINER, controllers="cpu")
    write(host, "6-7")
    assert host.log == [
        "kubepods/burstable/cgroup.subtree_control=+cpuset",
        f"{POD}/cgroup.subtree_control=+cpuset",
        f"{CONTAINER}/cpuset.cpus=6-7",
    ]
    assert cpuset(host).read(C, CPUS) == CPUSet.parse("6-7")


def test_v2_asks_for_what_is_offline_too_so_that_it_comes_back(v2: MadeV2) -> None:
    v2.online("0-3")
    write(v2, "2-5")
    assert v2.get(f"{CONTAINER}/cpuset.cpus") == "2-5"
    v2.online("0-7")
    assert cpuset(v2).read(C, CPUS) == CPUSet.parse("2-5")


def test_v2_widens_the_pods_own_set_but_gives_it_none(v2: MadeV2) -> None:
    write(v2, "4")
    assert v2.get(f"{POD}/cpuset.cpus") == ""
    v2.put(f"{POD}/cpuset.cpus", "0")
    write(v2, "4")
    assert v2.get(f"{POD}/cpuset.cpus") == "0,4"
    assert cpuset(v2).read(C, CPUS) == CPUSet.of(4)


def test_v2_says_so_when_a_write_has_no_effect(v2: MadeV2, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(v2, "follow", lambda: None)  # as when another cgroup has the CPUs to itself
    with pytest.raises(CgroupError, match=r"accepted 4 for cpuset\.cpus, but 0-7 is in effect") as caught:
        write(v2, "4")
    assert caught.value.trouble is Trouble.REFUSED


@pytest.mark.parametrize(
    ("inner_before", "inner_after"),
    [
        pytest.param("", "", id="inherits, and goes on doing so"),
        pytest.param("0-1", "6-7", id="has a set of its own, which follows"),
    ],
)
def test_v2_cruns_inner_cgroup(tmp_path: Path, inner_before: str, inner_after: str) -> None:
    host = MadeV2(tmp_path)
    host.make(f"{SCOPE}/container")
    host.put(f"{SCOPE}/container/cpuset.cpus", inner_before)
    write(host, "6-7", CRUN)
    assert host.get(f"{SCOPE}/cpuset.cpus") == "6-7"
    assert host.get(f"{SCOPE}/container/cpuset.cpus") == inner_after
    assert cpuset(host).read(CRUN, CPUS) == CPUSet.parse("6-7")


# --- both --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [MadeV1, MadeV2])
def test_what_is_wholly_offline_is_not_tried(tmp_path: Path, made: type[MadeV1 | MadeV2]) -> None:
    host = made(tmp_path)
    host.make(CONTAINER)
    with pytest.raises(CgroupError, match="none of CPUs 8-9 is online"):
        write(host, "8-9")
    assert host.log == []


@pytest.mark.parametrize("made", [MadeV1, MadeV2])
def test_a_vanished_cgroup_reads_as_none_and_takes_nothing(tmp_path: Path, made: type[MadeV1 | MadeV2]) -> None:
    host = made(tmp_path)
    host.make(POD)
    assert cpuset(host).read(C, CPUS) is None
    with pytest.raises(CgroupGoneError):
        write(host, "1")


def test_what_is_no_list_is_unreadable(v1: MadeV1) -> None:
    v1.set(f"cpuset/{CONTAINER}/cpuset.effective_cpus", "?")
    with pytest.raises(CgroupError, match="expected a list, found '\\?'"):
        cpuset(v1).read(C, CPUS)
