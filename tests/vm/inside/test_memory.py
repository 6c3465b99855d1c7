"""Policy topology-aware on packages with persistent memory beside them: which memory containers get, and really use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.model.cpuset import NodeSet
from crirm.model.topology import MemoryKind
from tests.vm.inside.expect import NAMESPACE, annotation, apart, wait_for
from tests.vm.inside.kernel import memory_by_node
from tests.vm.inside.kubelet import Ask

if TYPE_CHECKING:
    from crirm.model.topology import Topology
    from tests.vm.inside.kubelet import Container
    from tests.vm.inside.node import Node

pytestmark = pytest.mark.servers("far-memory", "movable")

CONFIG = """
policy:
  Active: topology-aware
  ReservedResources:
    CPU: cpuset:0
"""

MIB = 1 << 20
TOUCHED = 8 * MIB
TOUCH = ("sh", "-c", f"dd if=/dev/zero bs={TOUCHED} | sleep 1000000")  # dd fills its buffer and cannot get rid of it
STRAY = TOUCHED // 20  # of the runtime's own start, before the process was in its cgroup


def nodes_of(machine: Topology, kind: MemoryKind) -> NodeSet:
    return NodeSet(node.id for node in machine.nodes if node.kind is kind)


def touched(container: Container) -> dict[int, int]:
    """Wait until a container has touched its memory, and return where it lies."""
    wait_for(lambda: sum(memory_by_node(container.pid).values()) >= TOUCHED)
    return memory_by_node(container.pid)


@pytest.mark.servers("far-memory")
def test_memory_of_the_kind_asked_for_is_used(node: Node, machine: Topology) -> None:
    for number, kind in enumerate((MemoryKind.DRAM, MemoryKind.PMEM)):
        words = annotation("memory-type", kind.value.lower())
        pod = node.kubelet.pod(f"pod{number}", annotations=words)
        container = pod.run("c0", Ask("100m", "64Mi", TOUCH))
        assert container.mems
        assert container.mems <= nodes_of(machine, kind)
        there = touched(container)
        assert sum(size for number, size in there.items() if number not in container.mems) < STRAY


def test_without_a_wish_both_kinds_of_the_package_are_there(node: Node, machine: Topology) -> None:
    (container,) = node.kubelet.guaranteed("pod0", "500m")
    (near,) = [each for each in machine.nodes if not each.cpus.isdisjoint(container.cpus)]
    dram, pmem = (container.mems & nodes_of(machine, kind) for kind in (MemoryKind.DRAM, MemoryKind.PMEM))
    assert NodeSet.of(near.id) == dram
    assert len(pmem) == 1


@pytest.mark.servers("far-memory")
def test_a_cold_start_begins_in_far_memory_and_ends_in_all(node: Node, machine: Topology) -> None:
    words = {**annotation("memory-type", "dram,pmem"), f"cold-start.{NAMESPACE}/pod": "{duration: 20s}"}
    container = node.kubelet.pod("pod0", annotations=words).run("c0", Ask("100m", "64Mi", TOUCH))
    dram = nodes_of(machine, MemoryKind.DRAM)
    assert container.mems <= nodes_of(machine, MemoryKind.PMEM)
    there = touched(container)
    wait_for(lambda: not container.mems.isdisjoint(dram))
    assert sum(size for number, size in there.items() if number in dram) < STRAY


@pytest.mark.thorough
@pytest.mark.servers("far-memory")
def test_memory_that_is_promised_twice_is_looked_for_further_away(node: Node) -> None:
    """Three packages are full of containers, the fourth has no CPU for one; so the next may use the whole machine."""
    small = node.kubelet.guaranteed("pod0", "100m", "100m", "100m", memory="1536Mi")
    before = [each.mems for each in small]
    assert [len(each) for each in before] == [2, 2, 2]
    assert apart(before)
    pod = node.kubelet.pod("pod1")
    large = pod.run("c0", Ask("100m", "1536Mi"))
    assert len(large.mems) == 8
    wait_for(lambda: all(each.mems == large.mems for each in small))
    pod.remove()
    wait_for(lambda: [each.mems for each in small] == before)
