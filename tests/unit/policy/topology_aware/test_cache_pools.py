"""Containers in the pools of L3 caches."""

from __future__ import annotations

import json

import pytest

from crirm.model.cpuset import NodeSet
from crirm.model.qos import QoSClass
from crirm.model.workload import ContainerKey, TopologyHint
from crirm.policy.topology_aware.options import TopologyAwareOptions
from tests.unit.policy.topology_aware.support import NS, Node, make_policy, trail_of

HOST = "1p.2n.2l.4c mem=4Gi"
"""Caches have CPUs 0-3, 4-7 (node 0), 8-11 and 12-15 (node 1); tests reserve CPU 0."""


def make_node(*, caches: bool = True) -> Node:
    return Node(make_policy(HOST, "cpuset:0", TopologyAwareOptions(cache_pools=caches)))


@pytest.mark.parametrize(
    ("cpu", "qos", "pool", "cpus"),
    [
        pytest.param(3000, QoSClass.GUARANTEED, "L3 cache #1", "4-6", id="exclusive CPUs of one cache"),
        pytest.param(2000, QoSClass.BURSTABLE, "L3 cache #1", "4-7", id="shared CPUs of one cache"),
        pytest.param(4000, QoSClass.GUARANTEED, "L3 cache #1", "4-7", id="all of a cache"),
        pytest.param(5000, QoSClass.GUARANTEED, "NUMA node #1", "8-12", id="too large for a cache"),
        pytest.param(9000, QoSClass.GUARANTEED, "socket #0", "1,8-15", id="too large for a node"),
    ],
)
def test_a_container_is_in_the_smallest_pool_that_holds_it(cpu: int, qos: QoSClass, pool: str, cpus: str) -> None:
    placement = make_node().add("a", cpu, 0.1, qos=qos)
    assert (trail_of(placement).chosen, str(placement.changed[ContainerKey("a")].cpus)) == (pool, cpus)


def test_memory_is_that_of_the_node() -> None:
    node = make_node()
    placement = node.add("a", 1000, 1)
    assert trail_of(placement).chosen == "L3 cache #1"
    assert placement.changed[ContainerKey("a")].mems == NodeSet.of(0)
    assert node.add("b", 1000, 3.5).changed[ContainerKey("b")].mems == NodeSet.of(1)


def test_caches_fill_one_after_the_other_where_devices_are_near() -> None:
    node, hints = make_node(), (TopologyHint("/sys/gpu", nodes=NodeSet.of(1)),)
    strict = {f"topologyhints.{NS}": "strict"}
    chosen = [trail_of(node.add(f"c{n}", 3000, hints=hints, annotations=strict)).chosen for n in range(2)]
    assert chosen == ["L3 cache #2", "L3 cache #3"]


def test_grants_in_pools_that_are_switched_off_are_dropped() -> None:
    node = make_node()
    node.add("a", 3000)
    saved = json.loads(json.dumps(node.policy.save(node.state)))
    assert node.policy.restore(saved, node.workload).state == node.state
    assert make_node(caches=False).policy.restore(saved, node.workload).dropped == {
        "a": "pool L3 cache #1 no longer exists"
    }
