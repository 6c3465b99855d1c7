"""A kubelet that tells where the devices of containers are, and a daemon that asks it, over real sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.kube.proto import v1
from tests.integration.deciding import make_node
from tests.unit.kube.rig import FakeKubelet, agent_server

if TYPE_CHECKING:
    from tests.integration.deciding import Node
    from tests.integration.support import Stage

pytestmark = pytest.mark.long


@pytest.fixture
def node(stage: Stage) -> Node:
    return make_node(stage, "topology-aware")


def pod(name: str, numa_node: int) -> v1.PodResources:
    devices = v1.ContainerDevices("example.com/gpu", ["g0"], v1.TopologyInfo([v1.NumaNode(numa_node)]))
    return v1.PodResources(name, "default", [v1.ContainerResources("main", [devices])])


@pytest.mark.parametrize("get", [True, False], ids=["Get", "List"])
def test_a_container_runs_beside_the_devices_that_the_kubelet_gave_it(node: Node, get: bool) -> None:
    kubelet = FakeKubelet(pod("left", 0), pod("left-too", 0), pod("right", 1), get=get)
    socket = node.stage.place / "kubelet.sock"
    with agent_server(socket, kubelet):
        node.start("--pod-resources-socket", socket)
        containers = [node.run(name, 1) for name in ("left", "left-too", "right", "unknown")]
        told = node.told()
    assert [told[each] for each in containers[:3]] == ["1", "2", "4"]
    assert told[containers[3]], "a pod that the kubelet does not know is placed all the same"
    assert kubelet.asked[0] == "Get"


def test_a_kubelet_without_the_socket_keeps_nobody_waiting(node: Node) -> None:
    relay = node.start("--pod-resources-socket", node.stage.place / "nobody.sock")
    container = node.run("right", 1)
    assert node.told()[container] == "4"
    relay.wait_log("no topology hints of the kubelet")
