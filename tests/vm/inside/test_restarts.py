"""What the kernel enforces does not change because crirm or containerd starts anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.model.cpuset import CPUSet
from tests.vm.inside.expect import wait_for

if TYPE_CHECKING:
    from crirm.launcher.containerd import Containerd
    from tests.trio_thread import TrioThread
    from tests.vm.inside.kubelet import Container
    from tests.vm.inside.node import Node

pytestmark = pytest.mark.servers("two-sockets")

CONFIG = """
policy:
  Active: topology-aware
  ReservedResources:
    CPU: cpuset:0
"""


def enforced(containers: list[Container]) -> dict[str, CPUSet]:
    return {each.id: each.cpus for each in containers}


@pytest.mark.thorough
def test_crirm_starts_anew(node: Node) -> None:
    containers = [*node.kubelet.burstable("pod0", "100m", "100m"), *node.kubelet.guaranteed("pod1", "2", "1")]
    before = enforced(containers)
    for end in (node.stop, node.kill):
        end()
        assert enforced(containers) == before
        node.start()
        assert enforced(containers) == before
        assert {key: str(cpus) for key, cpus in before.items()} == node.told()
    (another,) = node.kubelet.guaranteed("pod2", "2")
    assert len(another.cpus) == 2
    assert another.cpus.isdisjoint(before[containers[2].id] | before[containers[3].id])


@pytest.mark.thorough
def test_containerd_starts_anew(containerd: Containerd, trio_thread: TrioThread, node: Node) -> None:
    shared = node.kubelet.burstable("pod0", "100m", "100m", "100m", "100m")
    (exclusive,) = node.kubelet.guaranteed("pod1", "2")
    wait_for(lambda: CPUSet.union(each.cpus for each in shared).isdisjoint(exclusive.cpus))
    free = CPUSet.union(each.cpus for each in shared) | exclusive.cpus
    before = enforced([*shared, exclusive])
    trio_thread.run(containerd.restart)
    assert enforced([*shared, exclusive]) == before
    wait_for(lambda: set(node.told()) == set(before))
    exclusive.remove()
    wait_for(lambda: CPUSet.union(each.cpus for each in shared) == free)
