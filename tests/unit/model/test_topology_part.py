"""Parts of machines are machines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.hosts.synthetic import HostSpec, parse_spec, topology_of
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.topology import TopologyError
from crirm.model.topology_part import part_of
from tests.unit.hosts.host_specs import host_specs

if TYPE_CHECKING:
    from crirm.model.topology import Topology

TWO = "2p.4c.2t threads=adjacent mem=4Gi"  # two NUMA nodes: 0-7, 8-15


def machine(spec: str = TWO) -> Topology:
    return topology_of(parse_spec(spec))


@given(spec=host_specs(), data=st.data())
def test_a_part_is_the_machine_with_the_rest_switched_off(spec: HostSpec, data: st.DataObject) -> None:
    whole = topology_of(spec)
    left = CPUSet(data.draw(st.sets(st.sampled_from(list(whole.online)), min_size=1)))
    off = attrs.evolve(spec, offline=spec.offline | whole.online - left)
    assert part_of(whole, left, whole.memory_nodes) == topology_of(off)


@pytest.mark.parametrize(
    ("mems", "memory", "kept"),
    [
        pytest.param(NodeSet.of(0, 1), NodeSet.of(0, 1), NodeSet.of(0, 1), id="all of it"),
        pytest.param(NodeSet.of(1), NodeSet.of(1), NodeSet.of(0, 1), id="a node whose memory is barred keeps its CPUs"),
        pytest.param(NodeSet(), NodeSet(), NodeSet.of(0, 1), id="no memory at all"),
    ],
)
def test_memory_that_may_not_be_used_is_not_there(mems: NodeSet, memory: NodeSet, kept: NodeSet) -> None:
    part = part_of(machine(), CPUSet(range(16)), mems)
    assert (part.memory_nodes, part.node_ids, part.normal_nodes) == (memory, kept, memory)


def test_a_node_without_anything_left_goes() -> None:
    part = part_of(machine(), CPUSet(range(8)), NodeSet.of(0))
    assert (part.node_ids, part.distances) == (NodeSet.of(0), ((10,),))


def test_nothing_is_no_machine() -> None:
    with pytest.raises(TopologyError, match="none of the online CPUs 0-15 is in 77"):
        part_of(machine(), CPUSet.of(77), NodeSet.of(0))
