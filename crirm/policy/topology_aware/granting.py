"""Turning a choice into a grant: taking CPUs and memory, in a new place or in the one that a container has."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.policy.annotations import Keep
from crirm.policy.priorities import Priority
from crirm.policy.topology_aware.choice import Comparison
from crirm.policy.topology_aware.homes import housed, settled
from crirm.policy.topology_aware.keeping import with_kept
from crirm.policy.topology_aware.machine import Machine
from crirm.policy.topology_aware.request import CPUClass, CPURequest, Request
from crirm.policy.topology_aware.state import Grant, PolicyState
from crirm.policy.topology_aware.supply import Supply


def grant_in(
    machine: Machine, state: PolicyState, request: Request, pool: int, kept: CPUSet = NO_CPUS, old: Grant | None = None
) -> PolicyState | None:
    """Return the state in which a container has what it asks for, in one pool; None where that cannot hold it.

    Args:
        machine: as pools.
        state: in which the container has nothing.
        request: what it asks for.
        pool: number of the pool.
        kept: exclusive CPUs that it has had so far and is to stay on, no more than it asks for.
        old: what it had, if it is resized.
    """
    supply = Supply(machine.pools, attrs.evolve(state, taken=state.taken | kept))
    exclusive = _exclusive(machine, supply, request.cpu, pool, kept, Comparison(machine, state, request).roomy)
    if exclusive is None:
        return None
    warm = request.memory.cold is None
    bare = housed(machine, Grant(pool, request.cpu, exclusive, request.memory, warm, keep=request.keep))
    placed = settled(machine, state.with_grant(machine.pools, request.key, bare))
    return placed if request.keep is Keep.NOTHING else settled(machine, with_kept(machine, placed, request.key, old))


def regrant(machine: Machine, state: PolicyState, request: Request, old: Grant) -> PolicyState | None:
    """Return the state in which a container has more or less than before, in its pool; None where that cannot hold it.

    It keeps the exclusive CPUs it has, all of them or as many as it asks for, unless the pool can only serve it anew.
    """
    kept = kept_of(machine, request.cpu, old.exclusive)
    stayed = grant_in(machine, state, request, old.pool, kept, old)
    return stayed or grant_in(machine, state, request, old.pool, old=old)


def kept_of(machine: Machine, cpu: CPURequest, exclusive: CPUSet) -> CPUSet:
    """Return the CPUs out of *exclusive* that a container goes on using when it asks for *cpu*."""
    return machine.allocator.take(exclusive, min(cpu.full, len(exclusive)), Priority.HIGH)


def _exclusive(
    machine: Machine, supply: Supply, cpu: CPURequest, pool: int, kept: CPUSet, roomy: Callable[[Iterable[int]], bool]
) -> CPUSet | None:
    """Return the exclusive CPUs of a container that is put into *pool*, *kept* and new ones; None if it has no room."""
    if cpu.cls is CPUClass.RESERVED:
        return NO_CPUS
    place = machine.pools[pool]
    missing = attrs.evolve(cpu, full=cpu.full - len(kept))
    if kept:
        # Isolated and ordinary CPUs do not mix: the scheduler spreads no threads over isolated ones.
        missing = attrs.evolve(missing, isolate=kept <= place.isolated)
        source = supply.isolated[pool] if missing.isolate else supply.shared[pool]
        if not kept <= (place.isolated if missing.isolate else place.sharable) or len(source) < missing.full:
            return None
    if (missing.full or cpu.shared) and not supply.holds(pool, missing):
        return None
    if not missing.full:
        return kept
    if supply.serves_isolated(pool, missing):
        return kept | machine.allocator.take(supply.isolated[pool], missing.full, Priority.HIGH, kept)
    return kept | supply.slice_off(machine.allocator, pool, missing.full, kept, roomy)
