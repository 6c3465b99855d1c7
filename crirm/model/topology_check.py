"""The rules of a `Topology`, as code: what holds for every machine that policies are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.errors import CrirmError
from crirm.model.cpuset import NO_CPUS, CPUSet, NodeSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crirm.model.topology import Topology


class TopologyError(CrirmError, ValueError):
    """A description of a machine contradicts itself."""


def check(topology: Topology) -> None:
    """Refuse a machine that breaks one of the rules.

    Raises:
        TopologyError: the first rule that is broken, and by what.
    """
    for fault in _faults(topology):
        raise TopologyError(f"this machine cannot be: {fault}")


def _faults(topology: Topology) -> Iterator[str]:
    yield from _cpu_faults(topology)
    yield from _group_faults(topology)
    yield from _node_faults(topology)
    yield from _distance_faults(topology)


def _cpu_faults(topology: Topology) -> Iterator[str]:
    if not topology.online:
        yield "no CPU is online"
    if both := topology.online & topology.offline:
        yield f"CPUs {both} are online and offline"
    for name in ("isolated", "nohz_full", "efficiency"):
        if stray := getattr(topology, name) - topology.online:
            yield f"CPUs {stray} are {name} but not online"
    if topology.efficiency == topology.online:
        yield "a hybrid machine has performance cores too"


def _group_faults(topology: Topology) -> Iterator[str]:
    yield from _partition_faults("package", (package.cpus for package in topology.packages), topology.online)
    yield from _partition_faults("die", (die.cpus for die in topology.dies), topology.online)
    yield from _partition_faults("core", topology.cores, topology.online)
    yield from _partition_faults("NUMA node", (node.cpus for node in topology.nodes if node.cpus), topology.online)
    packages = {package.id: package.cpus for package in topology.packages}
    for die in topology.dies:
        if not die.cpus <= packages.get(die.package, NO_CPUS):
            yield f"die {die.id} with CPUs {die.cpus} is not within package {die.package}"
    for core in topology.cores:
        if not core <= topology.die_of(core.lowest).cpus:
            yield f"the core with CPUs {core} spans dies"
    yield from _overlaps("cluster", (cluster.cpus for cluster in topology.clusters), topology.online)
    for level in (2, 3):
        groups = (cache.cpus for cache in topology.caches if cache.level == level)
        yield from _overlaps(f"L{level} group", groups, topology.online)
    yield from _overlaps("frequency bin", (one.cpus for one in topology.base_frequencies), topology.online)
    yield from _overlaps("energy preference", (one.cpus for one in topology.energy_preferences), topology.online)
    yield from _order_faults(topology)


def _order_faults(topology: Topology) -> Iterator[str]:
    orders: dict[str, list[tuple[int | str, ...]]] = {
        "packages": [(package.id,) for package in topology.packages],
        "dies": [(die.package, die.id) for die in topology.dies],
        "clusters": [(cluster.package, cluster.die, cluster.id) for cluster in topology.clusters],
        "cores": [(core.lowest,) for core in topology.cores],
        "NUMA nodes": [(node.id,) for node in topology.nodes],
        "caches": [(cache.level, cache.cpus.lowest) for cache in topology.caches],
        "base frequencies": [(one.base_khz,) for one in topology.base_frequencies],
        "energy preferences": [(one.preference,) for one in topology.energy_preferences],
    }
    for name, keys in orders.items():
        if keys != sorted(set(keys)):
            yield f"the {name} are not in ascending order, or one is there twice"


def _node_faults(topology: Topology) -> Iterator[str]:
    for node in topology.nodes:
        if node.memory < 0 or (node.kind is None) != (node.memory == 0):
            yield f"NUMA node {node.id} has {node.memory} bytes of memory but kind {node.kind}"
        if node.normal and not node.memory:
            yield f"NUMA node {node.id} has normal memory but no memory"
        if not node.cpus and not node.memory:
            yield f"NUMA node {node.id} has neither CPUs nor memory"


def _distance_faults(topology: Topology) -> Iterator[str]:
    ids, rows = NodeSet(node.id for node in topology.nodes), topology.distances
    if len(rows) != len(ids) or any(len(row) != len(ids) for row in rows):
        yield f"the distances are not {len(ids)} rows of {len(ids)} values, one for each of NUMA nodes {ids}"
        return
    if rows != tuple(zip(*rows, strict=True)):
        yield "the distances of NUMA nodes are not symmetric"
    if any(other <= row[at] for at, row in enumerate(rows) for to, other in enumerate(row) if at != to):
        yield "a NUMA node is as near to another as to itself"


def _partition_faults(what: str, groups: Iterable[CPUSet], online: CPUSet) -> Iterator[str]:
    members = list(groups)
    yield from _overlaps(what, members, online)
    if left := online - CPUSet.union(members):
        yield f"CPUs {left} are in no {what}"


def _overlaps(what: str, groups: Iterable[CPUSet], online: CPUSet) -> Iterator[str]:
    seen = NO_CPUS
    for cpus in groups:
        if not cpus:
            yield f"a {what} has no CPUs"
        if twice := cpus & seen:
            yield f"CPUs {twice} are in more than one {what}"
        seen |= cpus
    if stray := seen - online:
        yield f"CPUs {stray} are in a {what} but not online"
