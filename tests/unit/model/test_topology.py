from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given, settings

from crirm.hosts.synthetic import HostSpec, parse_spec, topology_of
from crirm.model.cpuset import NO_CPUS, CPUSet, NodeSet
from crirm.model.quantity import Bytes
from crirm.model.topology import (
    CacheGroup,
    Cluster,
    Die,
    EnergyPreference,
    FrequencyBin,
    MemoryKind,
    NumaNode,
    Package,
    Topology,
    TopologyError,
    fewest,
)
from crirm.model.topology_json import digest, from_json, to_json
from tests.unit.hosts.host_specs import host_specs

GIB = 1 << 30


def cpus(text: str) -> CPUSet:
    return CPUSet.parse(text)


# Two packages of two dies; in each die one NUMA node, one L3 cache and two cores of two threads.
SERVER = topology_of(parse_spec("2p.2d.1n.2c.2t mem=8Gi pmem=64Gi@0 hbm=4Gi@3 cxl=32Gi@1 movable=6"))


def test_groups_of_a_cpu() -> None:
    assert SERVER.packages[0] == Package(0, cpus("0-3,8-11"))
    assert SERVER.die_of(10) == Die(0, 1, cpus("2-3,10-11"))
    assert SERVER.core_of(10) == cpus("2,10")
    assert SERVER.node_of(10).id == 1
    assert [cache for cache in SERVER.caches if 10 in cache.cpus] == [
        CacheGroup(2, 2, Bytes(2 << 20), cpus("2,10")),
        CacheGroup(3, 1, Bytes(32 << 20), cpus("2-3,10-11")),
    ]
    assert SERVER.clusters == ()


def test_an_offline_cpu_is_nowhere() -> None:
    topology = topology_of(HostSpec(cores=4, offline=cpus("3")))
    assert topology.offline == cpus("3")
    with pytest.raises(KeyError):
        topology.die_of(3)


def test_clusters_hold_more_than_one_core() -> None:
    topology = topology_of(HostSpec(clusters=2, cores=2, threads=2, offline=cpus("3,7")))
    assert topology.clusters == (Cluster(0, 0, 0, cpus("0-1,4-5")),)


def test_nodes_and_their_memory() -> None:
    assert SERVER.node_ids == NodeSet.parse("0-6")
    assert SERVER.cpu_nodes == NodeSet.parse("0-3")
    assert SERVER.memory_nodes == NodeSet.parse("0-6")
    assert SERVER.normal_nodes == NodeSet.parse("0-5")
    assert SERVER.nodes_by_kind == {
        MemoryKind.DRAM: NodeSet.parse("0-3"),
        MemoryKind.PMEM: NodeSet.of(4),
        MemoryKind.HBM: NodeSet.of(5),
        MemoryKind.CXL: NodeSet.of(6),
    }
    assert SERVER.memory_of(NodeSet.parse("0-1,4")) == 80 * GIB
    assert SERVER.memory_of(NodeSet.parse("0-1,4"), MemoryKind.PMEM) == 64 * GIB
    assert SERVER.node(5).memory == 4 * GIB


def test_nodes_of_cpus() -> None:
    assert SERVER.nodes_of(cpus("1,10")) == NodeSet.parse("0-1")
    assert SERVER.nodes_of(NO_CPUS) == NodeSet()


def test_neighbours_are_nearest_first_and_ties_together() -> None:
    assert SERVER.distance(0, 2) == 21
    assert SERVER.distance(4, 0) == 17
    assert [str(ring) for ring in SERVER.neighbours(0)] == ["1", "4", "6", "2-3", "5"]
    assert topology_of(HostSpec()).neighbours(0) == ()


def test_hybrid() -> None:
    hybrid = topology_of(HostSpec(cores=2, threads=2, ecores=4))
    assert hybrid.hybrid
    assert hybrid.efficiency == cpus("2-5")
    assert hybrid.performance == cpus("0-1,6-7")
    assert not SERVER.hybrid
    assert SERVER.performance == SERVER.online


PLAIN = Topology(
    online=cpus("0-3"),
    packages=(Package(0, cpus("0-1")), Package(1, cpus("2-3"))),
    dies=(Die(0, 0, cpus("0-1")), Die(1, 0, cpus("2-3"))),
    cores=(cpus("0-1"), cpus("2-3")),
    nodes=(
        NumaNode(0, cpus("0-1"), Bytes(GIB), MemoryKind.DRAM, normal=True),
        NumaNode(1, cpus("2-3"), Bytes(GIB), MemoryKind.DRAM, normal=True),
    ),
    distances=((10, 20), (20, 10)),
)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param({"online": NO_CPUS}, "no CPU is online", id="no CPU at all"),
        pytest.param({"offline": cpus("3-4")}, "CPUs 3 are online and offline", id="online and offline"),
        pytest.param(
            {"isolated": cpus("4")}, "CPUs 4 are isolated but not online", id="an isolated CPU that is not there"
        ),
        pytest.param({"efficiency": cpus("0-3")}, "has performance cores too", id="efficiency cores only"),
        pytest.param({"packages": PLAIN.packages[:1]}, "CPUs 2-3 are in no package", id="a CPU in no package"),
        pytest.param({"dies": PLAIN.dies[:1]}, "CPUs 2-3 are in no die", id="a CPU in no die"),
        pytest.param({"cores": PLAIN.cores[:1]}, "CPUs 2-3 are in no core", id="a CPU in no core"),
        pytest.param(
            {"cores": (cpus("0-1"), cpus("1-3"))}, "CPUs 1 are in more than one core", id="a CPU in two cores"
        ),
        pytest.param({"cores": (cpus("0-4"),)}, "CPUs 4 are in a core but not online", id="a core with an unknown CPU"),
        pytest.param({"cores": (cpus("0-2"), cpus("3"))}, "the core with CPUs 0-2 spans dies", id="a core across dies"),
        pytest.param({"cores": (cpus("2-3"), cpus("0-1"))}, "the cores are not in ascending order", id="out of order"),
        pytest.param(
            {"dies": (Die(0, 0, cpus("0-2")), Die(1, 0, cpus("3")))},
            "die 0 with CPUs 0-2 is not within package 0",
            id="die",
        ),
        pytest.param(
            {"dies": (Die(0, 0, cpus("0-1")), Die(2, 0, cpus("2-3")))},
            "is not within package 2",
            id="a die of no package",
        ),
        pytest.param(
            {"clusters": (Cluster(0, 0, 0, cpus("0-1")), Cluster(0, 0, 1, cpus("1")))},
            "more than one cluster",
            id="clusters",
        ),
        pytest.param({"clusters": (Cluster(0, 0, 0, NO_CPUS),)}, "a cluster has no CPUs", id="an empty cluster"),
        pytest.param(
            {"caches": tuple(CacheGroup(3, n, Bytes(0), cpus("0-1")) for n in (0, 1))},
            "more than one L3 group",
            id="caches",
        ),
        pytest.param(
            {"base_frequencies": (FrequencyBin(1, cpus("9")),)}, "in a frequency bin but not online", id="frequency"
        ),
        pytest.param(
            {"energy_preferences": (EnergyPreference("b", cpus("0")), EnergyPreference("a", cpus("1")))},
            "the energy preferences are not in ascending order",
            id="preferences out of order",
        ),
        pytest.param({"nodes": PLAIN.nodes[:1]}, "CPUs 2-3 are in no NUMA node", id="a CPU in no NUMA node"),
        pytest.param(
            {"nodes": (*PLAIN.nodes, NumaNode(2, NO_CPUS, Bytes(0), None, normal=False))},
            "neither CPUs nor memory",
            id="void",
        ),
        pytest.param(
            {"nodes": (attrs.evolve(PLAIN.nodes[0], kind=None), PLAIN.nodes[1])},
            "bytes of memory but kind None",
            id="kind",
        ),
        pytest.param(
            {"nodes": (attrs.evolve(PLAIN.nodes[0], kind=None, memory=Bytes(0)), PLAIN.nodes[1])},
            "normal memory but no",
            id="normal",
        ),
        pytest.param({"distances": ((10,),)}, "expected 2 rows of 2 distances", id="too few distances"),
        pytest.param({"distances": ((10, 20), (21, 10))}, "not symmetric", id="asymmetric distances"),
        pytest.param(
            {"distances": ((10, 10), (10, 10))}, "as near to another one as to itself", id="no distance at all"
        ),
    ],
)
def test_a_machine_that_cannot_be_is_refused(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(TopologyError, match="inconsistent machine: ") as caught:
        attrs.evolve(PLAIN, **change)
    assert fault in str(caught.value)


@given(host_specs())
@settings(max_examples=25, deadline=None)
def test_json_comes_back_as_it_was(spec: HostSpec) -> None:
    topology = topology_of(spec)
    again = from_json(json.loads(json.dumps(to_json(topology))))
    assert again == topology
    assert digest(again) == digest(topology)


@given(host_specs())
@settings(max_examples=25, deadline=None)
def test_indexes_agree_with_the_groups(spec: HostSpec) -> None:
    topology = topology_of(spec)
    for cpu in topology.online:
        assert cpu in topology.core_of(cpu) <= topology.die_of(cpu).cpus
        assert topology.nodes_of(CPUSet.of(cpu)) == NodeSet.of(topology.node_of(cpu).id)
    for node in topology.nodes:
        rings = topology.neighbours(node.id)
        assert NodeSet.union(rings) | NodeSet.of(node.id) == topology.node_ids
        far = [{topology.distance(node.id, other) for other in ring} for ring in rings]
        assert far == sorted(far, key=min)
        assert all(len(distances) == 1 for distances in far)


def test_digest_tells_machines_apart_and_is_the_same_everywhere() -> None:
    assert digest(SERVER) != digest(PLAIN)
    assert digest(PLAIN) == "13dbf167c5d35c02ce21ceff998fe2ff754201526575a9ceb018314237ee21a7"


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        pytest.param(
            {"online": "0-x"},
            "write numbers and ranges such as 0-3,8 @ $.online",
            id="a wrong CPU list",
        ),
        pytest.param({"online": 3}, "expected str, not 3 @ $.online", id="a number for a list"),
        pytest.param({"surplus": 1}, "extra fields found (surplus) @ $", id="an unknown field"),
        pytest.param({"distances": [["10"]]}, "expected int, not '10' @ $.distances[0][0]", id="a text for a number"),
        pytest.param(
            {"distances": [[True]]}, "expected int, not True @ $.distances[0][0]", id="a truth value for a number"
        ),
        pytest.param({"offline": "0"}, "CPUs 0 are online and offline", id="a machine that cannot be"),
    ],
)
def test_json_faults_name_their_place(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(TopologyError) as caught:
        from_json(to_json(PLAIN) | change)
    assert fault in str(caught.value)


@pytest.mark.parametrize("document", [None, [], 3, {}, {"packages": 3}, {"packages": [3]}])
def test_json_of_another_shape_is_refused(document: object) -> None:
    with pytest.raises(TopologyError, match="machine description: "):
        from_json(document)


@pytest.mark.parametrize(
    ("sizes", "wanted", "groups"),
    [
        pytest.param((4, 4), 0, 0, id="nothing is wanted"),
        pytest.param((2, 8, 4), 8, 1, id="the largest is enough"),
        pytest.param((2, 8, 4), 9, 2, id="one more than the largest has"),
        pytest.param((4, 4), 9, 2, id="more than all have"),
    ],
)
def test_how_many_groups_are_needed(sizes: tuple[int, ...], wanted: int, groups: int) -> None:
    assert fewest(sizes, wanted) == groups
