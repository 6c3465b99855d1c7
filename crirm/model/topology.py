"""The machine: its packages, dies, cores, caches, NUMA nodes and memory, as one frozen value.

Rules that hold for every `Topology`, checked when one is made (see `check`), so that policies need not ask:

- every online CPU is in exactly one package, one die, one core and one NUMA node, and offline CPUs are in none of them;
- a die is named by its package and its number, since kernels count dies per package or per machine as they like; a core
  lies within one die;
- clusters and cache groups need not exist, and those of one kind (or level) never overlap;
- NUMA nodes may span packages (NUMA switched off), have no CPUs (PMEM, HBM, CXL) or no memory; none has neither;
- distances are symmetric, and every node is nearest to itself;
- everything is sorted, so equal machines are equal values.

Queries that policies make per container use indexes that are built once, on first use.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import attrs

from crirm.errors import CrirmError
from crirm.model.cpuset import NO_CPUS, CPUSet, NodeSet
from crirm.model.quantity import Bytes


class MemoryKind(enum.Enum):
    """The kind of memory of a NUMA node, as far as placement is concerned."""

    DRAM = "DRAM"
    PMEM = "PMEM"
    HBM = "HBM"
    CXL = "CXL"
    """Memory behind a CXL link, or other memory that the kernel ranks as slower than DRAM."""


@attrs.frozen
class Package:
    """A processor package (socket)."""

    id: int
    cpus: CPUSet


@attrs.frozen
class Die:
    """A die of a package."""

    package: int
    id: int
    cpus: CPUSet


@attrs.frozen
class Cluster:
    """A group of cores within a die that share more than the die's other cores do, such as an L2 cache."""

    package: int
    die: int
    id: int
    cpus: CPUSet


@attrs.frozen
class CacheGroup:
    """The CPUs that share one L2 or L3 cache."""

    level: int
    id: int | None
    """The kernel's number, which resctrl uses for its domains; None where the kernel gives none."""
    size: Bytes
    """0 if unknown."""
    cpus: CPUSet


@attrs.frozen
class NumaNode:
    """A NUMA node."""

    id: int
    cpus: CPUSet
    memory: Bytes
    kind: MemoryKind | None
    """None for a node without memory."""
    normal: bool
    """Whether the kernel may put its own data here (``has_normal_memory``); every container needs one such node."""


@attrs.frozen
class FrequencyBin:
    """The CPUs with one guaranteed base frequency."""

    base_khz: int
    cpus: CPUSet


@attrs.frozen
class EnergyPreference:
    """The CPUs with one energy-performance preference (EPP), such as ``performance`` or ``balance_power``."""

    preference: str
    cpus: CPUSet


@attrs.frozen
class Topology:
    """A machine; the module lists its invariants."""

    online: CPUSet
    packages: tuple[Package, ...]
    dies: tuple[Die, ...]
    cores: tuple[CPUSet, ...]
    """The hardware threads of every core."""
    nodes: tuple[NumaNode, ...]
    distances: tuple[tuple[int, ...], ...]
    """Rows and columns in the order of `nodes`."""
    clusters: tuple[Cluster, ...] = ()
    """Only those that hold more than one core."""
    caches: tuple[CacheGroup, ...] = ()
    """L2 groups, then L3 groups."""
    offline: CPUSet = NO_CPUS
    """Present in the machine but offline."""
    isolated: CPUSet = NO_CPUS
    """Online CPUs excluded from the scheduler's balancing (``isolcpus``)."""
    nohz_full: CPUSet = NO_CPUS
    """Online CPUs without a regular tick (``nohz_full``)."""
    efficiency: CPUSet = NO_CPUS
    """The efficiency cores (E-cores) of a hybrid machine; empty on all others."""
    base_frequencies: tuple[FrequencyBin, ...] = ()
    energy_preferences: tuple[EnergyPreference, ...] = ()

    def __attrs_post_init__(self) -> None:
        check(self)

    @property
    def hybrid(self) -> bool:
        """Whether there are performance cores and efficiency cores."""
        return bool(self.efficiency)

    @property
    def performance(self) -> CPUSet:
        """The online CPUs that are not efficiency cores."""
        return self.online - self.efficiency

    def die_of(self, cpu: int) -> Die:
        """Return the die of an online CPU."""
        return self._die_by_cpu[cpu]

    def core_of(self, cpu: int) -> CPUSet:
        """Return the hardware threads of the core of an online CPU, itself included."""
        return self._core_by_cpu[cpu]

    def node_of(self, cpu: int) -> NumaNode:
        """Return the NUMA node of an online CPU."""
        return self._node_by_cpu[cpu]

    def node(self, number: int) -> NumaNode:
        """Return the NUMA node with this number."""
        return self.nodes[self._node_index[number]]

    def distance(self, one: int, other: int) -> int:
        """Return the distance of two NUMA nodes; 10 is local."""
        return self.distances[self._node_index[one]][self._node_index[other]]

    def neighbours(self, number: int) -> tuple[NodeSet, ...]:
        """Return all other nodes as seen from node *number*: nearest first, equally near ones together."""
        return self._neighbours[number]

    def nodes_of(self, cpus: CPUSet) -> NodeSet:
        """Return the NUMA nodes that any of *cpus* belongs to."""
        return NodeSet(node.id for node in self.nodes if not node.cpus.isdisjoint(cpus))

    def memory_of(self, nodes: NodeSet, kind: MemoryKind | None = None) -> Bytes:
        """Return the memory of *nodes*, all of it or that of one *kind*."""
        held = (self.node(number) for number in nodes)
        return Bytes(sum(node.memory for node in held if kind is None or node.kind is kind))

    @cached_property
    def threads(self) -> int:
        """The hardware threads of the cores that have the most."""
        return max(len(core) for core in self.cores)

    @cached_property
    def node_ids(self) -> NodeSet:
        """All NUMA nodes."""
        return NodeSet(node.id for node in self.nodes)

    @cached_property
    def cpu_nodes(self) -> NodeSet:
        """The NUMA nodes with CPUs."""
        return NodeSet(node.id for node in self.nodes if node.cpus)

    @cached_property
    def memory_nodes(self) -> NodeSet:
        """The NUMA nodes with memory, the only ones that ``cpuset.mems`` may name."""
        return NodeSet(node.id for node in self.nodes if node.memory)

    @cached_property
    def normal_nodes(self) -> NodeSet:
        """The NUMA nodes with memory that is not only movable."""
        return NodeSet(node.id for node in self.nodes if node.normal)

    @cached_property
    def nodes_by_kind(self) -> Mapping[MemoryKind, NodeSet]:
        """The NUMA nodes with each kind of memory; every kind has an entry."""
        return {kind: NodeSet(node.id for node in self.nodes if node.kind is kind) for kind in MemoryKind}

    @cached_property
    def _die_by_cpu(self) -> dict[int, Die]:
        return {cpu: die for die in self.dies for cpu in die.cpus}

    @cached_property
    def _core_by_cpu(self) -> dict[int, CPUSet]:
        return {cpu: core for core in self.cores for cpu in core}

    @cached_property
    def _node_by_cpu(self) -> dict[int, NumaNode]:
        return {cpu: node for node in self.nodes for cpu in node.cpus}

    @cached_property
    def _node_index(self) -> dict[int, int]:
        return {node.id: index for index, node in enumerate(self.nodes)}

    @cached_property
    def _neighbours(self) -> dict[int, tuple[NodeSet, ...]]:
        return {
            node.id: tuple(_rings(node.id, self.node_ids, row))
            for node, row in zip(self.nodes, self.distances, strict=True)
        }


def _rings(number: int, nodes: Iterable[int], row: tuple[int, ...]) -> Iterator[NodeSet]:
    far = {other: distance for other, distance in zip(nodes, row, strict=True) if other != number}
    for distance in sorted(set(far.values())):
        yield NodeSet(other for other in far if far[other] == distance)


# --- the rules ----------------------------------------------------------------------------------------------------


class TopologyError(CrirmError, ValueError):
    """A description of a machine is inconsistent."""


def check(topology: Topology) -> None:
    """Check the invariants of a machine.

    Raises:
        TopologyError: the first violated invariant.
    """
    for fault in _faults(topology):
        raise TopologyError(f"inconsistent machine: {fault}")


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
            yield f"the {name} are not in ascending order, or one occurs twice"


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
        yield f"expected {len(ids)} rows of {len(ids)} distances, one for each of NUMA nodes {ids}"
        return
    if rows != tuple(zip(*rows, strict=True)):
        yield "the distances of NUMA nodes are not symmetric"
    if any(other <= row[at] for at, row in enumerate(rows) for to, other in enumerate(row) if at != to):
        yield "a NUMA node is as near to another one as to itself"


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


def fewest(sizes: Iterable[int], wanted: int) -> int:
    """Return how many groups of these *sizes* are needed for so many CPUs; all of them where they have fewer."""
    count = 0
    for size in sorted(sizes, reverse=True):
        if wanted <= 0:
            break
        wanted, count = wanted - size, count + 1
    return count
