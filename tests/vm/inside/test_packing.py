"""Policy topology-aware where containers of a pod, or of a namespace, attract each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.model.cpuset import NodeSet
from tests.vm.inside.expect import apart, homes

if TYPE_CHECKING:
    from crirm.model.topology import Topology
    from tests.vm.inside.kubelet import Container
    from tests.vm.inside.node import Node

pytestmark = [pytest.mark.servers("two-sockets"), pytest.mark.thorough]

CONFIG = """
policy:
  Active: topology-aware
  ReservedResources:
    CPU: cpuset:0
  topology-aware:
    ColocatePods: true
    ColocateNamespaces: true
"""


def homes_of(machine: Topology, containers: list[Container]) -> NodeSet:
    return NodeSet(node for each in containers for node in homes(machine, each.cpus))


def test_containers_of_a_pod_are_on_one_numa_node(node: Node, machine: Topology) -> None:
    containers = node.kubelet.burstable("pod0", "500m", "500m", "500m", "500m")
    assert len(homes_of(machine, containers)) == 1


def test_pods_of_a_namespace_are_on_one_numa_node_and_those_of_others_elsewhere(node: Node, machine: Topology) -> None:
    pods = {
        name: node.kubelet.burstable(name, "200m", "200m", namespace=namespace)
        for name, namespace in (("pod0", "red"), ("pod1", "blue"), ("pod2", "red"), ("pod3", "blue"))
    }
    red, blue = (homes_of(machine, [*pods[one], *pods[other]]) for one, other in (("pod0", "pod2"), ("pod1", "pod3")))
    assert len(red) == len(blue) == 1
    assert apart([red, blue])
