from __future__ import annotations

import pytest

from crirm.config.load import load
from crirm.config.machine import Verdict, judge
from crirm.errors import CrirmError
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet

TOPOLOGY = topology_of(parse_spec("1p.1n.4c.2t isolated=2-3 offline=7"))  # CPUs 0-6 are online
RESERVED = "@ $.policy.ReservedResources.CPU (line 6)"
CGROUPS = {"/half": "0-3", "/far": "90"}


def read_cgroup(directory: str) -> CPUSet:
    if directory not in CGROUPS:
        raise CrirmError(f"{directory} is gone")
    return CPUSet.parse(CGROUPS[directory])


def verdict(text: str) -> Verdict:
    return judge(load(text.encode(), "test"), TOPOLOGY, read_cgroup)


def policy(available: str | None, reserved: str) -> str:
    bounds = f"  AvailableResources:\n    CPU: {available}\n" if available else ""
    return f"policy:\n  Active: topology-aware\n{bounds}  ReservedResources:\n    CPU: {reserved}\n"


@pytest.mark.parametrize(
    ("available", "reserved"),
    [
        pytest.param(None, "1", id="an amount of all"),
        pytest.param(None, "cpuset:0", id="a CPU of all"),
        pytest.param("cpuset:0-5", "cpuset:0-1", id="CPUs of some"),
        pytest.param("cpuset:0-5", "1500m", id="an amount of some"),
        pytest.param("4", "cpuset:0-1", id="CPUs of an amount"),
        pytest.param("4", "2", id="an amount of an amount"),
        pytest.param("/half", "1", id="an amount of a cgroup"),
        pytest.param("7", "1", id="an amount of all by number"),
    ],
)
def test_what_fits_the_machine_is_fine(available: str | None, reserved: str) -> None:
    assert verdict(policy(available, reserved)) == Verdict((), ())


@pytest.mark.parametrize(
    ("available", "reserved", "fault"),
    [
        pytest.param(
            "0-9",
            "1",
            "CPUs 8-9 are not in this machine, which has 0-7; remove them @ $.policy.AvailableResources.CPU (line 4)",
            id="available CPUs beyond the machine",
        ),
        pytest.param(
            None,
            "cpuset:8",
            "CPU 8 is not in this machine, which has 0-7; remove them @ $.policy.ReservedResources.CPU (line 4)",
            id="a reserved CPU beyond the machine",
        ),
        pytest.param(
            "/far",
            "1",
            "CPU 90 is not in this machine, which has 0-7; remove them @ $.policy.AvailableResources.CPU (line 4)",
            id="a cgroup beyond the machine",
        ),
        pytest.param(
            "/gone", "1", "/gone is gone @ $.policy.AvailableResources.CPU (line 4)", id="a cgroup that is gone"
        ),
        pytest.param(
            "cpuset:7",
            "1",
            "CPU 7 is offline, so none can be used; bring them online or name others "
            "@ $.policy.AvailableResources.CPU (line 4)",
            id="only CPUs that are offline",
        ),
        pytest.param(
            "8",
            "1",
            "8 is more than the 7 online CPUs of this machine; lower it @ $.policy.AvailableResources.CPU (line 4)",
            id="more than the machine has",
        ),
        pytest.param(
            "cpuset:0-1",
            "cpuset:1,4",
            "CPU 4 is not in AvailableResources (0-1); add or remove them @ $.policy.ReservedResources.CPU (line 6)",
            id="a reserved CPU that is not available",
        ),
        pytest.param(
            "1500m",
            "0,1",
            "reserves 2 CPUs, but only 1500m are available; reserve fewer @ $.policy.ReservedResources.CPU (line 6)",
            id="more reserved CPUs than are available",
        ),
        pytest.param(
            None,
            "0-2",
            "CPU 2 is isolated by the kernel (isolcpus); reserve others @ $.policy.ReservedResources.CPU (line 4)",
            id="a reserved CPU that is isolated",
        ),
        pytest.param(
            "0-3",
            "2500m",
            f"reserves 3 CPUs, but only 2 are available and not isolated; reserve fewer {RESERVED}",
            id="an amount that only isolated CPUs could make up",
        ),
        pytest.param(
            None,
            "exclude-cpuset:12",
            "CPU 12 is not in this machine, which has 0-7; remove them @ $.policy.ReservedResources.CPU (line 4)",
            id="excluding a CPU that is not there",
        ),
        pytest.param(
            None,
            "exclude-cpuset:0-7",
            "excludes all CPUs of this machine, which has 0-7; exclude fewer @ $.policy.ReservedResources.CPU (line 4)",
            id="excluding all",
        ),
        pytest.param(
            "2",
            "3",
            f"reserves 3 CPUs, but only 2 are available and not isolated; reserve fewer {RESERVED}",
            id="a reserved amount above the available one",
        ),
    ],
)
def test_what_does_not_fit_the_machine_is_a_fault(available: str | None, reserved: str, fault: str) -> None:
    assert [str(one) for one in verdict(policy(available, reserved)).faults] == [fault]


def test_both_bounds_are_judged_at_once() -> None:
    assert len(verdict(policy("0-9", "cpuset:11")).faults) == 2


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        pytest.param(policy("5-7", "cpuset:5"), "CPU 7 is offline and not used", id="a CPU that is offline"),
        pytest.param(policy("cpuset:0,1", "0,1"), "reserves all available CPUs; none are left", id="all CPUs reserved"),
        pytest.param(
            policy("0-3", "2"), "reserves all available CPUs that are not isolated", id="all but isolated ones"
        ),
        pytest.param(
            policy(None, "1") + "  static: {}\n",
            "not used: the active policy is topology-aware @ $.policy.static (line 5)",
            id="options of another policy",
        ),
        pytest.param(
            "policy:\n  AvailableResources: {CPU: 0-3}\n",
            "not used: policy none places nothing @ $.policy.AvailableResources (line 2)",
            id="bounds without a policy",
        ),
        pytest.param(
            policy(None, "1") + "  topology-aware:\n    ReservedPoolNamespaces:\n    - a\n    - b\n    - a\n",
            "has no effect: 'a' before it matches the same namespaces "
            "@ $.policy.topology-aware.ReservedPoolNamespaces[2] (line 9)",
            id="a namespace twice",
        ),
        pytest.param(
            policy(None, "1") + "  topology-aware:\n    ReservedPoolNamespaces: ['*', b]\n",
            "has no effect: '*' before it matches the same namespaces "
            "@ $.policy.topology-aware.ReservedPoolNamespaces[1] (line 6)",
            id="a namespace after all",
        ),
    ],
)
def test_what_has_no_effect_is_a_warning(text: str, warning: str) -> None:
    found = verdict(text)
    assert found.faults == ()
    assert [str(one)[: len(warning)] for one in found.warnings] == [warning]


def test_cpu_classes_are_compared_with_their_use() -> None:
    text = (
        "cpu: {classes: {turbo: {}, idle: {}, odd: {}}}\n"
        "policy:\n  balloons: {IdleCPUClass: idle, BalloonTypes: [{Name: a, CPUClass: turbo}, {CpuClass: none}]}\n"
    )
    assert [str(one) for one in verdict(text).warnings] == [
        "not supported yet and without effect: cpu, policy.balloons @ $",
        "a pool uses CPU class 'none', which is not defined @ $.cpu.classes",
        "CPU class 'odd' is not used by any pool @ $.cpu.classes.odd (line 1)",
    ]


def test_on_a_made_up_machine_a_cgroup_is_not_judged() -> None:
    found = judge(load(policy("/half", "1").encode(), "test"), TOPOLOGY, None)
    assert [str(one) for one in (*found.faults, *found.warnings)] == [
        "not checked: a synthetic machine has no cgroups @ $.policy.AvailableResources.CPU (line 4)"
    ]
