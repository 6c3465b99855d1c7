from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.hosts.synthetic import HostSpec, parse_spec, topology_of
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.qos import QoSClass
from crirm.model.workload import ContainerKey, TopologyHint
from crirm.policy.topology_aware.nearness import rings
from tests.unit.hosts.host_specs import host_specs
from tests.unit.policy.topology_aware.support import NS, PATIENT, Node, make_policy, trail_of

HOST = "2p.2n.4c dist=10,11,21,22/11,10,22,21/21,22,10,11/22,21,11,10"
"""CPUs 0-3, 4-7, 8-11 and 12-15 are those of nodes 0 to 3."""


def hint(cpus: str = "", nodes: str = "", packages: frozenset[int] = frozenset()) -> TopologyHint:
    return TopologyHint("/sys/devices/x", CPUSet.parse(cpus), NodeSet.parse(nodes), packages)


@pytest.mark.parametrize(
    ("hints", "expected"),
    [
        pytest.param((hint(nodes="1"),), [(0, "4-7"), (11, "0-3"), (21, "12-15"), (22, "8-11")], id="a node"),
        pytest.param((hint(nodes="1,2"),), [(0, "4-11"), (11, "0-3,12-15")], id="one of two nodes"),
        pytest.param(
            (hint(nodes="1"), hint(nodes="2")),
            [(22, "4-11"), (32, "0-3,12-15")],
            id="two nodes: nobody is next to both",
        ),
        pytest.param(
            (hint(cpus="5-6"),), [(0, "5-6"), (10, "4,7"), (11, "0-3"), (21, "12-15"), (22, "8-11")], id="CPUs"
        ),
        pytest.param((hint(packages=frozenset({1})),), [(0, "8-15"), (21, "0-7")], id="a package"),
        pytest.param((hint(),), [(0, "0-15")], id="nothing that is known"),
        pytest.param((hint(nodes="9"),), [(0, "0-15")], id="a node that is not there"),
        pytest.param((hint(cpus="0-15"),), [(0, "0-15")], id="all CPUs"),
    ],
)
def test_rings(hints: tuple[TopologyHint, ...], expected: list[tuple[int, str]]) -> None:
    topology = topology_of(parse_spec(HOST))
    found = rings(topology, hints, topology.online)
    assert [(ring.distance, str(ring.cpus)) for ring in found] == expected


def test_a_node_without_cpus_is_as_near_as_its_nearest_cpus() -> None:
    topology = topology_of(parse_spec("2p.2c pmem=8Gi@1"))
    first, *_ = rings(topology, [hint(nodes="2")], topology.online)
    assert (first.distance, str(first.cpus)) == (0, "2-3")


@pytest.mark.parametrize(
    ("cpu", "hints", "others", "expected"),
    [
        pytest.param(6000, (hint(nodes="1"),), 0, "1-2,4-7", id="the node, and the rest from beside it"),
        pytest.param(6000, (hint(nodes="3"),), 0, "8-9,12-15", id="the same in the other package"),
        pytest.param(10000, (hint(nodes="3"),), 0, "4-5,8-15", id="a package, and the nearer node of the other"),
        pytest.param(6000, (hint(nodes="1"),), 1, "1-6", id="a CPU is left for who shares them"),
    ],
)
def test_exclusive_cpus_are_the_nearest(cpu: int, hints: tuple[TopologyHint, ...], others: int, expected: str) -> None:
    node = Node(make_policy(HOST, "cpuset:0"))
    for number in range(others):
        node.add(f"s{number}", 500, qos=QoSClass.BURSTABLE, hints=hints)
    placement = node.add("a", cpu, hints=hints)
    assert str(placement.changed[ContainerKey("a")].cpus) == expected


def test_what_is_equally_near_is_of_as_few_nodes_as_possible() -> None:
    """Nodes 0 and 2 are equally far; each has a whole core left, node 2 two threads besides."""
    node = Node(make_policy("1p.3n.4c.2t threads=adjacent", "cpuset:0"))
    node.add("low", 5000, hints=(hint(nodes="0"),))
    for number in range(8):
        node.add(f"c{number}", 1000, hints=(hint(nodes="2"),))
    for number in range(8):
        if node.cpus(f"c{number}") in {"16", "17", "18", "20"}:
            node.remove(f"c{number}")
    node.add("a", 12000, hints=(hint(nodes="1"),))
    assert node.cpus("a") == "8-18,20"


def test_the_trail_tells_how_many_are_next_to_the_devices() -> None:
    trail = trail_of(Node(make_policy(HOST, "cpuset:0")).add("a", 6000, hints=(hint(nodes="1"),)))
    assert "4 of its 6 exclusive CPUs are next to all its devices and disks" in trail.notes


def test_whole_cores_are_the_nearest_too() -> None:
    node = Node(make_policy("2p.4c.2t", "cpuset:0"))
    hide = {f"hide-hyperthreads.{NS}": "true"}
    placement = node.add("a", 5000, hints=(hint(nodes="1"),), annotations=hide)
    assert str(placement.changed[ContainerKey("a")].cpus) == "1,4-7"
    assert node.state.taken == CPUSet.parse("1,4-7,9,12-15")


@PATIENT
@given(spec=host_specs(), nodes=st.sets(st.integers(0, 6)), cpus=st.sets(st.integers(0, 15)))
def test_rings_divide_all_cpus(spec: HostSpec, nodes: set[int], cpus: set[int]) -> None:
    topology = topology_of(spec)
    hints = [TopologyHint("/sys/a", nodes=NodeSet(nodes)), TopologyHint("/sys/b", cpus=CPUSet(cpus))]
    found = rings(topology, hints, topology.online)
    assert CPUSet.union(ring.cpus for ring in found) == topology.online
    assert sum(len(ring.cpus) for ring in found) == len(topology.online)
    assert [ring.distance for ring in found] == sorted({ring.distance for ring in found})
