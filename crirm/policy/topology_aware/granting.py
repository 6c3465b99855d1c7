"""Turning a choice into a grant: taking CPUs and memory, in a new place or in the one that a container has."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.policy.priorities import Priority
from crirm.policy.resizing import first_after, grown, kept_of
from crirm.policy.topology_aware.choice import Comparison
from crirm.policy.topology_aware.homes import housed, settled
from crirm.policy.topology_aware.machine import Machine
from crirm.policy.topology_aware.nearness import rings, take_near
from crirm.policy.topology_aware.pools import Pool
from crirm.policy.topology_aware.request import CPUClass, CPURequest, Request
from crirm.policy.topology_aware.state import Grant, PolicyState
from crirm.policy.topology_aware.supply import Supply


def grant_in(
    machine: Machine, state: PolicyState, request: Request, pool: int, kept: CPUSet = NO_CPUS, first: CPUSet = NO_CPUS
) -> PolicyState | None:
    """Return the state in which a container has what it asks for, in one pool; None where that cannot hold it.

    Args:
        machine: as pools.
        state: in which the container has nothing.
        request: what it asks for.
        pool: number of the pool.
        kept: exclusive CPUs that it has had so far and is to stay on, no more than it asks for.
        first: exclusive CPUs that it was created with.
    """
    supply = Supply(machine.pools, attrs.evolve(state, taken=state.taken | kept))
    exclusive = _exclusive(machine, supply, request, pool, kept, Comparison(machine, state, request).roomy)
    if exclusive is None:
        return None
    warm, began = request.memory.cold is None, first_after(first, exclusive)
    bare = Grant(pool, request.cpu, exclusive, request.memory, warm=warm, first=began)
    return settled(machine, state.with_grant(machine.pools, request.key, housed(machine, bare)))


def regrant(machine: Machine, state: PolicyState, request: Request, old: Grant) -> PolicyState | None:
    """Return the state in which a container has more or less than before, in its pool; None where that cannot hold it.

    It keeps the exclusive CPUs it has, all of them or as many as it asks for, unless the pool can only serve it anew.
    """
    kept = kept_by(machine, request.cpu, old)
    stayed = grant_in(machine, state, request, old.pool, kept, old.first)
    return stayed or grant_in(machine, state, request, old.pool)


def kept_by(machine: Machine, cpu: CPURequest, old: Grant) -> CPUSet:
    """Return the exclusive CPUs of its *old* grant that a container goes on using when it asks for *cpu*."""

    def take(free: CPUSet, count: int, near: CPUSet) -> CPUSet:
        return machine.allocator.take(free, count, Priority.HIGH, near)

    own, first = old.exclusive, old.first
    if cpu.threads > 1:
        own, first = (CPUSet.union(core for core in machine.topology.cores if core <= cpus) for cpus in (own, first))
    return kept_of(take, own, first, cpu.taken)


def _exclusive(
    machine: Machine, supply: Supply, request: Request, pool: int, kept: CPUSet, roomy: Callable[[Iterable[int]], bool]
) -> CPUSet | None:
    """Return the exclusive CPUs of a container that is put into *pool*, *kept* and new ones; None if it has no room."""
    cpu = request.cpu
    if cpu.cls is CPUClass.RESERVED:
        return NO_CPUS
    missing = attrs.evolve(cpu, full=cpu.full - len(kept) // cpu.threads)
    if kept:
        # Isolated and ordinary CPUs do not mix: the scheduler spreads no threads over isolated ones.
        missing = attrs.evolve(missing, isolate=kept <= machine.pools[pool].isolated)
        if not _keeps(machine.pools[pool], supply, missing, kept):
            return None
    if (missing.full or cpu.shared) and not supply.holds(pool, missing):
        return None
    if not missing.full:
        return kept
    near = rings(machine.topology, request.hints, machine.pools[pool].cpus) if request.hints else ()
    if len(near) > 1:
        return kept | take_near(machine.allocator, supply, missing, pool, kept, near)
    return kept | _more(machine, supply, missing, pool, kept, roomy)


def _keeps(place: Pool, supply: Supply, missing: CPURequest, kept: CPUSet) -> bool:
    """Tell whether *kept* can stay, and what is *missing* be of the same kind."""
    if missing.require and not missing.isolate:
        return False
    source = supply.isolated[place.id] if missing.isolate else supply.shared[place.id]
    return kept <= (place.isolated if missing.isolate else place.sharable) and len(source) >= missing.taken


def _more(
    machine: Machine,
    supply: Supply,
    missing: CPURequest,
    pool: int,
    kept: CPUSet,
    roomy: Callable[[Iterable[int]], bool],
) -> CPUSet:
    """Return the exclusive CPUs that a container with *kept* ones still needs, near these; *pool* has so many."""
    if missing.threads > 1:
        return supply.take_cores(machine.allocator, pool, missing, kept)
    if supply.serves_isolated(pool, missing):
        free, may = supply.isolated[pool], None
    else:
        free, may = supply.shared[pool], supply.spares
    near = grown(machine.allocator, free, missing.full, kept, may) if kept else None
    if near is not None:
        return near
    if may is None:
        return machine.allocator.take(free, missing.full, Priority.HIGH, kept)
    return supply.slice_off(machine.allocator, pool, missing.full, kept, roomy)
