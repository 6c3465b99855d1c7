from __future__ import annotations

from fractions import Fraction

import pytest

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.workload import TopologyHint
from crirm.policy.topology_aware.hints import combined, hint_scores
from crirm.policy.topology_aware.options import TopologyAwareOptions
from tests.unit.policy.topology_aware.support import NS, Node, make_policy, trail_of

# 16 CPUs: package 0 has 0-7, its dies 0-3 and 4-7, its NUMA nodes 0-1, 2-3, 4-5 and 6-7.
HOST = "2p.2d.2n.1c.2t threads=adjacent pmem=8Gi@1"


def hint(cpus: str = "", nodes: str = "", packages: frozenset[int] = frozenset()) -> TopologyHint:
    return TopologyHint("/sys/devices/x", CPUSet.parse(cpus), NodeSet.parse(nodes), packages)


@pytest.mark.parametrize(
    ("told", "numa", "die", "socket", "root"),
    [
        pytest.param(hint(cpus="2-3"), "1", "1", "1", "1", id="all CPUs are in the node"),
        pytest.param(hint(cpus="0-3"), "1/2", "1", "1", "1", id="half of the CPUs are in the node, all in the die"),
        pytest.param(hint(cpus="0-7"), "1/4", "1/2", "1", "1", id="half of the CPUs are in the die"),
        pytest.param(hint(cpus="8-11"), "0", "0", "0", "1", id="CPUs of the other package"),
        pytest.param(hint(nodes="1"), "1", "9/10", "9/10", "81/100", id="the node"),
        pytest.param(hint(nodes="1,6"), "1", "9/10", "9/10", "81/100", id="one of the nodes"),
        pytest.param(hint(nodes="0"), "0", "9/10", "9/10", "81/100", id="the other node of the die"),
        pytest.param(hint(nodes="2"), "0", "0", "9/10", "81/100", id="a node of the other die"),
        pytest.param(hint(nodes="8"), "1", "9/10", "9/10", "81/100", id="the node without CPUs that goes with it"),
        pytest.param(hint(packages=frozenset({0})), "1/4", "1/2", "1", "9/10", id="the package"),
        pytest.param(hint(packages=frozenset({1})), "0", "0", "0", "9/10", id="the other package"),
        pytest.param(hint("2", "6", frozenset({1})), "1", "1", "1", "1", id="CPUs before nodes and packages"),
        pytest.param(hint("", "1", frozenset({1})), "1", "9/10", "9/10", "81/100", id="nodes before packages"),
        pytest.param(hint(nodes="99"), "0", "0", "0", "0", id="a node that the machine does not have"),
        pytest.param(hint(), "0", "0", "0", "0", id="a hint that tells nothing"),
    ],
)
def test_score(told: TopologyHint, numa: str, die: str, socket: str, root: str) -> None:
    machine = make_policy(HOST).machine
    pools = {pool.name: pool for pool in machine.pools}
    names = ("NUMA node #1", "die #0/0", "socket #0", "root")
    scores = [hint_scores([told], pools[name], machine.pools, machine.topology)[0] for name in names]
    assert scores == [Fraction(numa), Fraction(die), Fraction(socket), Fraction(root)]


@pytest.mark.parametrize(
    ("told", "score"),
    [
        pytest.param(hint(cpus="0-3"), "1", id="CPUs of the whole node"),
        pytest.param(hint(cpus="0"), "1", id="a CPU of the cache"),
        pytest.param(hint(cpus="0-1,4"), "2/3", id="CPUs of the cache, and of another"),
        pytest.param(hint(cpus="2-3"), "0", id="CPUs of the other cache"),
        pytest.param(hint(nodes="0"), "1", id="the node"),
        pytest.param(hint(nodes="1"), "0", id="the other node"),
        pytest.param(hint(packages=frozenset({0})), "1/2", id="the package of two nodes"),
    ],
)
def test_a_cache_is_as_near_as_the_pool_above_it(told: TopologyHint, score: str) -> None:
    """Its CPUs are 0-1, those of its node 0-3."""
    machine = make_policy("1p.2n.2l.2c", options=TopologyAwareOptions(cache_pools=True)).machine
    pool = machine.pools[0]
    assert pool.name == "L3 cache #0"
    assert hint_scores([told], pool, machine.pools, machine.topology) == [Fraction(score)]


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        pytest.param(["1/2", "9/10"], ("9/20", "9/20"), id="products"),
        pytest.param(["0", "9/10", "1/2"], ("0", "9/20"), id="without what is nowhere near"),
        pytest.param(["0", "0"], ("0", "0"), id="nothing is near"),
    ],
)
def test_combined(scores: list[str], expected: tuple[str, str]) -> None:
    assert (Fraction(expected[0]), Fraction(expected[1])) == combined([Fraction(score) for score in scores])


STRICT = {f"topologyhints.{NS}": "strict"}
NEAR = {
    "cpus": TopologyHint("/sys/disk", cpus=CPUSet.parse("4-7")),
    "nodes": TopologyHint("/sys/disk", nodes=NodeSet.of(1)),
    "package": TopologyHint("/sys/card", packages=frozenset({0})),
    "anywhere": TopologyHint("/sys/ram", cpus=CPUSet.parse("0-15")),
    "nothing known": TopologyHint("/sys/odd"),
}


def boot() -> Node:
    """Two packages with two nodes of four CPUs each."""
    return Node(make_policy("2p.2n.4c", "cpuset:0"))


@pytest.mark.parametrize("hint", ["cpus", "nodes"])
def test_strict_hints_leave_only_the_pools_next_to_them(hint: str) -> None:
    node = boot()
    for name in ("a", "b", "c", "d"):
        node.add(name, 1000, annotations=STRICT, hints=(NEAR[hint], NEAR["package"], NEAR["anywhere"]))
        assert node.pool(name) == "NUMA node #1"
    with pytest.raises(RefusedError) as refused:
        node.add("e", 1000, annotations=STRICT, hints=(NEAR[hint],))
    assert refused.value.code is RefusalCode.TOO_FEW_EXCLUSIVE_CPUS
    assert "next to its devices and disks (topologyhints: strict), but no pool has enough" in str(refused.value)
    node.add("f", 1000, hints=(NEAR[hint],))
    assert node.pool("f") != "NUMA node #1"


def test_strict_hints_that_no_pool_meets_are_named() -> None:
    node = boot()
    elsewhere = TopologyHint("/sys/other", nodes=NodeSet.of(2))
    with pytest.raises(RefusedError, match="next to all of them: /sys/disk, /sys/other") as refused:
        node.add("a", 1000, annotations=STRICT, hints=(NEAR["cpus"], elsewhere))
    assert refused.value.code is RefusalCode.NOT_NEAR_DEVICES


def test_the_trail_tells_which_pools_were_not_near() -> None:
    trail = trail_of(boot().add("a", 1000, annotations=STRICT, hints=(NEAR["cpus"],)))
    lost = {one.pool: (one.rule, one.own, one.other) for one in trail.verdicts if one.lost_to}
    assert lost["NUMA node #0"] == ("near_all_devices", False, True)
    assert len(lost) == 6


def test_strict_hints_ask_nothing_where_nothing_is_known_and_of_reserved_cpus() -> None:
    node = boot()
    node.add("a", 1000, annotations=STRICT, hints=(NEAR["nothing known"],))
    trail = trail_of(node.add("b", 100, annotations=STRICT, hints=(NEAR["cpus"],), namespace="kube-system"))
    assert "topologyhints: strict is ignored for reserved CPUs and kube-system" in trail.notes
