"""How near pools are to the devices and disks that a container uses.

A hint tells CPUs, NUMA nodes or packages, the first of them that it has counts:

=========  ============================  =======================  ========================================
pool       CPUs                          NUMA nodes               packages
=========  ============================  =======================  ========================================
NUMA node  share of them that are here   1 if listed, else 0      1 / nodes in the package if listed, else 0
die        likewise                      0.9 if any, else 0       1 / nodes in the die if listed, else 0
socket     likewise                      0.9 if any, else 0       1 if listed, else 0
root       likewise                      0.81 if any, else 0      0.9
=========  ============================  =======================  ========================================

An L3 cache is as near as the pool above it, unless CPUs are told that some of its own are not among: then likewise.
The root of a machine with one package is a socket. Values are exact fractions, so that equal ones are equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import prod

from crirm.model.cpuset import NodeSet
from crirm.model.topology import Topology
from crirm.model.workload import TopologyHint
from crirm.policy.topology_aware.pools import Pool, PoolKind

_NOTHING = Fraction(0)
_WHOLE = Fraction(1)
_SPREAD = Fraction(9, 10)
_ANYWHERE = Fraction(81, 100)


def hint_scores(hints: Iterable[TopologyHint], pool: Pool, pools: Sequence[Pool], topology: Topology) -> list[Fraction]:
    """Return the score of *pool* by each of *hints*, 0..1."""
    return [_score(hint, pool, pools, topology) for hint in hints]


def combined(scores: Sequence[Fraction]) -> tuple[Fraction, Fraction]:
    """Return the product of *scores*, and the product of those that are not zero (zero if all are)."""
    positive = [score for score in scores if score]
    return prod(scores, start=_WHOLE), prod(positive, start=_WHOLE) if positive else _NOTHING


def next_to_all(hints: Iterable[TopologyHint], pool: Pool, topology: Topology) -> bool:
    """Tell whether every CPU of *pool* is next to everything that *hints* are about."""
    return all(_next_to(hint, pool, topology) for hint in hints)


def _next_to(hint: TopologyHint, pool: Pool, topology: Topology) -> bool:
    if hint.cpus:
        return pool.cpus <= hint.cpus
    if hint.nodes:
        return pool.nodes & topology.cpu_nodes <= hint.nodes
    return not hint.packages or pool.package in hint.packages


def _score(hint: TopologyHint, pool: Pool, pools: Sequence[Pool], topology: Topology) -> Fraction:
    if pool.kind is PoolKind.CACHE and pool.parent is not None and (not hint.cpus or pool.cpus <= hint.cpus):
        return _score(hint, pools[pool.parent], pools, topology)
    if hint.cpus:
        return Fraction(len(hint.cpus & pool.cpus), len(hint.cpus))
    if hint.nodes:
        return _node_score(hint.nodes, pool)
    return _package_score(hint.packages, pool, pools, topology) if hint.packages else _NOTHING


def _node_score(nodes: NodeSet, pool: Pool) -> Fraction:
    if nodes.isdisjoint(pool.nodes):
        return _NOTHING
    if pool.kind is PoolKind.ROOT:
        return _ANYWHERE
    return _WHOLE if pool.kind is PoolKind.NUMA else _SPREAD


def _package_score(packages: frozenset[int], pool: Pool, pools: Sequence[Pool], topology: Topology) -> Fraction:
    if pool.kind is PoolKind.ROOT:
        return _SPREAD
    if pool.package not in packages:
        return _NOTHING
    match pool.kind:
        case PoolKind.SOCKET:
            return _WHOLE
        case PoolKind.DIE:
            return Fraction(1, len(pool.nodes & topology.cpu_nodes))
        case PoolKind.NUMA | PoolKind.CACHE:
            socket = next(pools[other] for other in pool.ancestors if pools[other].kind is PoolKind.SOCKET)
            return Fraction(1, len(socket.nodes & topology.cpu_nodes))
