"""Policy topology-aware: what is for the system stays on the reserved CPUs, and nobody else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.model.cpuset import CPUSet
from tests.vm.inside.expect import annotation, homes

if TYPE_CHECKING:
    from crirm.model.topology import Topology
    from tests.vm.inside.node import Node

pytestmark = pytest.mark.servers("two-sockets")

CONFIG = """
policy:
  Active: topology-aware
  AvailableResources:
    CPU: cpuset:0-3,8-15
  ReservedResources:
    CPU: cpuset:0-1
  topology-aware:
    ReservedPoolNamespaces: ["kube-system", "monitor*"]
"""

RESERVED = CPUSet.of(0, 1)


@pytest.mark.parametrize(
    ("namespace", "words"),
    [
        pytest.param("kube-system", {}, id="kube-system"),
        pytest.param(
            "monitoring", {}, marks=pytest.mark.thorough, id="a namespace that a pattern of the configuration fits"
        ),
        pytest.param(
            "default",
            annotation("prefer-reserved-cpus", "true"),
            marks=pytest.mark.thorough,
            id="a pod that asks for it",
        ),
    ],
)
def test_what_belongs_on_reserved_cpus_is_there(node: Node, namespace: str, words: dict[str, str]) -> None:
    (container,) = node.kubelet.burstable("pod0", "100m", namespace=namespace, annotations=words)
    assert container.cpus == RESERVED


@pytest.mark.thorough
def test_a_pod_of_a_reserved_namespace_may_opt_out(node: Node) -> None:
    words = annotation("prefer-reserved-cpus", "false")
    (container,) = node.kubelet.burstable("pod0", "100m", namespace="monitoring", annotations=words)
    assert container.cpus.isdisjoint(RESERVED)


def test_nothing_else_is_on_reserved_or_unavailable_cpus(node: Node, machine: Topology) -> None:
    containers = [*node.kubelet.burstable("pod0", "100m", "100m"), *node.kubelet.guaranteed("pod1", "2")]
    for container in containers:
        assert container.cpus
        assert container.cpus <= CPUSet.parse("2-3,8-15")
        assert not homes(machine, container.cpus) & homes(machine, CPUSet.parse("4-7"))
