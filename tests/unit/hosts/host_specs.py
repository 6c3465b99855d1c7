"""Random synthetic hosts, small enough to be written to disk."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from crirm.hosts.synthetic import HostSpec, MemoryOnlyNode
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.quantity import Bytes
from crirm.model.topology import MemoryKind

MIB = 1 << 20

_PREFERENCES = ("performance", "balance_performance", "power")


def _subset(numbers: list[int]) -> st.SearchStrategy[CPUSet]:
    return st.sets(st.sampled_from(numbers)).map(CPUSet)


@st.composite
def host_specs(draw: st.DrawFn) -> HostSpec:
    """Draw a host of at most 50 CPUs and 11 NUMA nodes, with some of everything that can be odd about one."""
    small = st.sampled_from((1, 1, 2))
    packages, dies, nodes = draw(small), draw(small), draw(st.sampled_from((1, 1, 2, 0)))
    shape: dict[str, Any] = {
        "packages": packages,
        "dies": dies,
        "nodes": nodes,
        "l3s": draw(st.sampled_from((0, 0, 1, 2))),
        "clusters": draw(st.sampled_from((0, 0, 2))),
        "cores": draw(st.sampled_from((1, 2))),
        "threads": draw(small),
        "ecores": draw(st.sampled_from((0, 0, 2, 5))),
    }
    holes = draw(_subset(list(range(8))))
    bare = HostSpec(**shape, holes=holes)
    count = _cpu_count(bare)
    numbers = [cpu for cpu in range(count + len(holes)) if cpu not in holes][:count]
    cpu_nodes = bare.cpu_nodes
    size = st.integers(0, 4096).map(lambda mib: Bytes(mib * MIB))
    extra = st.builds(
        MemoryOnlyNode,
        kind=st.sampled_from((MemoryKind.PMEM, MemoryKind.HBM, MemoryKind.CXL)),
        size=st.integers(1, 4096).map(lambda mib: Bytes(mib * MIB)),
        near=st.integers(0, cpu_nodes - 1),
    )
    extras = tuple(draw(st.lists(extra, max_size=3))) if nodes else ()
    ids = tuple(sorted(draw(st.permutations(range(14)))[: cpu_nodes + len(extras)])) if nodes else (0,)
    memory = st.lists(size, min_size=cpu_nodes, max_size=cpu_nodes) | st.lists(size, min_size=1, max_size=1)
    return HostSpec(
        **shape,
        memory=tuple(draw(memory)),
        memory_only=extras,
        node_ids=ids if nodes else (),
        movable=NodeSet(draw(st.sets(st.sampled_from(ids)))) if nodes else NodeSet(),
        holes=holes,
        isolated=draw(_subset(numbers)),
        nohz_full=draw(_subset(numbers)),
        offline=draw(_subset(numbers)) - CPUSet.of(draw(st.sampled_from(numbers))),
        adjacent_threads=draw(st.booleans()),
        base_khz=tuple(draw(st.lists(st.tuples(st.integers(1, 3), _subset(numbers)), max_size=2))),
        preferences=tuple(draw(st.lists(st.tuples(st.sampled_from(_PREFERENCES), _subset(numbers)), max_size=2))),
    )


def _cpu_count(spec: HostSpec) -> int:
    inner = max(spec.l3s, 1) * max(spec.clusters, 1) * spec.cores * spec.threads + spec.ecores
    return spec.packages * spec.dies * max(spec.nodes, 1) * inner
