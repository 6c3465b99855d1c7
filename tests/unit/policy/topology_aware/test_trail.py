from __future__ import annotations

import pytest

from crirm.model.qos import QoSClass
from crirm.model.trail import Verdict
from crirm.policy.topology_aware.wording import size_text
from tests.unit.policy.topology_aware.support import NS, Node, make_policy, trail_of

GUARANTEED, BURSTABLE, BEST_EFFORT = QoSClass.GUARANTEED, QoSClass.BURSTABLE, QoSClass.BEST_EFFORT


def test_every_pool_has_its_verdict() -> None:
    node = Node(make_policy("2p.2n.2c mem=2Gi", "cpuset:0"))
    node.add("before", 1000, 1, annotations={f"prefer-isolated-cpus.{NS}": "false"})
    trail = trail_of(node.add("c", 1000, 1.5))
    assert (trail.key, trail.policy, trail.chosen) == ("c", "topology-aware", "NUMA node #2")
    won, *lost = trail.verdicts
    facts = (("shared", "2"), ("exclusive", "1"), ("memory", "2Gi"), ("containers", "0"))
    assert won == Verdict("NUMA node #2", facts)
    told = {verdict.pool: (verdict.lost_to, verdict.rule, verdict.own, verdict.other) for verdict in lost}
    assert told == {
        "NUMA node #0": ("NUMA node #2", "too few exclusive CPUs", "0", "1"),
        "NUMA node #1": ("NUMA node #2", "too few exclusive CPUs", "0", "1"),
        "NUMA node #3": ("NUMA node #2", "lower number", "4", "3"),
        "socket #0": ("NUMA node #2", "depth in the tree", "1", "2"),
        "socket #1": ("NUMA node #2", "depth in the tree", "1", "2"),
        "root": ("NUMA node #2", "depth in the tree", "0", "2"),
    }


@pytest.mark.parametrize(
    ("cpu", "memory", "about", "asked", "granted"),
    [
        pytest.param(
            2000,
            1,
            {},
            "2 exclusive CPUs; up to 1Gi of any memory",
            "CPUs 1-2 to itself; memory of NUMA nodes 0",
            id="exclusive CPUs",
        ),
        pytest.param(
            1500,
            0,
            {},
            "1 exclusive CPU, isolated if possible, and 500m of shared CPUs",
            "CPUs 7 to itself and CPUs 1-6 with others; memory of NUMA nodes 0",
            id="mixed",
        ),
        pytest.param(
            250,
            0,
            {"qos": BURSTABLE},
            "250m of shared CPUs",
            "CPUs 1-6 with others; memory of NUMA nodes 0",
            id="shared",
        ),
        pytest.param(
            0,
            0,
            {"qos": BEST_EFFORT},
            "a place on shared CPUs",
            "CPUs 1-6 with others; memory of NUMA nodes 0",
            id="nothing in particular",
        ),
        pytest.param(
            100,
            0,
            {"qos": BURSTABLE, "namespace": "kube-system"},
            "100m of the reserved CPUs",
            "the reserved CPUs 0; memory of NUMA nodes 0",
            id="reserved",
        ),
        pytest.param(
            0,
            0,
            {"qos": BEST_EFFORT, "namespace": "kube-system"},
            "a place on the reserved CPUs",
            "the reserved CPUs 0; memory of NUMA nodes 0",
            id="reserved, nothing in particular",
        ),
        pytest.param(
            250,
            0,
            {"qos": BURSTABLE, "annotations": {f"memory-type.{NS}": "dram"}},
            "250m of shared CPUs; DRAM memory",
            "CPUs 1-6 with others; memory of NUMA nodes 0",
            id="a kind of memory",
        ),
    ],
)
def test_wishes_and_grants_in_words(
    cpu: int, memory: float, about: dict[str, object], asked: str, granted: str
) -> None:
    node = Node(make_policy("1p.8c isolated=7", "cpuset:0"))
    trail = trail_of(node.add("c", cpu, memory, **about))  # type: ignore[arg-type]
    assert (asked, granted) == (trail.asked, trail.granted)


def test_why_a_pool_cannot_hold_a_container() -> None:
    node = Node(make_policy("2p.4c mem=4Gi pmem=8Gi@1", "cpuset:0"))
    node.add("full", 3000)
    trail = trail_of(node.add("c", 3500, 3, qos=BURSTABLE))
    told = {verdict.pool: (verdict.rule, verdict.own, verdict.other) for verdict in trail.verdicts[1:]}
    assert (node.pool("full"), trail.chosen) == ("socket #1", "root")
    assert told == {"socket #0": ("too few shared CPUs", "3", "4"), "socket #1": ("too few shared CPUs", "1", "4")}
    trail = trail_of(node.add("pmem", 100, 3, qos=BURSTABLE, annotations={f"memory-type.{NS}": "pmem"}))
    told = {verdict.pool: (verdict.rule, verdict.own, verdict.other) for verdict in trail.verdicts[1:]}
    assert told["socket #0"] == ("no memory of these kinds", "DRAM", "DRAM and PMEM")


def test_a_pool_without_memory_to_promise() -> None:
    node = Node(make_policy("2p.4c mem=4Gi", "cpuset:0"))
    trail = trail_of(node.add("c", 100, 5))
    assert [(verdict.rule, verdict.own, verdict.other) for verdict in trail.verdicts] == [
        ("", "", ""),
        ("too little memory", "4Gi", "8Gi"),
        ("too little memory", "4Gi", "8Gi"),
    ]


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        pytest.param(0, "0", id="nothing"),
        pytest.param(1023, "1023", id="bytes"),
        pytest.param(1536, "1.5Ki", id="a fraction"),
        pytest.param(100 << 20, "100Mi", id="whole"),
        pytest.param((16 << 30) - 5_000_000, "16Gi", id="rounded"),
        pytest.param(5 << 50, "5120Ti", id="the largest unit"),
    ],
)
def test_sizes(amount: int, text: str) -> None:
    assert text == size_text(amount)
