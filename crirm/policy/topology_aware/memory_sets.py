"""Which NUMA nodes' memory a container of a pool may use, and which it may use when that is not enough.

For every pool and every choice of memory kinds there is a *chain* of node sets, each holding the one before:

1. the pool's own nodes of these kinds;
2. the same of the pools above it, up to the root;
3. the last resort: the nodes of these kinds in the whole machine; where the pod does not name kinds, all nodes.

Rules for single sets:

- Where the pod does not name kinds, high-bandwidth memory is left to those who ask for it, up to the last resort.
- The kernel needs memory that is not only movable for its own data, so a set without any gets such nodes in addition.
- A pool whose nodes have no such memory uses the nearest node that has, DRAM if there is some.

Node sets are masks (integers) in here: they are compared with each other thousands of times per decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import attrs

from crirm.model.cpuset import NO_NODES, NodeSet
from crirm.model.topology import MemoryKind, Topology
from crirm.policy.topology_aware.pools import Pool

Kinds = frozenset[MemoryKind] | None
"""The kinds of memory that a container may use; None where its pod names none."""

SLOW = frozenset({MemoryKind.PMEM, MemoryKind.CXL})
"""What a container can start cold on."""


@attrs.frozen(eq=False)
class MemorySets:
    """The chains of one machine, worked out as they are needed."""

    _topology: Topology
    _pools: Sequence[Pool]
    _chains: dict[tuple[int, Kinds], tuple[int, ...]] = attrs.field(factory=dict, init=False)
    _capacities: dict[int, int] = attrs.field(factory=dict, init=False)

    def chain(self, pool: int, kinds: Kinds) -> tuple[int, ...]:
        """Return the node sets for containers of *pool*, from its own to the last resort; none without such memory."""
        key = (pool, kinds)
        if key not in self._chains:
            self._chains[key] = self._make_chain(pool, kinds)
        return self._chains[key]

    def capacity(self, nodes: int) -> int:
        """Return how many bytes of memory a set of nodes has."""
        if nodes not in self._capacities:
            self._capacities[nodes] = self._topology.memory_of(NodeSet.from_mask(nodes))
        return self._capacities[nodes]

    def kinds_of(self, pool: int) -> frozenset[MemoryKind]:
        """Return the kinds of memory that are a pool's own."""
        return self._kinds[pool]

    @cached_property
    def all_kinds(self) -> frozenset[MemoryKind]:
        """The kinds of memory that the machine has."""
        return frozenset(kind for kind, nodes in self._topology.nodes_by_kind.items() if nodes)

    @cached_property
    def cold_kinds(self) -> frozenset[MemoryKind]:
        """The slow kinds of memory that alone can hold a container: all nodes of the kind have normal memory."""
        by_kind = self._topology.nodes_by_kind
        return frozenset(kind for kind in SLOW if by_kind[kind] and by_kind[kind] <= self._topology.normal_nodes)

    @cached_property
    def _essential(self) -> NodeSet:
        """The nodes of which every container needs one."""
        normal = self._topology.normal_nodes
        return normal & self._topology.nodes_by_kind[MemoryKind.DRAM] or normal or self._topology.memory_nodes

    @cached_property
    def _own(self) -> tuple[NodeSet, ...]:
        own: list[NodeSet] = []
        for pool in self._pools:
            nodes = NodeSet.union(own[child] for child in pool.children) | pool.nodes & self._topology.memory_nodes
            own.append(nodes if nodes & self._essential else nodes | self._nearest_essential(pool))
        return tuple(own)

    @cached_property
    def _kinds(self) -> tuple[frozenset[MemoryKind], ...]:
        by_kind = self._topology.nodes_by_kind
        return tuple(frozenset(kind for kind in MemoryKind if own & by_kind[kind]) for own in self._own)

    def _nearest_essential(self, pool: Pool) -> NodeSet:
        homes = pool.nodes & self._topology.cpu_nodes
        far = {node: min(self._topology.distance(home, node) for home in homes) for node in self._essential}
        return NodeSet(node for node, distance in far.items() if distance == min(far.values()))

    def _nodes(self, pool: int, kinds: Kinds) -> NodeSet:
        own, by_kind = self._own[pool], self._topology.nodes_by_kind
        if kinds is None:
            nodes = own - by_kind[MemoryKind.HBM] or own
        else:
            nodes = own & NodeSet.union(by_kind[kind] for kind in kinds)
        return nodes | own & self._essential if nodes and not nodes & self._topology.normal_nodes else nodes

    def _make_chain(self, pool: int, kinds: Kinds) -> tuple[int, ...]:
        sets: list[NodeSet] = []
        nodes = NO_NODES
        if self._nodes(pool, kinds):
            for number in self._pools[pool].ancestors:
                nodes |= self._nodes(number, kinds)
                sets.append(nodes)
            sets.append(nodes | self._last_resort(kinds))
        return tuple(dict.fromkeys(nodes.mask for nodes in sets))

    def _last_resort(self, kinds: Kinds) -> NodeSet:
        everything = frozenset(MemoryKind) if kinds is None else kinds
        return NodeSet.union(self._nodes(pool.id, everything) for pool in self._pools)
