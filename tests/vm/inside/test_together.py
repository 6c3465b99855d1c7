"""Policy topology-aware: a container that was spread for want of room comes together, and takes its memory along."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from tests.vm.inside.expect import annotation, homes, wait_for
from tests.vm.inside.kernel import memory_by_node
from tests.vm.inside.kubelet import Ask

if TYPE_CHECKING:
    from crirm.model.cpuset import CPUSet, NodeSet
    from crirm.model.topology import Topology
    from tests.vm.inside.kubelet import Container
    from tests.vm.inside.node import Node

pytestmark = pytest.mark.servers("two-sockets")

CONFIG = """
policy:
  Active: topology-aware
  ReservedResources:
    CPU: cpuset:0
"""

TOUCHED = 8 << 20
TOUCH = f"""
for cpu in $(seq 0 15); do
  taskset $(printf %x $((1 << cpu))) dd if=/dev/zero bs={TOUCHED} | sleep 1000000 &
done 2>/dev/null
wait
"""
"""Touches memory on each of the CPUs that a container has; ``taskset`` fails on all others."""
STRAY = TOUCHED // 20  # of the runtime's own start, before the process was in its cgroup
FULL = ("3", "3", "3", "2")  # of 3, 4, 4 and 4 CPUs: one is left in each NUMA node


@attrs.frozen
class Place:
    """Where a container is and has its memory, as the kernel says; bytes by NUMA node, those of its start left out."""

    cpus: CPUSet
    mems: NodeSet
    memory: dict[int, int]

    @staticmethod
    def of(container: Container) -> Place:
        memory = {node: size for node, size in memory_by_node(container.pid).items() if size > STRAY}
        return Place(container.cpus, container.mems, memory)


def run_spread(node: Node, name: str, words: dict[str, str]) -> Container:
    """Run a container that has one CPU on each of two NUMA nodes, and has touched memory on both."""
    container = node.kubelet.pod(name, annotations=words).run("c0", Ask("2", "64Mi", ("sh", "-c", TOUCH)))
    wait_for(lambda: sum(size >= TOUCHED for size in Place.of(container).memory.values()) == 2)
    return container


def test_a_spread_container_comes_together_with_its_pages_and_one_that_keeps_all_stays(
    node: Node, machine: Topology
) -> None:
    fillers = [node.kubelet.guaranteed(f"full{index}", cpus)[0] for index, cpus in enumerate(FULL)]
    moving = run_spread(node, "moving", {})
    staying = run_spread(node, "staying", annotation("keep", "all"))
    before, kept = Place.of(moving), Place.of(staying)
    for place in (before, kept):
        assert homes(machine, place.cpus) == place.mems
        assert place.memory.keys() == set(place.mems)

    goes = next(each for each in fillers if homes(machine, each.cpus) <= kept.mems)  # the stayer could move there, too
    room = homes(machine, goes.cpus)
    goes.remove()

    wait_for(lambda: homes(machine, moving.cpus) == room)
    wait_for(lambda: moving.mems == room)
    wait_for(lambda: Place.of(moving).memory.keys() == set(room))
    assert sum(Place.of(moving).memory.values()) >= 2 * TOUCHED, "both pieces have come along"
    now = Place.of(staying)
    assert (now.cpus, now.mems, now.memory.keys()) == (kept.cpus, kept.mems, kept.memory.keys())
    assert all(size >= TOUCHED for size in now.memory.values()), "nothing that it has touched has left"
