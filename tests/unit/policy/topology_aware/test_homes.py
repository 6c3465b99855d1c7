"""Memory belongs with the CPUs of a container, as far as there is room."""

from __future__ import annotations

import json

import pytest

from crirm.model.workload import ContainerKey
from tests.unit.policy.topology_aware.invariants import check
from tests.unit.policy.topology_aware.support import NS, Node, make_policy, trail_of

HOST = "2p.2n.4c mem=4Gi"  # four NUMA nodes of four CPUs: 0-3, 4-7, 8-11, 12-15


def boot(host: str = HOST) -> Node:
    return Node(make_policy(host, "cpuset:0"))


@pytest.mark.parametrize(
    ("cpu", "memory", "cpus", "mems"),
    [
        pytest.param(2000, 1, "4-5", "1", id="of one node"),
        pytest.param(4000, 4, "4-7", "1", id="all of one node"),
        pytest.param(6000, 1, "8-13", "2-3", id="of two nodes of a package"),
        pytest.param(11000, 1, "1-11", "0-2", id="of three nodes, though its pool is the whole machine"),
        pytest.param(2000, 6, "8-9", "2-3", id="of one node that has too little memory"),
    ],
)
def test_memory_is_of_the_nodes_of_exclusive_cpus(cpu: int, memory: float, cpus: str, mems: str) -> None:
    node = boot()
    node.add("c", cpu, memory)
    assert (node.cpus("c"), node.mems("c")) == (cpus, mems)


def test_who_shares_cpus_belongs_to_its_pool() -> None:
    node = boot()
    node.add("mixed", 5500, 1, annotations={f"prefer-shared-cpus.{NS}": "false"})
    assert (node.pool("mixed"), node.mems("mixed")) == ("socket #1", "2-3")


def test_requested_kinds_come_before_nearness() -> None:
    node = boot("2p.4c mem=8Gi hbm=2Gi@0 pmem=32Gi@1")
    node.add("mixed", 2000, 1, annotations={f"memory-type.{NS}": "mixed"})
    node.add("dram", 2000, 1, annotations={f"memory-type.{NS}": "dram"})
    assert (node.mems("mixed"), node.mems("dram")) == ("0-3", "1")


def crowded() -> Node:
    """Return a node on which *it* could use more memory than the node of its CPUs has left."""
    node = boot("1p.2n.4c mem=4Gi")
    node.add("beside", 2000, 3)
    node.add("it", 2000, 3)
    node.add("more", 1000, 2)
    return node


def test_what_was_lifted_is_told_and_comes_down_when_there_is_room() -> None:
    node = crowded()
    assert (node.pool("more"), node.cpus("more"), node.mems("more")) == ("socket #0", "3", "0-1")
    node.remove("more")
    placement = node.add("more", 1000, 2)
    assert trail_of(placement).notes == (
        "NUMA nodes 0 of its CPUs have too little memory to guarantee its limit, so it may use NUMA nodes 0-1",
    )
    moves = node.remove("it").moves
    assert [(move.key, move.what, move.before, move.after, move.why) for move in moves] == [
        ("beside", "memory nodes", "0-1", "1", "default/pod-it/it no longer needs the memory of NUMA nodes 1"),
        ("more", "memory nodes", "0-1", "0", "default/pod-it/it no longer needs the memory of NUMA nodes 0"),
    ]
    check(node.policy, node.state)


def test_what_an_older_version_saved_stays_where_it_was() -> None:
    node = boot()
    node.add("c", 2000, 6)  # its pool has two nodes, its CPUs are of one
    saved = json.loads(json.dumps(node.policy.save(node.state)))
    for pool, rest in saved.values():
        assert pool == "socket #1"
        del rest["held"]
    restored = node.policy.restore(saved, node.workload)
    assert str(restored.adjustments[ContainerKey("c")].mems) == "2-3"
    again = json.loads(json.dumps(node.policy.save(restored.state)))
    assert node.policy.restore(again, node.workload).state == restored.state, "over one more restart, too"


def test_what_an_older_version_saved_comes_down_with_the_next_release() -> None:
    node = boot()
    node.add("c", 2000, 1)
    node.add("x", 1000, 1)
    saved = json.loads(json.dumps(node.policy.save(node.state)))
    (_, rest), there = saved["c"], node.mems("c")
    saved["c"] = [f"socket #{int(there) // 2}", rest]
    del rest["held"]
    node.state = node.policy.restore(saved, node.workload).state
    assert node.state.held == {"c"}
    assert {(move.key, move.after) for move in node.remove("x").moves} == {("c", there)}
    assert not node.state.held
