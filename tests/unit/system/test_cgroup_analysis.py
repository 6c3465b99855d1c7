"""What the kernel tells of one container, on both versions of cgroups, and what it does not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.system.cgroup_analysis import (
    Pressure,
    Throttling,
    analyse,
    parse_numa_maps,
    parse_numa_stat_v1,
    parse_numa_stat_v2,
    parse_pressure,
    parse_throttling,
)
from crirm.system.cgroup_find import Place
from tests.unit.system.cgroup_rig import CONTAINER, POD, MadeV1, MadeV2

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PLACE = Place(f"/{POD}", "c1")
STAT_V2 = """anon N0=8192 N1=4096
file N0=0 N1=4096
kernel_stack N0=16384 N1=0
shmem N0=0 N1=4096
anon_thp N0=8192 N1=0
"""
STAT_V1 = """total=3 N0=2 N1=1
file=1 N0=0 N1=1
hierarchical_total=5 N0=2 N1=3
hierarchical_file=1 N0=0 N1=1
"""
MAPS = """55d0 default file=/bin/sleep mapped=5 mapmax=2 N0=5 kernelpagesize_kB=4
7f00 default anon=2 dirty=2 N0=1 N1=1 kernelpagesize_kB=2048
7f11 default
"""
PRESSURE = """some avg10=12.50 avg60=8.00 avg300=1.25 total=123
full avg10=0.00 avg60=0.00 avg300=0.00 total=0
"""


@pytest.mark.parametrize(
    ("read", "text", "found"),
    [
        pytest.param(parse_numa_stat_v2, STAT_V2, {0: 8192, 1: 8192}, id="v2: pages of processes, each once"),
        pytest.param(parse_numa_stat_v2, "", {}, id="v2: nothing"),
        pytest.param(lambda text: parse_numa_stat_v1(text, 4096), STAT_V1, {0: 8192, 1: 12288}, id="v1: with children"),
        pytest.param(lambda text: parse_numa_stat_v1(text, 1), "total=3 N0=2 N1=1", {0: 2, 1: 1}, id="v1: old kernel"),
        pytest.param(parse_numa_maps, MAPS, {0: (20 + 2048) << 10, 1: 2048 << 10}, id="maps: with large pages"),
        pytest.param(parse_pressure, PRESSURE, Pressure(12.5, 8.0, 1.25), id="pressure"),
        pytest.param(parse_pressure, "", None, id="no pressure"),
        pytest.param(
            parse_throttling, "nr_periods 300\nnr_throttled 12\nthrottled_time 1500000\n", Throttling(300, 12, 1500),
            id="v1: nanoseconds",
        ),
        pytest.param(
            parse_throttling, "usage_usec 5\nnr_periods 300\nnr_throttled 12\nthrottled_usec 1500\n",
            Throttling(300, 12, 1500), id="v2: microseconds",
        ),
        pytest.param(parse_throttling, "usage_usec 5\n", None, id="v2 without the controller"),
    ],
)  # fmt: skip
def test_formats(read: Callable[[str], object], text: str, found: object) -> None:
    assert read(text) == found


def root_of(tmp_path: Path) -> Path:
    return tmp_path / "sys" / "fs" / "cgroup"


@pytest.fixture
def unified(tmp_path: Path) -> MadeV2:
    made = MadeV2(root_of(tmp_path))
    made.make(CONTAINER)
    made.set(f"{CONTAINER}/cpu.pressure", PRESSURE)
    made.set(f"{CONTAINER}/cpu.stat", "nr_periods 2\nnr_throttled 1\nthrottled_usec 7")
    made.set(f"{CONTAINER}/memory.numa_stat", STAT_V2)
    made.set(f"{CONTAINER}/cgroup.controllers", "cpuset cpu memory")
    return made


def test_all_of_it_on_v2(tmp_path: Path, unified: MadeV2) -> None:
    unified.put(f"{CONTAINER}/cpuset.cpus", "2-3")
    found = analyse(tmp_path, PLACE)
    assert (str(found.cpus), str(found.mems), found.version) == ("2-3", "0-1", "v2")
    assert (found.memory, found.memory_source) == ({0: 8192, 1: 8192}, "memory.numa_stat")
    assert (found.pressure, found.throttling) == (Pressure(12.5, 8.0, 1.25), Throttling(2, 1, 7))
    assert found.missing == ()
    assert found.cgroup.endswith(CONTAINER)


def test_all_of_it_on_v1(tmp_path: Path) -> None:
    made = MadeV1(root_of(tmp_path))
    made.make(CONTAINER)
    (made.root / "memory" / CONTAINER).mkdir(parents=True)
    made.set(f"memory/{CONTAINER}/memory.numa_stat", "hierarchical_total=5 N0=2 N1=3")
    made.set(f"cpu/{CONTAINER}/cpu.stat", "nr_periods 2\nnr_throttled 1\nthrottled_time 7000")
    found = analyse(tmp_path, PLACE)
    assert (str(found.cpus), str(found.mems), found.version) == ("0-7", "0-1", "v1")
    assert found.memory is not None
    assert list(found.memory) == [0, 1]
    assert found.throttling == Throttling(2, 1, 7)
    (missing,) = found.missing
    assert missing == "CPU pressure: cgroup v1 does not tell it for each cgroup; cgroup v2 does"


def test_without_numa_stat_the_maps_of_processes_are_read(tmp_path: Path, unified: MadeV2) -> None:
    (unified.root / CONTAINER / "memory.numa_stat").unlink()
    unified.set(f"{CONTAINER}/cgroup.procs", "17\n18\n19")
    for process in ("17", "18"):
        (tmp_path / "proc" / process).mkdir(parents=True)
        (tmp_path / "proc" / process / "numa_maps").write_text("7f00 default anon=1 N1=1 kernelpagesize_kB=4")
    found = analyse(tmp_path, PLACE)
    assert (found.memory, found.memory_source) == ({1: 8192}, "/proc/PID/numa_maps")


@pytest.mark.parametrize(
    ("gone", "named"),
    [
        pytest.param("cpu.pressure", "boot with psi=1", id="PSI"),
        pytest.param("cpu.stat", "throttling: ", id="CPU statistics"),
        pytest.param("memory.numa_stat", "memory by NUMA node: no memory.numa_stat", id="memory"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, unified: MadeV2, gone: str, named: str) -> None:
    (unified.root / CONTAINER / gone).unlink()
    (missing,) = analyse(tmp_path, PLACE).missing
    assert named in missing


def test_a_cgroup_without_a_cpuset_has_that_of_the_one_above(tmp_path: Path, unified: MadeV2) -> None:
    for name in ("cpuset.cpus.effective", "cpuset.mems.effective"):
        (unified.root / CONTAINER / name).unlink()
    unified.set(f"{POD}/cpuset.cpus.effective", "4-5")
    assert str(analyse(tmp_path, PLACE).cpus) == "4-5"


@pytest.mark.parametrize("made", [True, False], ids=["no container", "no cgroups at all"])
def test_without_a_cgroup_nothing_is_known(tmp_path: Path, made: bool) -> None:
    if made:
        MadeV2(root_of(tmp_path))
    found = analyse(tmp_path, PLACE)
    assert (found.cgroup, found.cpus, len(found.missing)) == ("", None, 1)
