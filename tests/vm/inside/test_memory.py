"""Policy topology-aware on packages with persistent memory beside them: which memory containers get, and really use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.model.cpuset import NodeSet
from crirm.model.topology import MemoryKind
from tests.vm.inside.expect import NAMESPACE, annotation, wait_for
from tests.vm.inside.kernel import memory_by_node
from tests.vm.inside.kubelet import Ask

if TYPE_CHECKING:
    from crirm.model.topology import Topology
    from tests.vm.inside.node import Node

pytestmark = pytest.mark.servers("far-memory", "movable")

CONFIG = """
policy:
  Active: topology-aware
  ReservedResources:
    CPU: cpuset:0
"""

MIB = 1 << 20
TOUCHED_MIB = 8
# A shell that holds so many bytes in a variable.
TOUCH = (
    "sh",
    "-c",
    f"x=$(head -c {TOUCHED_MIB * MIB} /dev/zero | tr '\\0' x); echo ${{#x}} >/ready; while :; do sleep 1000; done",
)


def nodes_of(machine: Topology, kind: MemoryKind) -> NodeSet:
    return NodeSet(node.id for node in machine.nodes if node.kind is kind)


@pytest.mark.servers("far-memory")
def test_memory_of_the_kind_asked_for_is_used(node: Node, machine: Topology) -> None:
    for number, kind in enumerate((MemoryKind.DRAM, MemoryKind.PMEM)):
        words = annotation("memory-type", kind.value.lower())
        pod = node.kubelet.pod(f"pod{number}", annotations=words)
        container = pod.run("c0", Ask("100m", "64Mi", TOUCH))
        assert container.mems
        assert container.mems <= nodes_of(machine, kind)
        wait_for(lambda pid=container.pid: sum(memory_by_node(pid).values()) >= TOUCHED_MIB * MIB)  # type: ignore[misc]
        assert NodeSet(memory_by_node(container.pid)) <= container.mems


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
    assert container.mems <= nodes_of(machine, MemoryKind.PMEM)
    wait_for(lambda: not container.mems.isdisjoint(nodes_of(machine, MemoryKind.DRAM)))
    wait_for(lambda: sum(memory_by_node(container.pid).values()) >= TOUCHED_MIB * MIB)
    assert NodeSet(memory_by_node(container.pid)) & nodes_of(machine, MemoryKind.PMEM)


@pytest.mark.servers("far-memory")
def test_memory_that_is_promised_twice_is_looked_for_further_away(node: Node) -> None:
    """Containers that fill a package's memory keep it; one that needs the whole machine's widens theirs."""
    small = node.kubelet.guaranteed("pod0", "100m", "100m", "100m", "100m", memory="1536Mi")
    before = [len(each.mems) for each in small]
    (large,) = node.kubelet.guaranteed("pod1", "100m", memory="2Gi")
    assert len(large.mems) > max(before)
    wait_for(lambda: sum(len(each.mems) for each in small) > sum(before))
