"""The contract: what a container keeps (annotation ``keep``) is changed neither of our own accord nor for another.

CPUs: exclusive ones are never moved, and a container on shared CPUs stays on those that its pool had when it came. None
of these becomes exclusive, so a container that would need some goes elsewhere or is refused; and what its pool gets
back later, others use. Its own resize may give it more CPUs in its pool, beside those that it has.

Memory: the container stays on the memory nodes that it got when it came. It is never lifted from there, nor does it
come down. So whoever could use memory of these nodes that the container may need goes elsewhere, or is refused.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.workload import ContainerKey
from crirm.policy.topology_aware.homes import nodes_in
from crirm.policy.topology_aware.machine import Machine
from crirm.policy.topology_aware.memory_sets import KEPT
from crirm.policy.topology_aware.protection import room, uses
from crirm.policy.topology_aware.state import Grant, PolicyState


def with_kept(machine: Machine, state: PolicyState, key: ContainerKey, old: Grant | None = None) -> PolicyState:
    """Return *state*, settled, in which *key* stays from now on where it is, if it keeps something.

    Args:
        machine: as pools.
        state: in which *key* was just placed.
        key: the container.
        old: its grant before, if it was resized.
    """
    grant = state.granted(key)
    if grant.keep.cpus and grant.on_shared:
        grant = attrs.evolve(grant, kept=_kept_cpus(machine, state, grant, old))
    if grant.keep.memory and machine.sets.all_kinds:
        stays = old is not None and old.keep.memory and old.keeps_nodes
        place = old.place if old is not None and stays else (nodes_in(machine, state, grant), KEPT)
        grant = attrs.evolve(grant, place=place, held=False)
    return state.without_grant(machine.pools, key).with_grant(machine.pools, key, grant)


def _kept_cpus(machine: Machine, state: PolicyState, grant: Grant, old: Grant | None) -> CPUSet:
    """Return the shared CPUs on which a container stays: those it had, unless it needs more now."""
    had = old.kept if old is not None and old.pool == grant.pool and grant.cpu.part <= old.cpu.part else NO_CPUS
    return had - state.taken or machine.pools[grant.pool].sharable - state.taken


def disturbed(machine: Machine, before: PolicyState, after: PolicyState) -> ContainerKey | None:
    """Return a container that keeps its memory, and could not have what it may use any more in *after*; None if none.

    Args:
        machine: as pools.
        before: settled.
        after: settled, and decided about now.
    """
    if not any(grant.keep.memory and grant.memory.use for grant in after.keeping.values()):
        return None
    now, then = (uses(machine.sets, state.claims, state.lifted) for state in (after, before))
    for key, grant in sorted(after.keeping.items()):
        if grant.keep.memory and grant.memory.use and _risk(machine, grant, now) > max(_risk(machine, grant, then), 0):
            return key
    return None


def _risk(machine: Machine, grant: Grant, loads: Mapping[int, int]) -> int:
    """Return by how many bytes more may be used of a container's nodes than they have, where that is not to be."""
    nodes = machine.sets.chain(*grant.home)[0]
    last = machine.sets.chain(machine.root.id, grant.home[1])
    return 0 if last and nodes == last[-1] else -room(machine.sets, nodes, loads)


def in_place(old: Grant, new: Grant) -> bool:
    """Whether a resize from *old* to *new* leaves the container on CPUs that it had, or gives it others beside them."""
    if old.pool != new.pool or old.cpu.cls is not new.cpu.cls:
        return False
    return old.exclusive <= new.exclusive or new.exclusive <= old.exclusive


def keeper_of(state: PolicyState, cpus: CPUSet) -> ContainerKey | None:
    """Return a container that keeps shared CPUs among *cpus*."""
    return next((key for key, grant in sorted(state.keeping.items()) if not grant.kept.isdisjoint(cpus)), None)


def without_keepers(state: PolicyState) -> PolicyState:
    """Return *state* as it would be if nobody kept CPUs."""
    return attrs.evolve(state, keeping={})
