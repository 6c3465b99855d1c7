"""The description of a synthetic host: a few numbers that define a whole machine."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, TypeVar

import attrs

from crirm.errors import UsageError
from crirm.model.cpuset import NO_CPUS, NO_NODES, CPUSet, NodeSet
from crirm.model.quantity import Bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crirm.model.topology import MemoryKind

MAX_CPUS = 8192
"""As many as Linux can be built for on x86."""

ECORES_PER_CLUSTER = 4

_Value = TypeVar("_Value")

GIB = 1 << 30


class HostSpecError(UsageError, ValueError):
    """The description of a synthetic host is invalid."""


@attrs.frozen
class MemoryOnlyNode:
    """A NUMA node without CPUs."""

    kind: MemoryKind
    size: Bytes
    near: int
    """Which of the NUMA nodes with CPUs, counted from 0, it is attached to."""


@attrs.frozen
class HostSpec:
    """A synthetic host; counts are per enclosing group, from packages inwards to threads."""

    packages: int = 1
    dies: int = 1
    nodes: int = 1
    """NUMA nodes in each die; 0 for a kernel with NUMA switched off."""
    l3s: int = 0
    """L3 groups in each NUMA node; 0 for one L3 cache per die."""
    clusters: int = 0
    """Clusters of cores in each L3 group (or NUMA node), sharing an L2 cache; 0 for none."""
    cores: int = 1
    threads: int = 1
    ecores: int = 0
    """Single-threaded efficiency cores in each NUMA node beside its other cores, in clusters of four."""
    memory: tuple[Bytes, ...] = (Bytes(16 * GIB),)
    """Of the NUMA nodes with CPUs: one size for all, or one for each; 0 for a node without memory."""
    memory_only: tuple[MemoryOnlyNode, ...] = ()
    movable: NodeSet = NO_NODES
    """Nodes whose memory the kernel may not use for itself."""
    node_ids: tuple[int, ...] = ()
    """Numbers of the NUMA nodes in ascending order, memory-only nodes last; empty for 0, 1, 2 ..."""
    distances: tuple[tuple[int, ...], ...] = ()
    """Of all NUMA nodes; empty for usual ones."""
    isolated: CPUSet = NO_CPUS
    nohz_full: CPUSet = NO_CPUS
    offline: CPUSet = NO_CPUS
    holes: CPUSet = NO_CPUS
    """Numbers that no CPU has."""
    adjacent_threads: bool = False
    """Whether the threads of a core are numbered in a row; else all first threads come before all second ones."""
    l2_size: Bytes = Bytes(2 << 20)  # noqa: RUF009 - a NewType is no call
    l3_size: Bytes = Bytes(32 << 20)  # noqa: RUF009 - a NewType is no call
    base_khz: tuple[tuple[int, CPUSet], ...] = ()
    """Base frequencies and the CPUs that have them, none meaning all; a later entry wins."""
    preferences: tuple[tuple[str, CPUSet], ...] = ()
    """Energy-performance preferences, likewise."""

    def __attrs_post_init__(self) -> None:
        for fault in _faults(self):
            raise HostSpecError(f"synthetic host: {fault}")

    @property
    def cpu_nodes(self) -> int:
        """How many NUMA nodes have CPUs (or had, before they were switched off)."""
        return self.packages * self.dies * self.nodes if self.nodes else 1

    @property
    def all_node_ids(self) -> tuple[int, ...]:
        """The numbers of all NUMA nodes, those with CPUs first."""
        return self.node_ids or tuple(range(self.cpu_nodes + len(self.memory_only)))

    def memory_of(self, position: int) -> Bytes:
        """Return the memory of the NUMA node at *position* among all."""
        if position >= self.cpu_nodes:
            return self.memory_only[position - self.cpu_nodes].size
        return self.memory[0] if len(self.memory) == 1 else self.memory[position]


@attrs.frozen
class Slot:
    """The place of one CPU in the machine; all numbers but *cpu* count from 0 over the whole machine."""

    cpu: int
    package: int
    die: int
    """Within its package."""
    node: int
    l3: int
    l2: int
    cluster: int | None
    core: int
    efficient: bool


def slots(spec: HostSpec) -> list[Slot]:
    """Return the places of all CPUs, offline ones included, in ascending order of CPU numbers."""
    cores = [(core, spec.threads if not core.efficient else 1) for core in _cores(spec)]
    if spec.adjacent_threads:
        places = [core for core, threads in cores for _ in range(threads)]
    else:
        places = [core for thread in range(spec.threads) for core, threads in cores if thread < threads]
    numbers = itertools.filterfalse(spec.holes.__contains__, itertools.count())
    return [attrs.evolve(place, cpu=cpu) for place, cpu in zip(places, numbers, strict=False)]


def _cores(spec: HostSpec) -> Iterator[Slot]:
    """Yield the place of every core, not yet numbered as a CPU."""
    core, cluster, l2 = itertools.count(), itertools.count(), itertools.count()
    dies = itertools.product(range(spec.packages), range(spec.dies), range(max(spec.nodes, 1)))
    for position, (package, die, _) in enumerate(dies):
        node = position if spec.nodes else 0
        l3 = package * spec.dies + die
        for group in range(max(spec.l3s, 1)):
            l3 = position * spec.l3s + group if spec.l3s else l3
            for _ in range(max(spec.clusters, 1)):
                inside, cache = (next(cluster), next(l2)) if spec.clusters else (None, -1)
                for _ in range(spec.cores):
                    own = cache if spec.clusters else next(l2)
                    yield Slot(-1, package, die, node, l3, own, inside, next(core), efficient=False)
        for ecore in range(spec.ecores):
            if ecore % ECORES_PER_CLUSTER == 0:
                inside, cache = next(cluster), next(l2)
            yield Slot(-1, package, die, node, l3, cache, inside, next(core), efficient=True)


def usual_distances(spec: HostSpec) -> tuple[tuple[int, ...], ...]:
    """Return the distances of the spec, or else usual ones.

    Those are 11 within a die, 12 within a package and 21 beyond; memory-only nodes lie where the node they are
    attached to lies, and 7 further.
    """
    if spec.distances:
        return spec.distances
    homes = [*range(spec.cpu_nodes), *(extra.near for extra in spec.memory_only)]

    def far(one: int, other: int) -> int:
        if one == other:
            return 10
        extra = 7 if max(one, other) >= spec.cpu_nodes else 0
        return extra + _far(homes[one], homes[other], max(spec.nodes, 1), spec.dies)

    return tuple(tuple(far(one, other) for other in range(len(homes))) for one in range(len(homes)))


def _far(one: int, other: int, per_die: int, dies: int) -> int:
    if one == other:
        return 10
    if one // per_die == other // per_die:
        return 11
    return 12 if one // (per_die * dies) == other // (per_die * dies) else 21


def chosen(settings: tuple[tuple[_Value, CPUSet], ...], cpu: int) -> _Value | None:
    """Return the last value of *settings* that applies to *cpu*, if one does."""
    return next((value for value, cpus in reversed(settings) if not cpus or cpu in cpus), None)


def _faults(spec: HostSpec) -> Iterator[str]:
    for name in ("packages", "dies", "cores", "threads"):
        if getattr(spec, name) < 1:
            yield f"{name} is {getattr(spec, name)}; must be 1 or more"
    for name in ("nodes", "l3s", "clusters", "ecores"):
        if getattr(spec, name) < 0:
            yield f"{name} is {getattr(spec, name)}; must be 0 or more"
    inner = max(spec.l3s, 1) * max(spec.clusters, 1) * spec.cores * spec.threads + spec.ecores
    count = spec.packages * spec.dies * max(spec.nodes, 1) * inner
    if count > MAX_CPUS:
        yield f"{count} CPUs; the limit is {MAX_CPUS}"
    numbers = CPUSet(slot.cpu for slot in slots(spec))
    for name in ("isolated", "nohz_full", "offline"):
        if stray := getattr(spec, name) - numbers:
            yield f"{name} names CPUs {stray}, but its CPUs are {numbers}"
    if spec.offline == numbers:
        yield "all CPUs are offline; at least one must be online"
    yield from _node_faults(spec)


def _node_faults(spec: HostSpec) -> Iterator[str]:
    count = spec.cpu_nodes + len(spec.memory_only)
    if not spec.nodes and (spec.memory_only or spec.node_ids or spec.distances):
        yield "memory-only nodes, node numbers and distances need NUMA (not 0n)"
    if len(spec.memory) not in {1, spec.cpu_nodes}:
        yield f"{len(spec.memory)} memory sizes for {spec.cpu_nodes} NUMA nodes with CPUs; give one, or one for each"
    for size in (*spec.memory, *(extra.size for extra in spec.memory_only), spec.l2_size, spec.l3_size):
        if size < 0 or size % 1024:
            yield f"a size of {size} bytes; the kernel counts in KiB, so write 1Gi, not 1G"
    for extra in spec.memory_only:
        if not 0 <= extra.near < spec.cpu_nodes:
            yield f"memory is attached to NUMA node {extra.near}, but those with CPUs are 0 to {spec.cpu_nodes - 1}"
        if extra.size <= 0:
            yield "a NUMA node without CPUs needs memory"
    if spec.node_ids and (len(spec.node_ids) != count or list(spec.node_ids) != sorted(set(spec.node_ids))):
        yield f"{len(spec.node_ids)} node numbers for {count} NUMA nodes; give one for each, ascending"
    if stray := spec.movable - NodeSet(spec.all_node_ids):
        yield f"movable NUMA nodes {stray} do not exist"
    yield from _distance_faults(spec.distances, count)


def _distance_faults(rows: tuple[tuple[int, ...], ...], count: int) -> Iterator[str]:
    if not rows:
        return
    if len(rows) != count or any(len(row) != count for row in rows):
        yield f"expected {count} rows of {count} distances, one for each NUMA node"
        return
    if rows != tuple(zip(*rows, strict=True)):
        yield "the distances are not symmetric"
    for one, row in enumerate(rows):
        if row[one] != 10 or any(far <= 10 for far in row[:one]):
            yield "distances must be 10 to the node itself and more than 10 to others"
