from __future__ import annotations

import pytest

from crirm.model.decision import StartTimer, StopTimer
from crirm.model.events import Timer
from crirm.model.qos import QoSClass
from crirm.model.workload import ContainerKey
from tests.unit.policy.topology_aware.support import NS, Node, make_policy, trail_of

HOST = "1p.4c mem=4Gi pmem=16Gi"
COLD = {f"cold-start.{NS}": "duration: 60s"}
BURSTABLE = QoSClass.BURSTABLE
NAME = ContainerKey("c")


def test_a_container_starts_on_slow_memory_and_gets_the_rest_later() -> None:
    node = Node(make_policy(HOST))
    placement = node.add("c", 500, 1, qos=BURSTABLE, annotations=COLD)
    assert node.mems("c") == "1"
    assert trail_of(placement).asked.endswith("a cold start of 60 s on PMEM")
    started = node.start("c")
    assert started.effects == (StartTimer(NAME, Timer.COLD_START, 60),)
    assert not started.changed
    expired = node.expire("c")
    assert set(expired.changed) == {"c"}
    assert node.mems("c") == "0-1"
    assert node.expire("c").state is node.state
    assert not node.start("c").effects
    assert not node.remove("c").effects


def test_a_timer_is_stopped_with_its_container() -> None:
    node = Node(make_policy(HOST))
    node.add("c", 500, 1, qos=BURSTABLE, annotations=COLD)
    assert node.remove("c").effects == (StopTimer(NAME, Timer.COLD_START),)


def test_a_resize_does_not_end_a_cold_start_nor_begin_it_again() -> None:
    node = Node(make_policy(HOST))
    node.add("c", 500, 1, qos=BURSTABLE, annotations=COLD)
    node.resize("c", 600, 2)
    assert node.mems("c") == "1"
    node.expire("c")
    node.resize("c", 700, 1)
    assert node.mems("c") == "0-1"


@pytest.mark.parametrize(
    ("host", "annotations", "memory", "mems", "note"),
    [
        pytest.param("1p.4c mem=4Gi", COLD, 1, "0", "no cold start: this mac", id="no slow memory"),
        pytest.param(HOST + " movable=1", COLD, 1, "0-1", "no cold start: this mac", id="movable slow memory"),
        pytest.param(
            HOST, COLD | {f"memory-type.{NS}": "pmem"}, 1, "1", "no cold start: this mac", id="never any DRAM"
        ),
        pytest.param(
            HOST, COLD | {f"memory-type.{NS}": "dram"}, 1, "0", "no cold start: this mac", id="never slow memory"
        ),
        pytest.param(HOST, COLD, 17, "0-1", "no cold start: PMEM memory is short by 1Gi", id="too little slow memory"),
        pytest.param(HOST, {f"cold-start.{NS}": "duration: 0s"}, 1, "0-1", "", id="none that is worth it"),
        pytest.param("1p.4c mem=4Gi cxl=16Gi", COLD, 1, "1", "", id="CXL will do"),
    ],
)
def test_cold_starts_that_cannot_be(
    host: str, annotations: dict[str, str], memory: float, mems: str, note: str
) -> None:
    node = Node(make_policy(host))
    notes = trail_of(node.add("c", 500, memory, qos=BURSTABLE, annotations=annotations)).notes
    assert mems == node.mems("c")
    assert [note] == [text[: len(note)] for text in notes] or not note


def test_warming_up_lifts_whoever_is_at_risk() -> None:
    node = Node(make_policy("1p.2n.2c mem=4Gi pmem=16Gi@0 pmem=16Gi@1", "cpuset:0"))
    node.add("beside", 500, 3, annotations={f"memory-type.{NS}": "dram"})
    node.add("c", 500, 3, annotations=COLD | {f"{NS}/affinity": "c: [beside]"}, pod="pod-beside")
    assert node.pool("beside") == "NUMA node #1"
    node.remove("c")
    node.add("cold", 1200, 3, annotations=COLD | {f"prefer-shared-cpus.{NS}": "true"})
    assert (node.pool("cold"), node.mems("beside"), node.mems("cold")) == ("NUMA node #1", "1", "3")
    node.expire("cold")
    assert (node.mems("beside"), node.mems("cold")) == ("0-1", "1,3")


def test_a_cold_start_goes_on_while_its_end_would_take_memory_that_another_keeps() -> None:
    node = Node(make_policy("1p.2n.2c mem=4Gi pmem=16Gi@0 pmem=16Gi@1", "cpuset:0"))
    node.add("k", 500, 3, annotations={f"memory-type.{NS}": "dram", f"keep.{NS}": "memory"})
    node.add("cold", 1200, 3, annotations=COLD | {f"prefer-shared-cpus.{NS}": "true"})
    node.start("cold")
    assert (node.pool("cold"), node.mems("k"), node.mems("cold")) == ("NUMA node #1", "1", "3")
    expired = node.expire("cold")
    assert expired.effects == (StartTimer(ContainerKey("cold"), Timer.COLD_START, 60),)
    assert (expired.changed, node.mems("k"), node.mems("cold")) == ({}, "1", "3")
    node.remove("k")
    assert not node.expire("cold").effects
    assert node.mems("cold") == "1,3"
