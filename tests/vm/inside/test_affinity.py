"""Policy topology-aware: containers that want to be together, or apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.inside.expect import NAMESPACE, apart, homes
from tests.vm.inside.kubelet import Ask

if TYPE_CHECKING:
    from crirm.model.topology import Topology
    from tests.vm.inside.node import Node

pytestmark = [pytest.mark.servers("two-sockets"), pytest.mark.thorough]

CONFIG = """
policy:
  Active: topology-aware
  ReservedResources:
    CPU: cpuset:0
"""


def test_containers_with_affinity_share_a_numa_node(node: Node, machine: Topology) -> None:
    """Without it, they would spread."""
    words = {f"{NAMESPACE}/affinity": "c1: [c0]\nc3: [c2]"}
    pod = node.kubelet.pod("pod0", annotations=words)
    first, second, third, fourth = (pod.run(f"c{index}", Ask("500m", "32Mi")) for index in range(4))
    assert homes(machine, first.cpus) == homes(machine, second.cpus)
    assert homes(machine, third.cpus) == homes(machine, fourth.cpus)


def test_containers_with_anti_affinity_are_on_different_nodes(node: Node, machine: Topology) -> None:
    words = {f"{NAMESPACE}/anti-affinity": "c1: [c0]\nc2: [c0, c1]\nc3: [c0, c1, c2]"}
    pod = node.kubelet.pod("pod0", annotations=words)
    containers = [pod.run(f"c{index}", Ask("100m", "32Mi")) for index in range(4)]
    assert apart([homes(machine, each.cpus) for each in containers])
