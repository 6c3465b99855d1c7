from __future__ import annotations

from crirm.cri.proto.runtime.v1 import ListContainersResponse
from crirm.sim.containers import listed_container
from crirm.sim.seed import seed
from crirm.sim.settings import SimSettings
from tests.unit.sim.nodes import Node


def test_seed_makes_running_containers_and_tells_nobody() -> None:
    node = Node()
    seed(node.model, SimSettings(pods=3, containers_per_pod=2))
    assert [record.is_running for record in node.model.containers] == [True] * 6
    assert node.event_kinds() == []


def test_annotation_sets_the_size_of_the_list() -> None:
    sizes = []
    for annotation_bytes in (100, 300):
        node = Node()
        seed(node.model, SimSettings(pods=2, containers_per_pod=5, annotation_bytes=annotation_bytes))
        sizes.append(len(bytes(ListContainersResponse([listed_container(record) for record in node.model.containers]))))
    assert 2000 <= sizes[1] - sizes[0] <= 2040
