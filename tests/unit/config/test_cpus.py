from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from crirm.config.cpus import AllCPUsBut, CgroupCPUs, CPUAmount, ExactCPUs, parse_cpus, resolve_cpus
from crirm.config.faults import ValueFault
from crirm.model.cpuset import CPUSet
from crirm.model.quantity import MilliCPU

if TYPE_CHECKING:
    from crirm.config.cpus import CPUs


def exact(text: str) -> ExactCPUs:
    return ExactCPUs(CPUSet.parse(text))


def amount(millicpu: int) -> CPUAmount:
    return CPUAmount(MilliCPU(millicpu))


@pytest.mark.parametrize(
    ("value", "cpus"),
    [
        pytest.param("cpuset:0-3,8", exact("0-3,8"), id="a list by name"),
        pytest.param("cpuset:3", exact("3"), id="one CPU by name"),
        pytest.param("exclude-cpuset:0-3", AllCPUsBut(CPUSet.parse("0-3")), id="all but a list"),
        pytest.param("0-3", exact("0-3"), id="a range"),
        pytest.param("1,3", exact("1,3"), id="a list"),
        pytest.param(" 0-3 ", exact("0-3"), id="blanks around"),
        pytest.param("3", amount(3000), id="a whole number is an amount"),
        pytest.param("750m", amount(750), id="thousandths"),
        pytest.param("1.5", amount(1500), id="a fraction"),
        pytest.param("0.0001", amount(1), id="rounded up"),
        pytest.param(2, amount(2000), id="a number"),
        pytest.param(1.5, amount(1500), id="a number with a fraction"),
        pytest.param("cgroup:system.slice", CgroupCPUs("system.slice"), id="a cgroup by name"),
        pytest.param("cgroup:/a:b", CgroupCPUs("/a:b"), id="a cgroup with a colon"),
        pytest.param("/sys/fs/cgroup/x-y,z", CgroupCPUs("/sys/fs/cgroup/x-y,z"), id="a directory"),
    ],
)
def test_cpus_are_read(value: Any, cpus: CPUs) -> None:
    assert parse_cpus(value) == cpus


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        pytest.param("", "the value is empty", id="empty"),
        pytest.param("exclude-cpuset:", "the CPU list is empty", id="nothing excluded"),
        pytest.param("cpuset:", "the CPU list is empty", id="an empty list"),
        pytest.param("cpuset:a", "'a' at character 1 is not a CPU number", id="no list"),
        pytest.param("3-1", "runs backwards", id="backwards"),
        pytest.param("-1", "is not a CPU number or range", id="a negative text"),
        pytest.param("cgroup:", "needs a directory", id="no cgroup"),
        pytest.param("socket:0", "unknown prefix 'socket'", id="another qualifier"),
        pytest.param("two", "'two' is not a quantity", id="a word"),
        pytest.param("0", "found 0", id="nothing, as a text"),
        pytest.param(0, "found 0", id="nothing"),
        pytest.param(-1.5, "found -1.5", id="a negative number"),
        pytest.param(True, "found boolean true", id="a boolean"),
        pytest.param([0, 1], "found a list", id="a list of YAML"),
    ],
)
def test_what_means_no_cpus_is_refused(value: Any, reason: str) -> None:
    with pytest.raises(ValueFault, match=reason):
        parse_cpus(value)


@pytest.mark.parametrize("cpus", [exact("0,8"), amount(750), amount(2000), CgroupCPUs("/x"), CgroupCPUs("x")], ids=str)
def test_cpus_are_written_as_they_are_read(cpus: CPUs) -> None:
    assert parse_cpus(str(cpus)) == cpus


def test_a_cgroup_stays_symbolic_until_it_is_read() -> None:
    cgroups = {"/x": CPUSet.parse("4-5")}
    assert resolve_cpus(CgroupCPUs("/x"), cgroups.__getitem__) == exact("4-5")
    for constraint in (exact("0"), amount(1), None):
        assert resolve_cpus(constraint, cgroups.__getitem__) == constraint
