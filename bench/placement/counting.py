"""Checks from outside, by what containers are assigned: would it have fitted, would less memory have done?"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import attrs

from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import NO_CPUS, CPUSet, NodeSet
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.partition import partition
from crirm.policy.priorities import priorities_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.placement.traces import Item
    from crirm.model.decision import Adjustment, State
    from crirm.model.topology import Topology
    from crirm.model.workload import ContainerKey
    from crirm.policy.api import Constraints, Policy


@attrs.define
class Node:
    """The machine, and the containers on it.

    Args:
        topology: the machine.
        sharable: its CPUs for containers.
        items: the containers.
    """

    topology: Topology
    sharable: CPUSet
    items: dict[ContainerKey, Item] = attrs.field(factory=dict)

    @staticmethod
    def of(spec: str, constraints: Constraints) -> Node:
        """Return the synthetic host *spec* with nothing on it."""
        topology = topology_of(parse_spec(spec))
        return Node(
            topology, partition(topology, constraints, CPUAllocator(topology, priorities_of(topology))).sharable
        )

    def homes(self, cpus: CPUSet) -> NodeSet:
        """Return the NUMA nodes of *cpus*."""
        return NodeSet(node.id for node in self.topology.nodes if not node.cpus.isdisjoint(cpus))


def fits_whole(node: Node, state: State, policy: Policy, item: Item) -> NodeSet:
    """Return the NUMA nodes in which *item* provably fits as everything is; nothing is moved.

    It has its CPUs there: free ones, so many that all containers on shared CPUs keep what they requested, and at least
    one CPU. And it has its memory: everybody can have what was promised, this one all of it there. So for every set of
    nodes, what was promised to containers confined to it is no more than it has (Hall's condition).
    """
    taken = CPUSet.union(policy.exclusive(state.policy).values())
    return NodeSet(
        home.id
        for home in node.topology.nodes
        if _cpus_fit(node, state.adjustments, home.cpus & node.sharable - taken, item)
        and _memory_fits(node, state.adjustments, NodeSet([home.id]), item)
    )


def narrower_fits(node: Node, state: State, key: ContainerKey) -> bool:
    """Tell whether *key* may use memory of more nodes than its CPUs are of, although its limit fits those, too.

    It fits if all that may land on these nodes, as the others are, is no more than they have.
    """
    adjustment = state.adjustments.get(key)
    item = node.items[key]
    if adjustment is None or adjustment.mems is None or not adjustment.cpus or not item.memory:
        return False
    homes = node.homes(adjustment.cpus)
    if adjustment.mems <= homes:
        return False
    others = {other: given for other, given in state.adjustments.items() if other != key}
    return item.memory + _landing(node, others, homes) <= node.topology.memory_of(homes)


def _cpus_fit(node: Node, adjustments: Mapping[ContainerKey, Adjustment], free: CPUSet, item: Item) -> bool:
    whole = item.millicpu // 1000
    if item.shared or len(free) < whole:
        return False
    sharing = {key: given.cpus or NO_CPUS for key, given in adjustments.items() if node.items[key].shared}
    for cpus in set(sharing.values()):  # the sets are nested, or have no CPU in common
        promised = sum(node.items[key].millicpu for key, own in sharing.items() if own <= cpus)
        lost = whole - len(free - cpus) if not free.isdisjoint(cpus) else 0
        if 1000 * (len(cpus) - max(lost, 0)) < max(promised, 1000):
            return False
    return True


def _memory_fits(node: Node, adjustments: Mapping[ContainerKey, Adjustment], home: NodeSet, item: Item) -> bool:
    everywhere = NodeSet(one.id for one in node.topology.nodes)
    promised = [(home, item.request)]
    promised += [(adjustments[key].mems or everywhere, other.request) for key, other in node.items.items()]
    nodes = sorted(everywhere)
    for size in range(1, len(nodes) + 1):
        for chosen in map(NodeSet, itertools.combinations(nodes, size)):
            if sum(amount for mems, amount in promised if mems <= chosen) > node.topology.memory_of(chosen):
                return False
    return True


def _landing(node: Node, adjustments: Mapping[ContainerKey, Adjustment], homes: NodeSet) -> int:
    """Return how many bytes may come to be used on *homes*."""
    return sum(
        node.items[key].memory
        for key, given in adjustments.items()
        if key in node.items and (given.mems is None or not given.mems.isdisjoint(homes))
    )
