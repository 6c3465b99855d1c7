"""Policy static on one package: whole CPUs of Guaranteed containers are theirs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.vm.inside.expect import wait_for
from tests.vm.inside.kernel import effective_cpus

if TYPE_CHECKING:
    from crirm.model.topology import Topology
    from tests.vm.inside.node import Node

pytestmark = pytest.mark.servers("one-socket")

CONFIG = """
policy:
  Active: static
  ReservedResources:
    CPU: cpuset:0
"""


def test_whole_cpus_are_taken_from_all_others_and_given_back(node: Node, machine: Topology) -> None:
    shared, part = *node.kubelet.burstable("pod0", "100m"), *node.kubelet.guaranteed("pod1", "1500m")
    assert shared.cpus == part.cpus == machine.online
    core, more = node.kubelet.guaranteed("pod2", "2", "3")
    taken = core.cpus | more.cpus
    assert core.cpus in machine.cores
    assert len(taken) == 5
    assert 0 not in taken
    wait_for(lambda: shared.cpus == part.cpus == machine.online - taken)
    assert effective_cpus(shared.pid) == machine.online - taken
    core.remove()
    more.remove()
    wait_for(lambda: shared.cpus == part.cpus == machine.online)
