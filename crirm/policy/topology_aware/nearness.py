"""Which CPUs of a pool are nearest to the devices and disks that a container uses.

A CPU that a hint is about is as near as can be. Any other CPU is as far from it as its NUMA node is from the nearest
of the nodes of these CPUs. The distances to all that is hinted at are added, so that the CPUs of a pool fall into
*rings*, the nearest first. Exclusive CPUs are taken from one ring after the other, as far as they can be spared. Of a
ring that has more than enough, they are of as few places (see `pools`) as possible: the largest first, the rest of the
one with the fewest CPUs that has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.topology import NumaNode, Topology
from crirm.model.workload import TopologyHint
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.priorities import Priority
from crirm.policy.topology_aware.request import CPURequest
from crirm.policy.topology_aware.supply import Supply


@attrs.frozen
class Ring:
    """CPUs that are equally far from all that is hinted at.

    Args:
        distance: the sum; 0 for CPUs that are next to all of it.
        cpus: they.
    """

    distance: int
    cpus: CPUSet


def rings(topology: Topology, hints: Iterable[TopologyHint], cpus: CPUSet) -> tuple[Ring, ...]:
    """Return the rings that *cpus* fall into, the nearest first."""
    about = [near for hint in hints if (near := _cpus_of(topology, hint))]
    found: dict[int, CPUSet] = {}
    for node in topology.nodes:
        for distance, part in _parts(topology, about, node, cpus & node.cpus):
            found[distance] = found.get(distance, NO_CPUS) | part
    return tuple(Ring(distance, found[distance]) for distance in sorted(found))


def take_near(
    allocator: CPUAllocator, supply: Supply, request: CPURequest, pool: int, kept: CPUSet, near: Iterable[Ring]
) -> CPUSet:
    """Return the exclusive CPUs of *request*, out of the isolated ones if they serve, else out of the shared ones.

    Args:
        allocator: chooses among CPUs that are equally near.
        supply: what the pools have left.
        request: what is wanted.
        pool: number of a pool that holds it.
        kept: CPUs that the container has already.
        near: the rings that the CPUs of the pool fall into.
    """
    if supply.serves_isolated(pool, request):
        return _from_rings(allocator, supply, request, pool, supply.isolated[pool], kept, near)
    cpus = _from_rings(allocator, supply, request, pool, supply.loose[pool], kept, near)
    if supply.spares(cpus):
        return cpus
    removable = supply.removable(allocator, pool, request.threads, kept)
    return _from_rings(allocator, supply, request, pool, removable, kept, near)


def _from_rings(
    allocator: CPUAllocator,
    supply: Supply,
    request: CPURequest,
    pool: int,
    source: CPUSet,
    kept: CPUSet,
    near: Iterable[Ring],
) -> CPUSet:
    taken, whole = NO_CPUS, source if request.threads == 1 else supply.cores(pool, source)
    for ring in near:
        # A core that lies in two rings is in the further one.
        free = whole & ring.cpus if request.threads == 1 else supply.cores(pool, whole & ring.cpus)
        left = min(request.taken - len(taken), len(free))
        for part in _of_few_places(allocator, supply, free, left) if request.threads == 1 and not kept else ():
            count = min(left, len(part))
            taken |= allocator.take(part, count, Priority.HIGH, kept | taken)
            left -= count
        taken |= allocator.take(free - taken, left, Priority.HIGH, kept | taken)
    rest = request.taken - len(taken)
    return taken | allocator.take(whole - taken, rest, Priority.HIGH, kept | taken) if rest else taken


def _of_few_places(allocator: CPUAllocator, supply: Supply, free: CPUSet, count: int) -> Iterator[CPUSet]:
    """Yield what to take *count* CPUs of *free* from, all of one before the next; none where that is not to be told."""
    parts = [part for place in supply.places if (part := free & place)]
    if count == len(free) or len(parts) < 2 or not allocator.alike(free):
        return
    parts.sort(key=len, reverse=True)
    while count > 0 and parts:
        enough = [part for part in parts if len(part) >= count]
        part = min(enough, key=len) if enough else parts[0]
        parts.remove(part)
        yield part
        count -= len(part)


def _cpus_of(topology: Topology, hint: TopologyHint) -> CPUSet:
    """Return the CPUs that a hint is about; those nearest to it where its nodes have none."""
    if hint.cpus:
        return hint.cpus & topology.online
    if hint.nodes:
        there = hint.nodes & topology.node_ids
        own = CPUSet.union(topology.node(number).cpus for number in there)
        return own or CPUSet.union(_nearest(topology, number) for number in there)
    packages = hint.packages or frozenset()
    return CPUSet.union(package.cpus for package in topology.packages if package.id in packages)


def _nearest(topology: Topology, number: int) -> CPUSet:
    """Return the CPUs that are nearest to a NUMA node without any."""
    around = (nodes & topology.cpu_nodes for nodes in topology.neighbours(number))
    nearest = next((nodes for nodes in around if nodes), topology.cpu_nodes)
    return CPUSet.union(topology.node(node).cpus for node in nearest)


def _parts(topology: Topology, about: Iterable[CPUSet], node: NumaNode, cpus: CPUSet) -> Iterable[tuple[int, CPUSet]]:
    """Return *cpus*, which are of *node*, by their distance."""
    parts = {0: cpus}
    for near in about:
        away = min(topology.distance(node.id, other) for other in topology.nodes_of(near))
        divided: dict[int, CPUSet] = {}
        for distance, part in parts.items():
            for more, some in ((0, part & near), (away, part - near)):
                divided[distance + more] = divided.get(distance + more, NO_CPUS) | some
        parts = divided
    return ((distance, part) for distance, part in parts.items() if part)
