"""Policy topology-aware on packages of two dies of two NUMA nodes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.inside.expect import dies, packages

if TYPE_CHECKING:
    from crirm.model.topology import Topology
    from tests.vm.inside.node import Node

pytestmark = pytest.mark.servers("dies")

CONFIG = """
policy:
  Active: topology-aware
  ReservedResources:
    CPU: cpuset:0
"""


@pytest.mark.parametrize(
    ("cpus", "nodes", "chips", "sockets"),
    [
        pytest.param(3, 1, 1, 1, id="three CPUs come from one NUMA node"),
        pytest.param(5, 2, 1, 1, id="five from one die"),
        pytest.param(9, 4, 2, 1, id="nine from one package"),
        pytest.param(17, 8, 4, 2, id="seventeen from the whole machine"),
    ],
)
def test_a_container_gets_the_smallest_part_that_holds_it(
    node: Node, machine: Topology, cpus: int, nodes: int, chips: int, sockets: int
) -> None:
    (container,) = node.kubelet.guaranteed("pod0", str(cpus))
    assert cpus == len(container.cpus)
    assert nodes == len(container.mems)
    assert chips >= dies(machine, container.cpus)
    assert sockets == packages(machine, container.cpus)
