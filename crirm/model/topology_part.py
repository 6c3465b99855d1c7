"""A part of a machine as a machine of its own, for policies that may not use all of it."""

from __future__ import annotations

from typing import Protocol, TypeVar

import attrs

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.quantity import Bytes
from crirm.model.topology import NumaNode, Topology, TopologyError


class _HasCPUs(Protocol):
    @property
    def cpus(self) -> CPUSet: ...


_G = TypeVar("_G", bound=_HasCPUs)


def part_of(topology: Topology, cpus: CPUSet, mems: NodeSet) -> Topology:
    """Return *topology* as if all CPUs but *cpus* were offline, and all nodes but *mems* had no memory.

    Raises:
        TopologyError: nothing would be left of it.
    """
    online = topology.online & cpus
    if not online:
        raise TopologyError(f"none of the online CPUs {topology.online} is in {cpus or 'the empty set'}")
    if online == topology.online and topology.memory_nodes <= mems:
        return topology
    nodes = tuple(_node(node, online, mems) for node in topology.nodes)
    kept = [at for at, node in enumerate(nodes) if node.cpus or node.memory]
    efficiency = topology.efficiency & online
    return attrs.evolve(
        topology,
        online=online,
        offline=topology.offline | topology.online - online,
        packages=_left(topology.packages, online),
        dies=_left(topology.dies, online),
        cores=tuple(sorted((one & online for one in topology.cores if one & online), key=lambda one: one.lowest)),
        nodes=tuple(nodes[at] for at in kept),
        distances=tuple(tuple(topology.distances[one][other] for other in kept) for one in kept),
        clusters=tuple(one for one in _left(topology.clusters, online) if not one.cpus <= _core(topology, one.cpus)),
        caches=tuple(sorted(_left(topology.caches, online), key=lambda cache: (cache.level, cache.cpus.lowest))),
        isolated=topology.isolated & online,
        nohz_full=topology.nohz_full & online,
        efficiency=CPUSet() if efficiency == online else efficiency,
        base_frequencies=_left(topology.base_frequencies, online),
        energy_preferences=_left(topology.energy_preferences, online),
    )


def _node(node: NumaNode, online: CPUSet, mems: NodeSet) -> NumaNode:
    if node.id in mems or not node.memory:
        return attrs.evolve(node, cpus=node.cpus & online)
    return NumaNode(node.id, node.cpus & online, Bytes(0), None, normal=False)


def _core(topology: Topology, cpus: CPUSet) -> CPUSet:
    return topology.core_of(cpus.lowest)


def _left(groups: tuple[_G, ...], online: CPUSet) -> tuple[_G, ...]:
    return tuple(attrs.evolve(one, cpus=one.cpus & online) for one in groups if one.cpus & online)  # type: ignore[misc]
