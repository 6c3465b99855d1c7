from __future__ import annotations

from fractions import Fraction

import pytest

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.workload import TopologyHint
from crirm.policy.topology_aware.hints import combined, hint_scores
from tests.unit.policy.topology_aware.support import make_policy

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
    ("scores", "expected"),
    [
        pytest.param(["1/2", "9/10"], ("9/20", "9/20"), id="products"),
        pytest.param(["0", "9/10", "1/2"], ("0", "9/20"), id="without what is nowhere near"),
        pytest.param(["0", "0"], ("0", "0"), id="nothing is near"),
    ],
)
def test_combined(scores: list[str], expected: tuple[str, str]) -> None:
    assert (Fraction(expected[0]), Fraction(expected[1])) == combined([Fraction(score) for score in scores])
