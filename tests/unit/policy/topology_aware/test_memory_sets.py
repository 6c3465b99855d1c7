from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.hosts.synthetic import HostSpec, parse_spec, topology_of
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.topology import MemoryKind
from crirm.policy.partition import Partition
from crirm.policy.topology_aware.memory_sets import Kinds, MemorySets
from crirm.policy.topology_aware.pools import build_pools
from tests.unit.hosts.host_specs import host_specs
from tests.unit.policy.topology_aware.support import PATIENT

DRAM, PMEM, HBM, CXL = (frozenset({kind}) for kind in MemoryKind)


def sets_of(spec: HostSpec) -> tuple[MemorySets, dict[str, int]]:
    topology = topology_of(spec)
    pools = build_pools(topology, Partition(topology.online, CPUSet(), CPUSet()))
    return MemorySets(topology, pools), {pool.name: pool.id for pool in pools}


@pytest.mark.parametrize(
    ("host", "pool", "kinds", "expected"),
    [
        pytest.param("2p.2n.1c", "NUMA node #2", None, ["2", "2-3", "0-3"], id="up the tree"),
        pytest.param("2p.2n.1c", "root", None, ["0-3"], id="the root is the last resort"),
        pytest.param("2p.2n.1c", "NUMA node #2", PMEM, [], id="nothing of a kind that is not there"),
        pytest.param(
            "2p.1c pmem=8Gi@1", "socket #1", None, ["1-2", "0-2"], id="slow memory counts where no kind is named"
        ),
        pytest.param("2p.1c pmem=8Gi@1", "socket #1", DRAM, ["1", "0-1"], id="only DRAM"),
        pytest.param("2p.1c pmem=8Gi@1", "socket #1", PMEM, ["2"], id="only PMEM"),
        pytest.param("2p.1c pmem=8Gi@1", "socket #0", PMEM, [], id="a pool without the kind has none"),
        pytest.param("2p.1c pmem=8Gi@1", "socket #1", DRAM | PMEM, ["1-2", "0-2"], id="several kinds"),
        pytest.param(
            "2p.1c hbm=4Gi@0", "socket #0", None, ["0", "0-1", "0-2"], id="HBM unasked for is the last resort"
        ),
        pytest.param("2p.1c hbm=4Gi@0", "socket #0", HBM, ["2"], id="HBM that is asked for"),
        pytest.param("2p.1c cxl=4Gi@0", "socket #0", CXL, ["2"], id="CXL"),
        pytest.param(
            "2p.1c pmem=8Gi@1 movable=2", "socket #1", PMEM, ["1-2", "0-2"], id="movable memory needs normal beside it"
        ),
        pytest.param("1p.2n.1c mem=8Gi,0", "NUMA node #1", None, ["0"], id="a node without memory uses the nearest"),
        pytest.param(
            "2p.2n.1c mem=8Gi,8Gi,0,0", "NUMA node #3", None, ["0-1"], id="equally near nodes are used together"
        ),
        pytest.param(
            "2p.2n.1c mem=8Gi,0,8Gi,8Gi",
            "NUMA node #1",
            None,
            ["0", "0,2-3"],
            id="sets that do not grow are not there twice",
        ),
        pytest.param("1p.1c mem=0", "socket #0", None, [], id="a machine that tells of no memory"),
        pytest.param("2p.1c movable=1", "socket #1", None, ["0-1"], id="only movable memory of its own"),
        pytest.param("2p.0n.1c", "socket #1", None, ["0"], id="one node for all"),
        pytest.param(
            "2p.1c mem=0 hbm=4Gi@0 hbm=4Gi@1", "socket #1", None, ["3", "2-3"], id="HBM where there is no other"
        ),
    ],
)
def test_chain(host: str, pool: str, kinds: Kinds, expected: list[str]) -> None:
    sets, names = sets_of(parse_spec(host))
    assert expected == [str(NodeSet.from_mask(nodes)) for nodes in sets.chain(names[pool], kinds)]


@pytest.mark.parametrize(
    ("host", "kinds"),
    [
        pytest.param("1p.1c pmem=8Gi", PMEM, id="normal PMEM"),
        pytest.param("1p.1c pmem=8Gi movable=1", frozenset(), id="movable PMEM cannot hold a container alone"),
        pytest.param("1p.1c pmem=2x8Gi movable=1", frozenset(), id="one movable node of a kind rules the kind out"),
        pytest.param("1p.1c pmem=8Gi cxl=8Gi movable=1", CXL, id="each kind for itself"),
        pytest.param("1p.1c hbm=8Gi", frozenset(), id="fast memory is not for cold starts"),
    ],
)
def test_kinds_to_start_cold_on(host: str, kinds: Kinds) -> None:
    assert kinds == sets_of(parse_spec(host))[0].cold_kinds


@PATIENT
@given(spec=host_specs(), kinds=st.none() | st.frozensets(st.sampled_from(MemoryKind), min_size=1))
def test_chains_grow_up_to_one_last_resort(spec: HostSpec, kinds: Kinds) -> None:
    topology, (sets, names) = topology_of(spec), sets_of(spec)
    chains = [chain for pool in names.values() if (chain := sets.chain(pool, kinds))]
    assert len({chain[-1] for chain in chains}) <= 1
    for chain in chains:
        assert all(one < other and not one & ~other for one, other in itertools.pairwise(chain))
        for mask in chain:
            nodes = NodeSet.from_mask(mask)
            assert nodes <= topology.memory_nodes
            assert nodes & topology.normal_nodes or not topology.normal_nodes
            assert sets.capacity(mask) == sum(node.memory for node in topology.nodes if node.id in nodes)
    if kinds is None and topology.memory_nodes:
        assert len(chains) == len(names)
        assert chains[0][-1] == topology.memory_nodes.mask
