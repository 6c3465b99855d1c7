"""CPU weight and limit."""

from __future__ import annotations

from pathlib import Path

import pytest

from crirm.system.cgroup_cpu import CpuV1, CpuV2, Quota, WeightFormula
from crirm.system.cgroup_files import CgroupError
from crirm.system.cgroup_find import Cgroup
from tests.unit.system.cgroup_rig import CONTAINER, MadeV1, MadeV2

C = Cgroup(Path(CONTAINER))
SCOPE = "kubepods.slice/kubepods-pod0123abcd.slice/crio-c1.scope"
CRUN = Cgroup(Path(SCOPE), Path(SCOPE) / "container")
QUADRATIC, LINEAR = WeightFormula.QUADRATIC, WeightFormula.LINEAR


@pytest.mark.parametrize(
    ("shares", "linear", "quadratic"),
    [
        pytest.param(2, 1, 1, id="smallest"),
        pytest.param(0, 1, 1, id="below the smallest"),
        pytest.param(102, 4, 17, id="100 m"),
        pytest.param(512, 20, 59, id="500 m"),
        pytest.param(1024, 39, 100, id="1 CPU: the quadratic formula keeps the default"),
        pytest.param(2048, 79, 174, id="2 CPUs"),
        pytest.param(262144, 10000, 10000, id="largest"),
        pytest.param(1000000, 10000, 10000, id="above the largest"),
    ],
)
def test_shares_become_a_weight(shares: int, linear: int, quadratic: int) -> None:
    assert (LINEAR.weight(shares), QUADRATIC.weight(shares)) == (linear, quadratic)


@pytest.mark.parametrize("formula", WeightFormula)
def test_more_shares_never_weigh_less_and_always_something_the_kernel_takes(formula: WeightFormula) -> None:
    weights = [formula.weight(shares) for shares in range(2, 262145, 97)]
    assert weights == sorted(weights)
    assert (weights[0], max(weights)) >= (1, 9000)
    assert max(weights) <= 10000


@pytest.mark.parametrize(
    ("wanted", "found", "met"),
    [
        pytest.param(Quota(50_000), Quota(50_000), True, id="equal"),
        pytest.param(Quota(50_000), Quota(500_000, 1_000_000), True, id="another period, the same share"),
        pytest.param(Quota(12_345), Quota(13_000), True, id="rounded up by systemd to whole percents"),
        pytest.param(Quota(12_345), Quota(12_000), False, id="rounded down by nobody"),
        pytest.param(Quota(12_345), Quota(14_000), False, id="more than rounding explains"),
        pytest.param(Quota(50_000), Quota(None), False, id="limit was lifted"),
        pytest.param(Quota(None), Quota(50_000), False, id="limit where there should be none"),
        pytest.param(Quota(None), Quota(None, 50_000), True, id="no limit, whatever the period"),
    ],
)
def test_a_limit_is_met(wanted: Quota, found: Quota, met: bool) -> None:
    assert wanted.is_met_by(found) is met


def test_v1_has_shares_and_a_quota(tmp_path: Path) -> None:
    host = MadeV1(tmp_path)
    host.make(CONTAINER)
    cpu = CpuV1(host, tmp_path / "cpu")
    assert (cpu.shares(C), cpu.weight(C), cpu.quota(C)) == (1024, None, Quota(None, 100_000))
    cpu.write_shares(C, 512, LINEAR)
    cpu.write_quota(C, Quota(20_000, 50_000))
    assert (cpu.shares(C), cpu.quota(C)) == (512, Quota(20_000, 50_000))
    cpu.write_quota(C, Quota(None))
    assert cpu.quota(C) == Quota(None)


def test_v2_has_a_weight_and_a_limit(tmp_path: Path) -> None:
    host = MadeV2(tmp_path)
    host.make(CONTAINER)
    cpu = CpuV2(host, tmp_path)
    assert (cpu.shares(C), cpu.weight(C), cpu.quota(C)) == (None, 100, Quota(None))
    cpu.write_shares(C, 1024, LINEAR)
    cpu.write_quota(C, Quota(20_000))
    assert (cpu.weight(C), cpu.quota(C)) == (39, Quota(20_000))
    assert host.get(f"{CONTAINER}/cpu.max") == "20000 100000"
    cpu.write_shares(C, 1024, QUADRATIC)
    cpu.write_quota(C, Quota(None))
    assert (cpu.weight(C), host.get(f"{CONTAINER}/cpu.max")) == (100, "max 100000")


def test_v2_without_the_controller_tells_nothing_until_it_is_enabled(tmp_path: Path) -> None:
    host = MadeV2(tmp_path)
    host.make(CONTAINER, controllers="cpuset")
    cpu = CpuV2(host, tmp_path)
    assert (cpu.weight(C), cpu.quota(C)) == (None, None)
    with pytest.raises(CgroupError):
        host.write(tmp_path / CONTAINER / "cpu.weight", "5")
    host.set("cgroup.subtree_control", "cpuset cpu")
    for parent in ("kubepods", "kubepods/burstable"):
        host.set(f"{parent}/cgroup.subtree_control", "cpuset cpu")
    host.follow()
    cpu.write_shares(C, 1024, QUADRATIC)
    assert cpu.weight(C) == 100


def test_v2_with_crun_weighs_the_scope_and_limits_both(tmp_path: Path) -> None:
    host = MadeV2(tmp_path)
    host.make(f"{SCOPE}/container")
    cpu = CpuV2(host, tmp_path)
    host.put(f"{SCOPE}/cpu.max", "30000 100000")
    host.put(f"{SCOPE}/container/cpu.max", "25000 100000")
    host.put(f"{SCOPE}/container/cpu.weight", "7")
    assert (cpu.weight(CRUN), cpu.quota(CRUN)) == (100, Quota(25_000))
    cpu.write_quota(CRUN, Quota(40_000))
    assert {host.get(f"{SCOPE}/cpu.max"), host.get(f"{SCOPE}/container/cpu.max")} == {"40000 100000"}


def test_numbers_that_are_none_are_unreadable(tmp_path: Path) -> None:
    v1, v2 = MadeV1(tmp_path / "1"), MadeV2(tmp_path / "2")
    for host in (v1, v2):
        host.make(CONTAINER)
    v1.set(f"cpu/{CONTAINER}/cpu.shares", "many")
    v2.set(f"{CONTAINER}/cpu.max", "little")
    with pytest.raises(CgroupError, match="expected a number, found 'many'"):
        CpuV1(v1, v1.root / "cpu").shares(C)
    with pytest.raises(CgroupError, match="holds 'little'"):
        CpuV2(v2, v2.root).quota(C)


def test_a_vanished_cgroup_reads_as_none(tmp_path: Path) -> None:
    v1 = CpuV1(MadeV1(tmp_path / "1"), tmp_path / "1/cpu")
    v2 = CpuV2(MadeV2(tmp_path / "2"), tmp_path / "2")
    assert [v1.shares(C), v1.quota(C), v2.weight(C), v2.quota(C)] == [None] * 4
