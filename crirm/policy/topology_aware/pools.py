"""The pool tree: the places of the machine where a container may be put, from the whole of it down to NUMA nodes.

=================  ==============================================================================================
pool               is made
=================  ==============================================================================================
``root``           where there is more than one package; else the only package is the root
``socket #S``      for every package
``die #S/D``       for every die of a package with two or more
``NUMA node #N``   for every node with CPUs, where its die (or package, without dies) holds two or more of them whole
``L3 cache #N``    with the option ``CachePools``: for every L3 cache, where the lowest of the pools above holds two or
                   more of them whole
=================  ==============================================================================================

A node that spans packages or dies (NUMA switched off) makes no pool: its memory belongs to every pool that has CPUs of
it. A node without CPUs goes with the nearest node that has some; of several equally near ones, with the one that got
the fewest nodes of that kind of memory so far, then with the lowest. Memory of a cache's pool is its node's.

L3 caches have the kernel's numbers; if these are missing or not unique, they are counted from the lowest CPU on.

Pools are numbered so that children come before parents: the pools below pool *n* are ``first..n-1``, the root is last.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import attrs

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.topology import Die, NumaNode, Package, Topology
from crirm.policy.partition import Partition


class PoolKind(enum.Enum):
    """What part of the machine a pool is."""

    ROOT = "root"
    SOCKET = "socket"
    DIE = "die"
    NUMA = "NUMA node"
    CACHE = "L3 cache"


@attrs.frozen
class Pool:
    """A pool; see the module.

    Args:
        id: its number.
        name: for people, and unique.
        kind: what it is.
        parent: number of the pool above; None for the root.
        ancestors: numbers of this pool and those above it, upwards.
        first: the lowest number in its subtree.
        children: numbers of the pools right below.
        depth: 0 for the root.
        package: the package it is (in); None for the root of several.
        cpus: all its online CPUs, whatever they may be used for.
        sharable: of these, those for shared and exclusive use.
        isolated: of these, the kernel-isolated ones that may be used.
        reserved: of these, those for reserved namespaces.
        nodes: its NUMA nodes, those without CPUs included.
        cores: masks of its cores, those with the most threads of the machine.
    """

    id: int
    name: str
    kind: PoolKind
    parent: int | None
    ancestors: tuple[int, ...]
    first: int
    children: tuple[int, ...]
    depth: int
    package: int | None
    cpus: CPUSet
    sharable: CPUSet
    isolated: CPUSet
    reserved: CPUSet
    nodes: NodeSet
    cores: tuple[int, ...] = ()


def is_place(pools: Sequence[Pool], pool: int) -> bool:
    """Tell whether a pool is a *place*: the smallest around its CPUs that is no cache, a NUMA node as a rule."""
    one = pools[pool]
    return one.kind is not PoolKind.CACHE and all(pools[child].kind is PoolKind.CACHE for child in one.children)


@attrs.define
class _Draft:
    kind: PoolKind
    name: str
    cpus: CPUSet
    package: int | None = None
    children: list[_Draft] = attrs.field(factory=list)
    id: int = 0
    first: int = 0
    depth: int = 0


def build_pools(topology: Topology, partition: Partition, *, caches: bool = False) -> tuple[Pool, ...]:
    """Return all pools by number; L3 caches are pools where *caches* says so."""
    nodes = _nodes_with_cpus(topology)
    sockets = [_socket(topology, package, nodes) for package in topology.packages]
    if caches:
        numbered = _numbered_caches(topology)
        for socket in sockets:
            _divide(socket, numbered)
    root = _Draft(PoolKind.ROOT, "root", topology.online, None, sockets) if len(sockets) > 1 else sockets[0]
    attached = attached_nodes(topology)
    drafts: list[_Draft] = []
    _number(root, 0, drafts)
    cores = [core.mask for core in topology.cores if len(core) == topology.threads]
    return tuple(_pool(draft, drafts, partition, _nodes_of(draft.cpus, nodes, attached), cores) for draft in drafts)


def _nodes_with_cpus(topology: Topology) -> list[NumaNode]:
    return [node for node in topology.nodes if node.cpus]


def _socket(topology: Topology, package: Package, nodes: list[NumaNode]) -> _Draft:
    socket = _Draft(PoolKind.SOCKET, f"socket #{package.id}", package.cpus, package.id)
    dies = [die for die in topology.dies if die.package == package.id]
    if len(dies) > 1:
        socket.children = [_die(die) for die in dies]
    for parent in socket.children or [socket]:
        whole = [node for node in nodes if node.cpus <= parent.cpus]
        if len(whole) > 1:
            parent.children = [_Draft(PoolKind.NUMA, f"NUMA node #{n.id}", n.cpus, package.id) for n in whole]
    return socket


def _divide(draft: _Draft, caches: list[tuple[int, CPUSet]]) -> None:
    """Add the pools of L3 caches below *draft*."""
    for child in draft.children:
        _divide(child, caches)
    whole = [(number, cpus) for number, cpus in caches if cpus <= draft.cpus]
    if not draft.children and len(whole) > 1:
        draft.children = [_Draft(PoolKind.CACHE, f"L3 cache #{n}", cpus, draft.package) for n, cpus in whole]


def _numbered_caches(topology: Topology) -> list[tuple[int, CPUSet]]:
    caches = [cache for cache in topology.caches if cache.level == 3]
    numbers = [cache.id for cache in caches if cache.id is not None]
    unique = len(set(numbers)) == len(caches)
    return [
        (number, cache.cpus) for number, cache in zip(numbers if unique else range(len(caches)), caches, strict=True)
    ]


def _die(die: Die) -> _Draft:
    return _Draft(PoolKind.DIE, f"die #{die.package}/{die.id}", die.cpus, die.package)


def attached_nodes(topology: Topology) -> dict[int, NodeSet]:
    """Return the nodes without CPUs that go with each node that has some."""
    attached: dict[int, list[NumaNode]] = {node.id: [] for node in _nodes_with_cpus(topology)}
    for node in topology.nodes:
        if not node.cpus:
            distances = {home: topology.distance(node.id, home) for home in attached}
            nearest = [home for home in attached if distances[home] == min(distances.values())]
            homes = {home: sum(other.kind is node.kind for other in attached[home]) for home in nearest}
            attached[min(homes, key=lambda home: (homes[home], home))].append(node)
    return {home: NodeSet(node.id for node in guests) for home, guests in attached.items()}


def _nodes_of(cpus: CPUSet, nodes: list[NumaNode], attached: dict[int, NodeSet]) -> NodeSet:
    own = [node.id for node in nodes if not node.cpus.isdisjoint(cpus)]
    return NodeSet(own) | NodeSet.union(attached[node] for node in own)


def _number(draft: _Draft, depth: int, drafts: list[_Draft]) -> None:
    """Append *draft* and all below it to *drafts*, children first."""
    draft.first, draft.depth = len(drafts), depth
    for child in draft.children:
        _number(child, depth + 1, drafts)
    draft.id = len(drafts)
    drafts.append(draft)


def _pool(draft: _Draft, drafts: list[_Draft], partition: Partition, nodes: NodeSet, cores: list[int]) -> Pool:
    # A pool is above another when its range of numbers holds that one.
    ancestors = tuple(other.id for other in drafts[draft.id :] if other.first <= draft.id)
    return Pool(
        id=draft.id,
        name=draft.name,
        kind=draft.kind,
        parent=ancestors[1] if len(ancestors) > 1 else None,
        ancestors=ancestors,
        first=draft.first,
        children=tuple(child.id for child in draft.children),
        depth=draft.depth,
        package=draft.package,
        cpus=draft.cpus,
        sharable=partition.sharable & draft.cpus,
        isolated=partition.isolated & draft.cpus,
        reserved=partition.reserved & draft.cpus,
        nodes=nodes,
        cores=tuple(core for core in cores if not core & ~draft.cpus.mask),
    )
