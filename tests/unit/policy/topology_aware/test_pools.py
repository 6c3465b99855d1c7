from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given

from crirm.hosts.synthetic import HostSpec, parse_spec, topology_of
from crirm.model.cpuset import CPUSet
from crirm.policy.partition import Partition
from crirm.policy.topology_aware.pools import Pool, PoolKind, build_pools
from tests.unit.hosts.host_specs import host_specs
from tests.unit.policy.topology_aware.support import PATIENT

if TYPE_CHECKING:
    from crirm.model.topology import Topology

NONE = CPUSet()


def pools_of(host: str | Topology) -> tuple[Pool, ...]:
    topology = topology_of(parse_spec(host)) if isinstance(host, str) else host
    return build_pools(topology, Partition(topology.online, NONE, NONE))


def cached(host: str | Topology) -> list[tuple[str, str, str]]:
    """Return name, CPUs and nodes of the pools, with those of L3 caches."""
    topology = topology_of(parse_spec(host)) if isinstance(host, str) else host
    pools = build_pools(topology, Partition(topology.online, NONE, NONE), caches=True)
    return [(pool.name, str(pool.cpus), str(pool.nodes)) for pool in pools]


def server() -> Topology:
    """Return two packages with two NUMA nodes each, numbered across: 0 and 2 in the first one, 1 and 3 in the other."""
    straight = topology_of(parse_spec("2p.2n.2c.2t"))
    zero, one, two, three = straight.nodes
    across = (zero, attrs.evolve(two, id=1), attrs.evolve(one, id=2), three)
    distances = ((10, 21, 11, 21), (21, 10, 21, 11), (11, 21, 10, 21), (21, 11, 21, 10))
    return attrs.evolve(straight, nodes=across, distances=distances)


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param(
            "1p.4c", [("socket #0", "0")], id="one package with one node is a single pool, a socket that is the root"
        ),
        pytest.param(
            "1p.2n.2c",
            [("NUMA node #0", "0"), ("NUMA node #1", "1"), ("socket #0", "0-1")],
            id="the only package is the root",
        ),
        pytest.param(
            "2p.2c",
            [("socket #0", "0"), ("socket #1", "1"), ("root", "0-1")],
            id="a package with one node stands for it",
        ),
        pytest.param(
            "2p.1d.2n.2c",
            [
                ("NUMA node #0", "0"),
                ("NUMA node #1", "1"),
                ("socket #0", "0-1"),
                ("NUMA node #2", "2"),
                ("NUMA node #3", "3"),
                ("socket #1", "2-3"),
                ("root", "0-3"),
            ],
            id="children come before parents, a single die makes no pool",
        ),
        pytest.param(
            "1p.2d.1n.2c",
            [("die #0/0", "0"), ("die #0/1", "1"), ("socket #0", "0-1")],
            id="a die with one node stands for it",
        ),
        pytest.param(
            "1p.2d.2n.1c",
            [
                ("NUMA node #0", "0"),
                ("NUMA node #1", "1"),
                ("die #0/0", "0-1"),
                ("NUMA node #2", "2"),
                ("NUMA node #3", "3"),
                ("die #0/1", "2-3"),
                ("socket #0", "0-3"),
            ],
            id="nodes below dies below the package",
        ),
        pytest.param(
            "2p.0n.2c",
            [("socket #0", "0"), ("socket #1", "0"), ("root", "0")],
            id="a node that spans packages belongs to all of them",
        ),
        pytest.param(
            "2p.1c pmem=4x8Gi@0,0,0,1 dist="
            "10,21,17,17,17,28/21,10,28,28,28,17/17,28,10,20,20,28/17,28,20,10,20,28/17,28,20,20,10,28/28,17,28,28,28,10",
            [("socket #0", "0,2-4"), ("socket #1", "1,5"), ("root", "0-5")],
            id="memory goes with the nearest node",
        ),
        pytest.param(
            "2p.1c pmem=4x8Gi hbm=2x4Gi dist="
            + "/".join(",".join("10" if one == other else "20" for other in range(8)) for one in range(8)),
            [("socket #0", "0,2,4,6"), ("socket #1", "1,3,5,7"), ("root", "0-7")],
            id="of equally near nodes the one with least of that kind of memory gets it",
        ),
        pytest.param(
            "2p.2n.1c nodes=1,3,4,9",
            [
                ("NUMA node #1", "1"),
                ("NUMA node #3", "3"),
                ("socket #0", "1,3"),
                ("NUMA node #4", "4"),
                ("NUMA node #9", "9"),
                ("socket #1", "4,9"),
                ("root", "1,3-4,9"),
            ],
            id="nodes have any numbers",
        ),
    ],
)
def test_pools_of_a_machine(host: str, expected: list[tuple[str, str]]) -> None:
    assert expected == [(pool.name, str(pool.nodes)) for pool in pools_of(host)]


def test_the_numbers_of_the_original_s_server() -> None:
    names = ["NUMA node #0", "NUMA node #2", "socket #0", "NUMA node #1", "NUMA node #3", "socket #1", "root"]
    assert names == [pool.name for pool in pools_of(server())]
    assert [pool.depth for pool in pools_of(server())] == [2, 2, 1, 2, 2, 1, 0]


def test_offline_cpus_are_in_no_pool() -> None:
    pools = pools_of("1p.2n.2c offline=1,3")
    assert [str(pool.cpus) for pool in pools] == ["0", "2", "0,2"]


def test_what_cpus_may_be_used_for() -> None:
    topology = topology_of(parse_spec("2p.2c"))
    pools = build_pools(topology, Partition(CPUSet.of(1), CPUSet.of(2), CPUSet.of(0)))
    split = [(str(pool.sharable), str(pool.isolated), str(pool.reserved)) for pool in pools]
    assert split == [("1", "", "0"), ("", "2", ""), ("1", "2", "0")]


@PATIENT
@given(spec=host_specs())
def test_pools_are_a_tree(spec: HostSpec) -> None:
    topology = topology_of(spec)
    pools = pools_of(topology)
    root = pools[-1]
    assert (root.depth, root.parent, root.cpus, root.nodes) == (0, None, topology.online, topology.node_ids)
    assert len({pool.name for pool in pools}) == len(pools)
    for number, pool in enumerate(pools):
        assert pool.id == number
        assert pool.ancestors == (number, *(pools[pool.parent].ancestors if pool.parent is not None else ()))
        assert pool.depth == len(pool.ancestors) - 1
        inside = [other.id for other in pools if number in other.ancestors]
        assert inside == list(range(pool.first, number + 1))
        children = [pools[child] for child in pool.children]
        assert all(child.parent == number for child in children)
        assert sum(len(child.cpus) for child in children) == len(CPUSet.union(child.cpus for child in children))
        assert all(child.cpus <= pool.cpus and child.nodes <= pool.nodes for child in children)
        assert len(children) != 1


# --- L3 caches ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        pytest.param(
            "1p.2n.2l.2c pmem=8Gi@1",
            [
                ("L3 cache #0", "0-1", "0"),
                ("L3 cache #1", "2-3", "0"),
                ("NUMA node #0", "0-3", "0"),
                ("L3 cache #2", "4-5", "1-2"),
                ("L3 cache #3", "6-7", "1-2"),
                ("NUMA node #1", "4-7", "1-2"),
                ("socket #0", "0-7", "0-2"),
            ],
            id="caches of a NUMA node, which have the memory of their node",
        ),
        pytest.param(
            "1p.2l.2c",
            [("L3 cache #0", "0-1", "0"), ("L3 cache #1", "2-3", "0"), ("socket #0", "0-3", "0")],
            id="caches of a package",
        ),
        pytest.param(
            "1p.2d.1n.2l.1c",
            [
                ("L3 cache #0", "0", "0"),
                ("L3 cache #1", "1", "0"),
                ("die #0/0", "0-1", "0"),
                ("L3 cache #2", "2", "1"),
                ("L3 cache #3", "3", "1"),
                ("die #0/1", "2-3", "1"),
                ("socket #0", "0-3", "0-1"),
            ],
            id="caches of a die",
        ),
        pytest.param(
            "2p.1n.1l.2c",
            [("socket #0", "0-1", "0"), ("socket #1", "2-3", "1"), ("root", "0-3", "0-1")],
            id="a node with one cache stands for it",
        ),
        pytest.param(
            "2p.0n.2l.1c",
            [
                ("L3 cache #0", "0", "0"),
                ("L3 cache #1", "1", "0"),
                ("socket #0", "0-1", "0"),
                ("L3 cache #2", "2", "0"),
                ("L3 cache #3", "3", "0"),
                ("socket #1", "2-3", "0"),
                ("root", "0-3", "0"),
            ],
            id="a node across packages",
        ),
    ],
)
def test_pools_of_caches(host: str, expected: list[tuple[str, str, str]]) -> None:
    assert cached(host) == expected


@pytest.mark.parametrize(
    ("numbers", "names"),
    [
        pytest.param((7, 3), ["L3 cache #7", "L3 cache #3"], id="the kernel's numbers"),
        pytest.param((0, 0), ["L3 cache #0", "L3 cache #1"], id="not unique"),
        pytest.param((None, 3), ["L3 cache #0", "L3 cache #1"], id="not all known"),
    ],
)
def test_numbers_of_caches(numbers: tuple[int | None, int | None], names: list[str]) -> None:
    topology = topology_of(parse_spec("1p.2l.2c"))
    told = iter(numbers)
    caches = tuple(attrs.evolve(one, id=next(told)) if one.level == 3 else one for one in topology.caches)
    assert [name for name, *_ in cached(attrs.evolve(topology, caches=caches))] == [*names, "socket #0"]


@PATIENT
@given(host_specs())
def test_pools_of_caches_only_divide_the_lowest_of_the_others(spec: HostSpec) -> None:
    topology = topology_of(spec)
    parts = Partition(topology.online, NONE, NONE)
    with_caches = build_pools(topology, parts, caches=True)
    others = [pool for pool in with_caches if pool.kind is not PoolKind.CACHE]
    assert [(pool.name, pool.cpus, pool.nodes, pool.depth) for pool in others] == [
        (pool.name, pool.cpus, pool.nodes, pool.depth) for pool in build_pools(topology, parts)
    ]
    for pool in with_caches:
        if pool.kind is PoolKind.CACHE:
            parent = with_caches[pool.parent or 0]
            assert pool.cpus < parent.cpus
            assert pool.nodes == parent.nodes
            assert pool.cpus in [cache.cpus for cache in topology.caches if cache.level == 3]
