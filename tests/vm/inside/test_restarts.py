"""What the kernel enforces does not change because crirm or containerd starts anew."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crirm.model.cpuset import CPUSet
from tests.vm.inside.expect import wait_for
from tests.vm.inside.node import open_node

if TYPE_CHECKING:
    from crirm.sim.containerd import Containerd
    from tests.trio_thread import TrioThread
    from tests.vm.inside.kubelet import Container
    from tests.vm.inside.node import Node
    from tests.vm.servers import Server

pytestmark = pytest.mark.servers("two-sockets", "systemd")

CONFIG = """
policy:
  Active: topology-aware
  ReservedResources:
    CPU: cpuset:0
"""


def enforced(containers: list[Container]) -> dict[str, CPUSet]:
    return {each.id: each.cpus for each in containers}


def test_crirm_starts_anew(containerd: Containerd, server: Server) -> None:
    folder = Path("/run/crirm-tests/restarts")
    with open_node(containerd, server, folder, CONFIG) as node:
        containers = [*node.kubelet.burstable("pod0", "100m", "100m"), *node.kubelet.guaranteed("pod1", "2", "1")]
        before = enforced(containers)
        for end in (node.stop, node.kill):
            end()
            assert enforced(containers) == before
            node.start("--config", str(folder / "config.yaml"))
            assert enforced(containers) == before
            assert {key: str(cpus) for key, cpus in before.items()} == node.told()
        os.kill(containers[2].pid, signal.SIGKILL)
        (another,) = node.kubelet.guaranteed("pod2", "2")
        wait_for(lambda: len(another.cpus) == 2)
        node.kubelet.remove_all()


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
