"""v1.PodResourcesLister called over a real socket: what the kubelet tells of a container's devices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.kube.pod_resources import PodResources, PodResourcesError
from crirm.kube.proto import v1
from crirm.model.cpuset import NodeSet
from crirm.model.workload import TopologyHint
from crirm.rpc import bridge
from tests.unit.kube.rig import FakeKubelet, agent_server

if TYPE_CHECKING:
    from pathlib import Path


def devices(resource: str, *ids: str, nodes: tuple[int, ...] = ()) -> v1.ContainerDevices:
    topology = v1.TopologyInfo([v1.NumaNode(node) for node in nodes])
    return v1.ContainerDevices(resource, list(ids), topology) if nodes else v1.ContainerDevices(resource, list(ids))


POD = v1.PodResources(
    "train",
    "ml",
    [
        v1.ContainerResources(
            "main",
            [
                devices("nvidia.com/gpu", "GPU-a", nodes=(1,)),
                devices("nvidia.com/gpu", "GPU-b", nodes=(3,)),
                devices("example.com/nic", "eth1", "eth2", nodes=(0, 1)),
                devices("example.com/key", "hsm"),
                devices("example.com/nowhere", "x", nodes=(-1,)),
            ],
        ),
        v1.ContainerResources("log"),
    ],
)
MAIN = (
    TopologyHint("nvidia.com/gpu GPU-a", nodes=NodeSet.of(1)),
    TopologyHint("nvidia.com/gpu GPU-b", nodes=NodeSet.of(3)),
    TopologyHint("example.com/nic eth1,eth2", nodes=NodeSet.of(0, 1)),
)
OTHER = v1.PodResources("train", "test", [v1.ContainerResources("main", [devices("nvidia.com/gpu", "x", nodes=(5,))])])


def ask(client: PodResources, pod: str = "train", container: str = "main") -> tuple[TopologyHint, ...]:
    async def main() -> tuple[TopologyHint, ...]:
        return await client.hints("ml", pod, container)

    return bridge.run(main)


@pytest.mark.parametrize("get", [True, False], ids=["Get", "List, since Get is disabled"])
@pytest.mark.parametrize(
    ("container", "expected"),
    [
        pytest.param("main", MAIN, id="every place of every resource"),
        pytest.param("log", (), id="no devices"),
        pytest.param("init", (), id="a container that the kubelet does not tell of"),
    ],
)
def test_devices_of_a_container(
    short_path: Path, container: str, expected: tuple[TopologyHint, ...], get: bool
) -> None:
    with agent_server(short_path / "k.sock", FakeKubelet(OTHER, POD, get=get)):
        assert ask(PodResources(str(short_path / "k.sock")), container=container) == expected


def test_get_is_asked_once_where_it_is_disabled(short_path: Path) -> None:
    kubelet, client = FakeKubelet(POD, get=False), PodResources(str(short_path / "k.sock"))
    with agent_server(short_path / "k.sock", kubelet):
        assert ask(client) == ask(client) == MAIN
        assert ask(client, "gone") == ()
    assert kubelet.asked == ["Get", "List", "List", "List"]


def test_a_pod_that_the_kubelet_does_not_know_is_an_error(short_path: Path) -> None:
    with agent_server(short_path / "k.sock", FakeKubelet(POD)), pytest.raises(PodResourcesError, match="pod gone in"):
        ask(PodResources(str(short_path / "k.sock")), "gone")


def test_a_kubelet_that_is_not_there_is_an_error(short_path: Path) -> None:
    with pytest.raises(PodResourcesError, match=r"the kubelet's PodResources at .*k\.sock: socket not found"):
        ask(PodResources(str(short_path / "k.sock")))


def test_a_kubelet_that_does_not_answer_is_left_alone_for_a_while(short_path: Path) -> None:
    kubelet = FakeKubelet(POD, silent=True)

    async def twice() -> list[str]:
        client, errors = PodResources(str(short_path / "k.sock"), timeout_s=0.2), list[str]()
        for _ in range(2):
            with pytest.raises(PodResourcesError) as caught:
                await client.hints("ml", "train", "main")
            errors.append(str(caught.value).partition(": ")[2])
        return errors

    with agent_server(short_path / "k.sock", kubelet):
        assert bridge.run(twice) == ["no answer within 0.2 s", "did not answer; it is not asked again for 10 s"]
    assert kubelet.asked == ["Get"]
