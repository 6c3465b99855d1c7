"""Which NUMA nodes' memory a container may use, and which it may use when that is not enough.

For every place and every choice of memory kinds there is a *chain* of node sets, each holding the one before. A place
is a pool, or any NUMA nodes with CPUs, for which the pools around them count:

1. the own nodes of the place of these kinds;
2. the same of the pools above (around) it, up to the root;
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
from crirm.policy.topology_aware.pools import Pool, attached_nodes

Place = int | tuple[int, int]
"""A pool's number; or a mask of NUMA nodes with CPUs, and at which step of their chain containers begin, or `KEPT`."""

Kinds = frozenset[MemoryKind] | None
"""The kinds of memory that a container may use; None where its pod names none."""

KEPT = -1
"""In place of a step: the mask is of memory nodes, at which containers stay whatever happens."""

SLOW = frozenset({MemoryKind.PMEM, MemoryKind.CXL})
"""What a container can start cold on."""


@attrs.frozen(eq=False)
class MemorySets:
    """The chains of one machine, worked out as they are needed."""

    _topology: Topology
    _pools: Sequence[Pool]
    _chains: dict[tuple[Place, Kinds], tuple[int, ...]] = attrs.field(factory=dict, init=False)
    _capacities: dict[int, int] = attrs.field(factory=dict, init=False)

    def chain(self, place: Place, kinds: Kinds) -> tuple[int, ...]:
        """Return the node sets for containers of *place*, from its own to the last resort; none without such memory."""
        if not isinstance(place, int) and place[1] == KEPT:
            return (place[0],)
        key = (place, kinds)
        if key not in self._chains:
            self._chains[key] = (
                self._pool_chain(place, kinds) if isinstance(place, int) else self._beside(*place, kinds)
            )
        return self._chains[key]

    def first_step(self, nodes: int, pool: int, kinds: Kinds) -> int:
        """Return where the chain of *nodes* first has those of the *kinds* that *pool*, which is around them, has."""
        if kinds is None:
            return 0
        wanted, by_kind = kinds & self._kinds[pool], self._topology.nodes_by_kind
        sets = [NodeSet.from_mask(mask) for mask in self.chain((nodes, 0), kinds)]
        complete = (step for step, some in enumerate(sets) if all(some & by_kind[kind] for kind in wanted))
        return next(complete, max(len(sets) - 1, 0))

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
            own.append(self._with_essential(nodes, pool.nodes & self._topology.cpu_nodes))
        return tuple(own)

    @cached_property
    def _attached(self) -> dict[int, NodeSet]:
        return attached_nodes(self._topology)

    @cached_property
    def _kinds(self) -> tuple[frozenset[MemoryKind], ...]:
        by_kind = self._topology.nodes_by_kind
        return tuple(frozenset(kind for kind in MemoryKind if own & by_kind[kind]) for own in self._own)

    def _own_of(self, node: int) -> NodeSet:
        """Return the own nodes of a node with CPUs, like those of a pool that is just this node."""
        home = NodeSet.of(node)
        return self._with_essential((home | self._attached[node]) & self._topology.memory_nodes, home)

    def _with_essential(self, nodes: NodeSet, homes: NodeSet) -> NodeSet:
        if nodes & self._essential:
            return nodes
        far = {node: min(self._topology.distance(home, node) for home in homes) for node in self._essential}
        return nodes | NodeSet(node for node, distance in far.items() if distance == min(far.values()))

    def _of_kinds(self, own: NodeSet, kinds: Kinds) -> NodeSet:
        by_kind = self._topology.nodes_by_kind
        if kinds is None:
            nodes = own - by_kind[MemoryKind.HBM] or own
        else:
            nodes = own & NodeSet.union(by_kind[kind] for kind in kinds)
        return nodes | own & self._essential if nodes and not nodes & self._topology.normal_nodes else nodes

    def _pool_chain(self, pool: int, kinds: Kinds) -> tuple[int, ...]:
        if not self._of_kinds(self._own[pool], kinds):
            return ()
        return self._widening([self._own[number] for number in self._pools[pool].ancestors], kinds)

    def _beside(self, mask: int, step: int, kinds: Kinds) -> tuple[int, ...]:
        if step:
            return self.chain((mask, 0), kinds)[step:]
        nodes = NodeSet.from_mask(mask)
        around = next(pool for pool in self._pools if nodes <= pool.nodes)
        own = NodeSet.union(self._own_of(node) for node in nodes)
        return self._widening([own, *(self._own[number] for number in around.ancestors)], kinds)

    def _widening(self, places: Sequence[NodeSet], kinds: Kinds) -> tuple[int, ...]:
        """Return the chain over the own nodes of *places*, leaving out those without such memory."""
        sets: list[NodeSet] = []
        nodes = NO_NODES
        for own in places:
            nodes |= self._of_kinds(own, kinds)
            sets.append(nodes)
        sets.append(nodes | self._last_resort(kinds))
        return tuple(dict.fromkeys(nodes.mask for nodes in sets if nodes))

    def _last_resort(self, kinds: Kinds) -> NodeSet:
        everything = frozenset(MemoryKind) if kinds is None else kinds
        places = (*self._own, *map(self._own_of, self._attached))
        return NodeSet.union(self._of_kinds(own, everything) for own in places)
