"""Policy topology-aware on two packages of two NUMA nodes: who gets which CPUs, alone or shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.model.cpuset import CPUSet
from crirm.model.qos import QoSClass
from tests.vm.inside.expect import annotation, apart, homes, packages, wait_for, wait_for_cpus
from tests.vm.inside.kernel import effective_cpus
from tests.vm.inside.kubelet import Ask

if TYPE_CHECKING:
    from crirm.model.topology import Topology
    from tests.vm.inside.node import Node

pytestmark = pytest.mark.servers("two-sockets")

CONFIG = """
policy:
  Active: topology-aware
  ReservedResources:
    CPU: cpuset:0
"""


def test_exclusive_containers_spread_over_the_numa_nodes(node: Node, machine: Topology) -> None:
    containers = node.kubelet.guaranteed("pod0", "1", "1", "1", "1")
    assert [len(each.cpus) for each in containers] == [1, 1, 1, 1]
    assert apart([each.cpus for each in containers])
    assert apart([homes(machine, each.cpus) for each in containers])
    assert [homes(machine, each.cpus) for each in containers] == [each.mems for each in containers]


@pytest.mark.thorough
def test_shared_containers_spread_over_the_numa_nodes(node: Node, machine: Topology) -> None:
    containers = node.kubelet.burstable("pod0", "500m", "500m", "500m", "500m")
    nodes = [homes(machine, each.cpus) for each in containers]
    assert [len(each) for each in nodes] == [1, 1, 1, 1]
    assert apart(nodes)
    assert CPUSet.union(each.cpus for each in containers) == machine.online - CPUSet.of(0)


@pytest.mark.parametrize(
    ("cpus", "nodes", "sockets"),
    [
        pytest.param(2, 1, 1, marks=pytest.mark.thorough, id="two CPUs come from one NUMA node"),
        pytest.param(3, 1, 1, marks=pytest.mark.thorough, id="three come from one NUMA node"),
        pytest.param(4, 1, 1, marks=pytest.mark.thorough, id="four are all of a NUMA node, on which nobody shares"),
        pytest.param(7, 2, 1, marks=pytest.mark.thorough, id="seven come from a package"),
        pytest.param(9, 3, 2, id="nine come from as few NUMA nodes as possible"),
    ],
)
def test_a_container_gets_the_smallest_part_that_holds_it(
    node: Node, machine: Topology, cpus: int, nodes: int, sockets: int
) -> None:
    (container,) = node.kubelet.guaranteed("pod0", str(cpus))
    assert cpus == len(container.cpus)
    assert 0 not in container.cpus
    assert sockets == packages(machine, container.cpus)
    assert nodes == len(container.mems)


@pytest.mark.thorough
def test_two_cpus_are_the_threads_of_one_core(node: Node, machine: Topology) -> None:
    (container,) = node.kubelet.guaranteed("pod0", "2")
    assert container.cpus in machine.cores


def test_the_shared_set_shrinks_and_grows(node: Node) -> None:
    shared = node.kubelet.burstable("pod0", "100m", "100m", "100m", "100m")
    before = [each.cpus for each in shared]
    pod = node.kubelet.pod("pod1")
    exclusive = [pod.run(f"c{index}", Ask("2", "32Mi")) for index in range(2)]
    taken = CPUSet.union(each.cpus for each in exclusive)
    assert len(taken) == 4
    for each, had in zip(shared, before, strict=True):
        now = wait_for_cpus(each, lambda cpus: cpus.isdisjoint(taken))
        assert now == had - taken == effective_cpus(each.pid)
    exclusive[0].remove()
    pod.remove()
    wait_for(lambda: [each.cpus for each in shared] == before)


@pytest.mark.parametrize(
    ("cpu", "words", "exclusive"),
    [
        pytest.param("1500m", {}, 1, id="one and a half: one alone, the rest shared"),
        pytest.param("2500m", {}, 0, marks=pytest.mark.thorough, id="two and a half: all shared"),
        pytest.param(
            "2500m",
            annotation("prefer-shared-cpus", "false"),
            2,
            marks=pytest.mark.thorough,
            id="two and a half, opted out of sharing",
        ),
        pytest.param(
            "2", annotation("prefer-shared-cpus", "true"), 0, marks=pytest.mark.thorough, id="two, opted in to sharing"
        ),
        pytest.param("500m", {}, 0, marks=pytest.mark.thorough, id="half: shared"),
    ],
)
def test_parts_of_cpus_are_shared(
    node: Node, machine: Topology, cpu: str, words: dict[str, str], exclusive: int
) -> None:
    others = node.kubelet.burstable("pod0", "100m", "100m", "100m", "100m")
    (container,) = node.kubelet.guaranteed("pod1", cpu, annotations=words)
    wait_for(lambda: len(machine.online - CPUSet.of(0) - CPUSet.union(each.cpus for each in others)) == exclusive)
    shared = CPUSet.union(each.cpus for each in others)
    assert exclusive == len(container.cpus - shared)
    assert container.cpus & shared


@pytest.mark.thorough
def test_what_does_not_fit_is_refused_and_changes_nothing(node: Node) -> None:
    (shared,) = node.kubelet.burstable("pod0", "100m")
    had = shared.cpus
    reply = node.kubelet.pod("pod1", QoSClass.GUARANTEED).create("c0", Ask("16", "32Mi"))
    assert reply.code != 0
    assert "16" in reply.text
    assert had == shared.cpus
    assert list(node.told()) == [shared.id]
