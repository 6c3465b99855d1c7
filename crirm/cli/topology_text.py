"""A machine as text: a summary, a tree, the distances, and warnings.

A machine with 1024 CPUs has to fit on a few screens, so levels that group nothing are left out, a group of CPUs is one
line, and a regular series of cores is shown by its first two and its last.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from crirm.model.topology import MemoryKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import RenderableType

    from crirm.model.cpuset import CPUSet, NodeSet
    from crirm.model.topology import CacheGroup, NumaNode, Package, Topology

_MATRIX_NODES = 16
"""With up to this many NUMA nodes, distances are shown in a matrix, which fits in 80 columns."""

_FEW_CORES = 4


def render(topology: Topology, warnings: Sequence[str]) -> Iterator[RenderableType]:
    """Yield the parts of the description, from the summary to *warnings*."""
    yield _summary(topology)
    yield Text()
    for package in topology.packages:
        yield _package_tree(topology, package)
    if memory_only := topology.node_ids - topology.cpu_nodes:
        yield _memory_tree(topology, memory_only)
    if len(topology.nodes) > 1:
        yield Text()
        yield _distance_matrix(topology) if len(topology.nodes) <= _MATRIX_NODES else _distance_lists(topology)
    if warnings:
        yield Text()
        yield Text("warnings", style="bold yellow")
        for warning in warnings:
            yield Text(f"  {warning}", style="yellow")


def _summary(topology: Topology) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in _facts(topology):
        table.add_row(Text(name, style="bold"), Text(value))
    return table


def _facts(topology: Topology) -> Iterator[tuple[str, str]]:
    counts = [
        (len(topology.packages), "package"),
        (len(topology.dies), "die"),
        (len(topology.nodes), "NUMA node"),
        (len(topology.cores), "core"),
        (len(topology.online), "CPU"),
    ]
    yield "machine", ", ".join(_counted(count, noun) for count, noun in counts)
    yield "online", _named("CPU", topology.online)
    if topology.offline:
        yield "offline", _named("CPU", topology.offline)
    if topology.isolated:
        yield "isolated", _named("CPU", topology.isolated)
    if topology.nohz_full:
        yield "nohz_full", _named("CPU", topology.nohz_full)
    if topology.hybrid:
        yield "P-cores", _named("CPU", topology.performance)
        yield "E-cores", _named("CPU", topology.efficiency)
    yield "memory", _memory_total(topology)
    if any(cache.level == 2 for cache in topology.caches):
        yield "L2 caches", "; ".join(_l2_facts(topology))
    if topology.base_frequencies:
        yield (
            "base clock",
            "; ".join(f"{one.base_khz / 1e6:g} GHz on {_named('CPU', one.cpus)}" for one in topology.base_frequencies),
        )
    if topology.energy_preferences:
        yield (
            "energy",
            "; ".join(f"{one.preference} on {_named('CPU', one.cpus)}" for one in topology.energy_preferences),
        )


def _memory_total(topology: Topology) -> str:
    nodes = topology.nodes_by_kind
    kinds = [
        f"{human_size(topology.memory_of(nodes[kind]))} {kind.value} on {_named('NUMA node', nodes[kind])}"
        for kind in MemoryKind
        if nodes[kind]
    ]
    return ", ".join(kinds) or "none reported by the kernel"


def _l2_facts(topology: Topology) -> Iterator[str]:
    """Yield how many L2 caches there are of each size and width."""
    alike: dict[tuple[int, int], int] = {}
    for cache in topology.caches:
        if cache.level == 2:
            key = (cache.size, len(cache.cpus))
            alike[key] = alike.get(key, 0) + 1
    for (size, width), count in sorted(alike.items()):
        yield f"{count} x {human_size(size)} ({_counted(width, 'CPU')} each)"


def _package_tree(topology: Topology, package: Package) -> Tree:
    dies = [die for die in topology.dies if die.package == package.id]
    if len(dies) == 1:
        return _node_branch(topology, f"package {package.id}", package.cpus)
    tree = Tree(_label(f"package {package.id}", _cpus(topology, package.cpus)))
    for die in dies:
        tree.add(_node_branch(topology, f"die {die.id}", die.cpus))
    return tree


def _node_branch(topology: Topology, name: str, cpus: CPUSet) -> Tree:
    """Return a package or die with its NUMA nodes; an L3 cache that they all share is named once, beside it."""
    nodes = [topology.node(number) for number in topology.nodes_of(cpus)]
    caches = [cache for cache in topology.caches if cache.level == 3 and not cache.cpus.isdisjoint(cpus)]
    shared = len(nodes) > 1 and len(caches) == 1 and caches[0].cpus == cpus
    branch = Tree(_label(name, _cpus(topology, cpus), *(_l3(cache, cpus) for cache in caches if shared)))
    for node in nodes:
        branch.add(_node_leaf(topology, node, cpus, [] if shared else caches))
    return branch


def _node_leaf(topology: Topology, node: NumaNode, within: CPUSet, caches: list[CacheGroup]) -> Tree:
    cpus = node.cpus & within
    caches = [cache for cache in caches if not cache.cpus.isdisjoint(cpus)]
    rest = "" if cpus == node.cpus else f" of {node.cpus}"
    facts = [_cpus(topology, cpus) + rest, _memory(node)]
    if len(caches) < 2:
        facts += [_l3(cache, cpus) for cache in caches]
        return Tree(_label(f"NUMA node {node.id}", *facts, *_cores(topology, cpus)))
    leaf = Tree(_label(f"NUMA node {node.id}", *facts))
    for cache in caches:
        shared = cache.cpus & cpus
        leaf.add(_label(f"L3 {human_size(cache.size)}", _cpus(topology, shared), *_cores(topology, shared)))
    return leaf


def _memory_tree(topology: Topology, nodes: NodeSet) -> Tree:
    tree = Tree(Text("memory without CPUs", style="bold"))
    for number in nodes:
        tree.add(_label(f"NUMA node {number}", _memory(topology.node(number)), *_nearest(topology, number)))
    return tree


def _nearest(topology: Topology, number: int) -> Iterator[str]:
    for ring in topology.neighbours(number):
        if near := ring & topology.cpu_nodes:
            yield f"nearest to {_named('NUMA node', near)} (distance {topology.distance(number, near.lowest)})"
            return


def _memory(node: NumaNode) -> str:
    if node.kind is None:
        return "no memory"
    return f"{human_size(node.memory)} {node.kind.value}{'' if node.normal else ' (movable only)'}"


def _l3(cache: CacheGroup, cpus: CPUSet) -> str:
    shared = "" if cache.cpus == cpus else f" shared by {_named('CPU', cache.cpus)}"
    return f"L3 {human_size(cache.size)}{shared}"


def _cpus(topology: Topology, cpus: CPUSet) -> str:
    special = [("isolated", cpus & topology.isolated), ("nohz_full", cpus & topology.nohz_full)]
    marks = ", ".join(f"{name} {marked}" for name, marked in special if marked)
    return _named("CPU", cpus) + (f" ({marks})" if marks else "")


def _cores(topology: Topology, cpus: CPUSet) -> Iterator[str]:
    """Yield how the threads pair up, which efficiency cores there are, and the clusters."""
    cores = [core for core in topology.cores if core <= cpus]
    if threads := [core for core in cores if len(core) > 1]:
        yield f"cores {_series(threads)}"
    if topology.hybrid and (efficient := cpus & topology.efficiency):
        yield f"E-cores {efficient}"
    if clusters := [cluster.cpus for cluster in topology.clusters if cluster.cpus <= cpus]:
        yield f"clusters {' '.join(str(cluster) for cluster in clusters)}"


def _series(cores: list[CPUSet]) -> str:
    """Write cores as ``0+64 1+65 .. 7+71``, with the dots only where the reader can fill them in."""
    pairs = ["+".join(map(str, core)) for core in cores]
    step = cores[-1].lowest - cores[-2].lowest if len(cores) > 1 else 0
    regular = all(later.mask == earlier.mask << step for earlier, later in itertools.pairwise(cores))
    if len(cores) > _FEW_CORES and regular:
        return f"{pairs[0]} {pairs[1]} .. {pairs[-1]}"
    return " ".join(pairs)


def _distance_matrix(topology: Topology) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column()
    for _ in topology.nodes:
        table.add_column(justify="right")
    table.add_row(Text("distances", style="bold"), *(Text(str(node.id), style="bold") for node in topology.nodes))
    for node, row in zip(topology.nodes, topology.distances, strict=True):
        table.add_row(Text(f"NUMA node {node.id}"), *map(str, row))
    return table


def _distance_lists(topology: Topology) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(Text("distances", style="bold"), Text("nearest first"))
    for node in topology.nodes:
        rings = topology.neighbours(node.id)
        far = (f"{topology.distance(node.id, ring.lowest)} to {ring}" for ring in rings)
        table.add_row(f"NUMA node {node.id}", "; ".join(far))
    return table


def _label(name: str, *facts: str) -> Text:
    return Text.assemble((name, "bold"), "  ", ", ".join(facts))


def _named(noun: str, numbers: CPUSet | NodeSet) -> str:
    return f"{noun}{'' if len(numbers) == 1 else 's'} {numbers}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def human_size(size: int) -> str:
    """Write a size with the unit that suits it best and at most one decimal."""
    if not size:
        return "of unknown size"
    unit, factor = next(
        (unit, factor)
        for unit, factor in (("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1))
        if size >= factor
    )
    return f"{size / factor:.1f}".removesuffix(".0") + f" {unit}"
