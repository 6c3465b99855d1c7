from __future__ import annotations

import pytest

from crirm.model.qos import QoSClass
from crirm.model.trail import Verdict
from crirm.policy.topology_aware.choice import Lack
from crirm.policy.topology_aware.ranking import Rule
from crirm.policy.topology_aware.wording import lack_text, lost_text, size_text
from tests.unit.policy.topology_aware.support import NS, Node, make_policy, trail_of

GUARANTEED, BURSTABLE, BEST_EFFORT = QoSClass.GUARANTEED, QoSClass.BURSTABLE, QoSClass.BEST_EFFORT


def test_every_pool_has_its_verdict() -> None:
    node = Node(make_policy("2p.2n.2c mem=2Gi", "cpuset:0"))
    node.add("before", 1000, 1, annotations={f"prefer-isolated-cpus.{NS}": "false"})
    trail = trail_of(node.add("c", 1000, 1.5))
    assert (trail.key, trail.policy, trail.chosen) == ("c", "topology-aware", "NUMA node #2")
    won, *lost = trail.verdicts
    facts = (("shared_milli", 2000), ("exclusive_cpus", 2), ("memory_bytes", 2 << 30), ("containers", 0))
    assert won == Verdict("NUMA node #2", facts)
    told = {verdict.pool: (verdict.lost_to, verdict.rule, verdict.own, verdict.other) for verdict in lost}
    assert told == {
        "NUMA node #0": ("NUMA node #2", "shared_left_milli", 0, 1000),
        "NUMA node #1": ("NUMA node #2", "memory_bytes", 1 << 30, 2 << 30),
        "NUMA node #3": ("NUMA node #2", "pool_number", 4, 3),
        "socket #0": ("NUMA node #2", "depth", 1, 2),
        "socket #1": ("NUMA node #2", "depth", 1, 2),
        "root": ("NUMA node #2", "depth", 0, 2),
    }
    assert (won.why, {verdict.why for verdict in lost}) == (
        "",
        {
            "would leave 0 shared CPUs; NUMA node #2 leaves 1",
            "too little memory: 1Gi; NUMA node #2 has 2Gi",
            "tie with NUMA node #2, which comes first",
            "higher in the pool tree than NUMA node #2 (depth 1, not 2)",
            "higher in the pool tree than NUMA node #2 (depth 0, not 2)",
        },
    )


@pytest.mark.parametrize(
    ("cpu", "memory", "about", "asked", "granted"),
    [
        pytest.param(
            2000,
            1,
            {},
            "2 exclusive CPUs; up to 1Gi of any memory",
            "exclusive CPUs 1-2; memory of NUMA nodes 0",
            id="exclusive CPUs",
        ),
        pytest.param(
            1500,
            0,
            {},
            "1 exclusive CPU (isolated if possible) and 500m of shared CPUs",
            "exclusive CPUs 7 and shared CPUs 1-6; memory of NUMA nodes 0",
            id="mixed",
        ),
        pytest.param(
            250,
            0,
            {"qos": BURSTABLE},
            "250m of shared CPUs",
            "shared CPUs 1-6; memory of NUMA nodes 0",
            id="shared",
        ),
        pytest.param(
            0,
            0,
            {"qos": BEST_EFFORT},
            "shared CPUs",
            "shared CPUs 1-6; memory of NUMA nodes 0",
            id="nothing in particular",
        ),
        pytest.param(
            100,
            0,
            {"qos": BURSTABLE, "namespace": "kube-system"},
            "100m of the reserved CPUs",
            "reserved CPUs 0; memory of NUMA nodes 0",
            id="reserved",
        ),
        pytest.param(
            0,
            0,
            {"qos": BEST_EFFORT, "namespace": "kube-system"},
            "reserved CPUs",
            "reserved CPUs 0; memory of NUMA nodes 0",
            id="reserved, nothing in particular",
        ),
        pytest.param(
            250,
            0,
            {"qos": BURSTABLE, "annotations": {f"memory-type.{NS}": "dram"}},
            "250m of shared CPUs; DRAM memory",
            "shared CPUs 1-6; memory of NUMA nodes 0",
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
    assert told == {"socket #0": ("shared_milli", 3000, 4000), "socket #1": ("shared_milli", 1000, 4000)}
    trail = trail_of(node.add("pmem", 100, 3, qos=BURSTABLE, annotations={f"memory-type.{NS}": "pmem"}))
    told = {verdict.pool: (verdict.rule, verdict.own, verdict.other) for verdict in trail.verdicts[1:]}
    assert told["socket #0"] == ("has_memory_kinds", False, True)


def test_a_pool_without_memory_to_promise() -> None:
    node = Node(make_policy("2p.4c mem=4Gi", "cpuset:0"))
    trail = trail_of(node.add("c", 100, 5))
    assert [(verdict.rule, verdict.own, verdict.other) for verdict in trail.verdicts] == [
        ("", 0, 0),
        ("memory_bytes", 4 << 30, 8 << 30),
        ("memory_bytes", 4 << 30, 8 << 30),
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


@pytest.mark.parametrize(
    ("rule", "own", "other", "text"),
    [
        pytest.param(
            Rule.MEMORY, 0, 1, "too little memory for all that the container may use; X has enough", id="memory"
        ),
        pytest.param(Rule.RESERVED_SUFFICE, 0, 1, "too few reserved CPUs; X has enough", id="reserved CPUs"),
        pytest.param(Rule.ISOLATED_SUFFICE, 0, 1, "too few isolated CPUs; X has enough", id="isolated CPUs"),
        pytest.param(Rule.SHARED_SUFFICE, 0, 1, "no shared CPUs to spare; X has some", id="shared CPUs"),
        pytest.param(Rule.AFFINITY, 0.5, 3, "affinity to other containers is 0.5; X has 3", id="affinity"),
        pytest.param(Rule.KINDS, 0, 1, "lacks a requested kind of memory; X has all", id="kinds of memory"),
        pytest.param(Rule.HINTS, 0.81, 1, "nearness to all devices and disks is 0.81; X has 1", id="hints"),
        pytest.param(Rule.SOME_HINTS, 0, 1, "nearness to some devices and disks is 0; X has 1", id="some hints"),
        pytest.param(Rule.DEPTH, 1, 2, "higher in the pool tree than X (depth 1, not 2)", id="depth in the tree"),
        pytest.param(Rule.STAYING, 0, 1, "does not contain the container's current pool; X does", id="a resize"),
        pytest.param(
            Rule.RESERVED_EACH,
            250,
            300,
            "would leave 250m of reserved CPUs per container; X leaves 300m",
            id="reserved",
        ),
        pytest.param(Rule.ISOLATED_LEFT, 1, 2, "would leave 1 isolated CPU; X leaves 2", id="isolated CPUs left"),
        pytest.param(Rule.SHARED_LEFT, 5000, 6000, "would leave 5 shared CPUs; X leaves 6", id="shared CPUs left"),
        pytest.param(
            Rule.SHARED_LEFT, 500, 1500, "would leave 500m of shared CPUs; X leaves 1500m", id="parts of CPUs left"
        ),
        pytest.param(Rule.COLOCATED, 1, 0, "already holds 1 container; X holds 0", id="one container"),
        pytest.param(Rule.COLOCATED, 3, 2, "already holds 3 containers; X holds 2", id="containers"),
        pytest.param(Rule.NUMBER, 2, 1, "tie with X, which comes first", id="the number"),
    ],
)
def test_why_a_pool_lost(rule: Rule, own: float, other: float, text: str) -> None:
    assert text == lost_text(rule, own, other, "X")


@pytest.mark.parametrize("rule", Rule)
def test_every_rule_names_the_winner(rule: Rule) -> None:
    assert "NUMA node #7" in lost_text(rule, 1, 2, "NUMA node #7")


@pytest.mark.parametrize(
    ("lack", "own", "other", "text"),
    [
        pytest.param(Lack.HINTS, 0, 1, "not next to all devices and disks", id="hints"),
        pytest.param(Lack.KINDS, 0, 1, "has no memory of the requested kinds; X has", id="kinds of memory"),
        pytest.param(Lack.EXCLUSIVE, 1, 4, "too few exclusive CPUs: 1; X has 4", id="exclusive CPUs"),
        pytest.param(Lack.SHARED, 500, 4000, "too few shared CPUs: 500m; X has 4", id="shared CPUs"),
        pytest.param(Lack.MEMORY, 1 << 30, 4 << 30, "too little memory: 1Gi; X has 4Gi", id="memory"),
    ],
)
def test_what_a_pool_lacks(lack: Lack, own: int, other: int, text: str) -> None:
    assert text == lack_text(lack, own, other, "X")
