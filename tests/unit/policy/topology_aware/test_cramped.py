"""Places that are wider than they would be on an empty machine."""

from __future__ import annotations

import pytest

from crirm.model.qos import QoSClass
from tests.unit.policy.topology_aware.support import Node, make_policy

HOST = "2p.8c.1t mem=16Gi"


@pytest.mark.parametrize(
    ("there", "asked", "cramped"),
    [
        pytest.param({"a": 7000}, 6000, False, id="the other node has room"),
        pytest.param({"a": 7000, "b": 1000}, 6000, False, id="exactly as much room as it takes"),
        pytest.param({"a": 7000, "b": 2000}, 6000, True, id="one CPU too few in the other node"),
        pytest.param({"a": 4000, "b": 4000}, 5000, True, id="no node has room for it any more"),
        pytest.param({}, 9000, False, id="no node ever has room for so many"),
        pytest.param({"a": 4000, "b": 4000}, 4500, True, id="nor for a mixed request"),
        pytest.param({"a": 3000}, 1000, False, id="plenty of room"),
    ],
)
def test_a_container_is_cramped_if_others_are_in_its_way(there: dict[str, int], asked: int, cramped: bool) -> None:
    node = Node(make_policy(HOST, reserved="cpuset:0"))
    for name, cpu in there.items():
        node.add(name, cpu)
    assert node.add("it", asked).cramped is cramped


def test_memory_can_be_what_is_in_its_way() -> None:
    node = Node(make_policy(HOST, reserved="cpuset:0"))
    node.add("a", 1000, memory=12)
    node.add("b", 1000, memory=12)
    assert node.add("it", 1000, memory=6).cramped
    assert not Node(make_policy(HOST, reserved="cpuset:0")).add("it", 1000, memory=20).cramped


@pytest.mark.parametrize(
    "more",
    [
        pytest.param({"qos": QoSClass.BEST_EFFORT}, id="nothing is promised to it"),
        pytest.param({"cpu": 100, "namespace": "kube-system"}, id="it is on the reserved CPUs"),
    ],
)
def test_who_belongs_to_no_pool_in_particular_is_never_cramped(more: dict[str, object]) -> None:
    node = Node(make_policy(HOST, reserved="cpuset:0"))
    node.add("a", 7000)
    node.add("b", 6000)
    assert not node.add("it", **more).cramped  # type: ignore[arg-type]


def test_a_resize_that_leads_out_of_the_pool_is_cramped_too() -> None:
    node = Node(make_policy(HOST, reserved="cpuset:0"))
    for name in ("a", "b"):
        node.add(name, 3000)
        node.add(f"{name}2", 3000)
    assert node.resize("a", 6000).cramped
    for name in ("a2", "b2"):
        node.remove(name)
    assert not node.resize("b", 2000).cramped
