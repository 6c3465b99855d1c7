from __future__ import annotations

import attrs
import pytest

from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.decision import Adjustment
from crirm.model.events import PodAdded
from crirm.model.qos import QoSClass
from crirm.model.workload import ContainerKey
from crirm.policy.api import Choice
from crirm.replay.moments import Free, Moment, NodeUse, far, moment
from tests.unit.replay.scenes import AWARE, GIB, STATIC, Scene, container, pod

TIERED = topology_of(parse_spec("2p.2c.1t mem=8Gi pmem=2x32Gi"))


@pytest.mark.parametrize(
    ("cpus", "mems", "expected"),
    [
        pytest.param("0-1", "0", "", id="its own node is near"),
        pytest.param("0-1", "0,2", "", id="memory without CPUs is near to the nearest node with some"),
        pytest.param("0-1", "0-3", "1,3", id="what belongs to the other socket is far"),
        pytest.param("0,2", "0-3", "", id="CPUs of both sockets are near to everything"),
        pytest.param(None, "0-3", "", id="who may run anywhere is near to everything"),
        pytest.param("2", None, "0,2", id="who may use any memory may use what is far"),
    ],
)
def test_memory_that_is_far(cpus: str | None, mems: str | None, expected: str) -> None:
    found = far(TIERED, None if cpus is None else CPUSet.parse(cpus), None if mems is None else NodeSet.parse(mems))
    assert str(found) == expected


def now(scene: Scene) -> Moment:
    return moment(scene.topology, scene.choice, scene.policy, scene.state, scene.now_s)


def test_an_empty_machine_is_not_fragmented() -> None:
    found = now(Scene())
    assert (found.cpu, found.memory) == (Free(7000, 4000, 0), Free(16 * GIB, 8 * GIB, 0))
    assert found.nodes[0] == NodeUse(0, "1-3", "", 0, 3000, 8 * GIB, 0, 8 * GIB)
    assert (found.containers, found.remote, found.spread) == (0, (), ())


def test_what_containers_take_is_counted_where_they_are() -> None:
    scene = Scene()
    scene.tell(PodAdded(pod()))
    for one in (container("a", 2, 2), container("b", 1, 1), container("s", 0.5, 4)):
        scene.run(one)
    found = now(scene)
    assert [(use.exclusive, use.promised_millicpu, use.free_millicpu) for use in found.nodes] == [
        ("1", 500, 1500),
        ("4-5", 0, 2000),
    ]
    assert [use.promised_bytes for use in found.nodes] == [5 * GIB, 2 * GIB]
    assert found.cpu == Free(3500, 2000, 43), "3.5 CPUs are free, of which 2 are in one place"
    assert found.memory == Free(9 * GIB, 6 * GIB, 25)


def test_cpus_and_memory_that_are_not_on_this_machine_are_left_out() -> None:
    """They come from a trace of another machine, or one that has lost some."""
    scene = Scene(choice=STATIC)
    scene.tell(PodAdded(pod()))
    scene.run(container("a", 2, 1))
    there = Adjustment(cpus=CPUSet.parse("1,99"), mems=NodeSet.parse("0,7"))
    for adjustment, promised in ((there, [GIB, 0]), (attrs.evolve(there, mems=NodeSet.of(7)), [0, 0])):
        scene.state = attrs.evolve(scene.state, adjustments={ContainerKey("a"): adjustment})
        assert [use.promised_bytes for use in now(scene).nodes] == promised


def test_who_spans_nodes_and_who_may_use_far_memory_is_named() -> None:
    scene = Scene(choice=STATIC)
    scene.tell(PodAdded(pod()), PodAdded(pod("q", QoSClass.BURSTABLE)))
    scene.run(container("a", 2, 1))
    scene.run(container("s", 0.5, 2, "q"))
    found = now(scene)
    assert found.remote == ("default/p/a",)
    assert found.remote_bytes == GIB
    assert found.spread == ("default/q/s",)
    assert sum(use.promised_bytes for use in found.nodes) == 3 * GIB


def test_a_policy_that_binds_nothing_spreads_everything() -> None:
    scene = Scene(choice=Choice("none"))
    scene.tell(PodAdded(pod()))
    scene.run(container("a", 12, 1))
    found = now(scene)
    assert [(use.promised_millicpu, use.free_millicpu) for use in found.nodes] == [(6000, -2000), (6000, -2000)]
    assert found.cpu == Free(0, 0, 0)
    assert (found.remote, found.spread) == ((), ("default/p/a",))


def test_reserved_cpus_are_no_room_for_others() -> None:
    scene = Scene(choice=AWARE)
    scene.tell(PodAdded(pod("sys", QoSClass.BURSTABLE)))
    assert now(scene).nodes[0].cpus == "1-3"
