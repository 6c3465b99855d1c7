"""Where the kernel and the decision differ is said in sentences; where they agree, nothing is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from crirm.daemon.enforcer.analysis import analysed, record
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.decision import UNADJUSTED, Adjustment
from crirm.model.events import ContainerCreated, ContainerRequested, PodAdded
from crirm.model.workload import ContainerId, ContainerKey
from crirm.system.cgroup_analysis import Analysis, Pressure, Throttling
from tests.unit.replay.scenes import Scene, container, pod
from tests.unit.system.cgroup_rig import MadeV2

if TYPE_CHECKING:
    from pathlib import Path

MACHINE = topology_of(parse_spec("2p.4c.1t mem=8Gi"))  # CPUs 0-3 are near memory 0, 4-7 near 1
DECIDED = Adjustment(CPUSet.parse("0-1"), NodeSet.of(0))
MIB = 1 << 20
AGREES = Analysis("/c", "v2", CPUSet.parse("0-1"), NodeSet.of(0), {0: 64 * MIB, 1: 0}, "memory.numa_stat")


@pytest.mark.parametrize(
    ("found", "decided", "told"),
    [
        pytest.param(AGREES, DECIDED, [], id="they agree"),
        pytest.param(
            attrs.evolve(AGREES, cpus=CPUSet.parse("0-3")),
            DECIDED,
            ["the kernel lets it use CPUs 0-3, not 0-1 as assigned"],
            id="other CPUs",
        ),
        pytest.param(
            attrs.evolve(AGREES, mems=NodeSet.parse("0-1")),
            DECIDED,
            ["the kernel lets it use memory nodes 0-1, not 0 as assigned"],
            id="other memory nodes",
        ),
        pytest.param(
            attrs.evolve(AGREES, memory={0: 48 * MIB, 1: 16 * MIB}),
            DECIDED,
            [
                "16 MiB of its memory (25 %) is on NUMA node 1, where it may not allocate now: not migrated",
                "16 MiB of its memory (25 %) is remote: on NUMA node 1, not near its CPUs",
            ],
            id="memory that has not followed",
        ),
        pytest.param(
            attrs.evolve(AGREES, mems=NodeSet.parse("0-1"), memory={0: 48 * MIB, 1: 16 * MIB}),
            attrs.evolve(DECIDED, mems=NodeSet.parse("0-1")),
            ["16 MiB of its memory (25 %) is remote: on NUMA node 1, not near its CPUs"],
            id="remote memory that was decided",
        ),
        pytest.param(
            attrs.evolve(AGREES, pressure=Pressure(0.0, 12.0, 3.0)),
            DECIDED,
            ["it waited for a CPU 12 % of the last minute"],
            id="it waits for CPUs",
        ),
        pytest.param(attrs.evolve(AGREES, pressure=Pressure(50.0, 9.0, 3.0)), DECIDED, [], id="it waits seldom"),
        pytest.param(
            attrs.evolve(AGREES, throttling=Throttling(300, 12, 1_500_000)),
            DECIDED,
            ["its CPU limit stopped it in 12 of 300 periods, 1.5 s in all"],
            id="its limit stops it",
        ),
        pytest.param(attrs.evolve(AGREES, throttling=Throttling(300, 0, 0)), DECIDED, [], id="its limit does not"),
        pytest.param(attrs.evolve(AGREES, cpus=None, mems=None), DECIDED, [], id="nothing is known"),
        pytest.param(AGREES, UNADJUSTED, [], id="nothing was assigned"),
    ],
)
def test_findings(found: Analysis, decided: Adjustment, told: list[str]) -> None:
    assert record(found, decided, MACHINE)["findings"] == told


def test_remote_is_what_is_not_near_the_cpus_that_it_has() -> None:
    """Not near those that were decided: what counts is where it runs."""
    found = attrs.evolve(AGREES, cpus=CPUSet.parse("4-7"), memory={0: 48 * MIB, 1: 16 * MIB})
    shown = record(found, DECIDED, MACHINE)
    assert (shown["remote_nodes"], shown["remote_bytes"]) == ("0", 48 * MIB)
    assert shown["memory_bytes"] == {"0": 48 * MIB, "1": 16 * MIB}


def scene() -> Any:
    made = Scene()
    made.tell(PodAdded(pod(cgroup_parent="/kubepods/podx")), ContainerRequested(container("a", 1)))
    return made


async def test_a_container_is_read_where_its_pod_is(tmp_path: Path) -> None:
    made = scene()
    made.tell(ContainerCreated(ContainerKey("a"), ContainerId("id-a")))
    MadeV2(tmp_path / "sys/fs/cgroup").make("kubepods/podx/id-a")
    shown = await analysed(lambda: made.state, ContainerKey("a"), made.topology, tmp_path)
    assert shown["cgroup"].endswith("/kubepods/podx/id-a")
    assert shown["cpus"] == "0-7"
    assert "the kernel lets it use CPUs 0-7" in shown["findings"][0]


@pytest.mark.parametrize("key", ["a", "gone"])
async def test_one_that_is_not_there_yet_or_any_more_is_said(key: str, tmp_path: Path) -> None:
    made = scene()
    shown = await analysed(lambda: made.state, ContainerKey(key), made.topology, tmp_path)
    assert shown["missing"] == ["the container does not exist any more, or not yet"]


async def test_what_is_decided_anew_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, key = scene(), ContainerKey("a")
    made.tell(ContainerCreated(key, ContainerId("id-a")))
    reads: list[CPUSet] = []

    def analyse(_root: Path, _place: object) -> Analysis:
        reads.append(made.state.adjustments[key].cpus)
        if len(reads) == 1:  # moved after it was read
            moved = attrs.evolve(made.state.adjustments[key], cpus=CPUSet.parse("6-7"))
            made.state = attrs.evolve(made.state, adjustments={key: moved})
        return Analysis("/c", "v2", reads[-1])

    monkeypatch.setattr("crirm.daemon.placement.kernel.analyse", analyse)
    shown = await analysed(lambda: made.state, key, made.topology, tmp_path)
    assert (len(reads), shown["cpus"], shown["findings"]) == (2, "6-7", [])
