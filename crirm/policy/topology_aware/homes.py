"""Where the memory of a container belongs: with its CPUs.

A container on shared CPUs belongs to its pool. One that only has exclusive CPUs belongs to the NUMA nodes of these,
whatever its pool is, as far as they have the kinds of memory that its pool has for it. That is where it *naturally*
belongs; `protection` lifts it from there while there is too little room. To let it begin higher would spare nobody: it
may use these nodes all the same, so who is confined to them is at risk all the same.

Older versions had the memory of such a container at its pool. A start of crirm migrates nothing, so one that was saved
by them is *held* there, and comes down with the next release or resize of any container.
"""

from __future__ import annotations

import attrs

from crirm.model.workload import ContainerKey
from crirm.policy.topology_aware.machine import Machine
from crirm.policy.topology_aware.memory_sets import Place
from crirm.policy.topology_aware.protection import settle
from crirm.policy.topology_aware.state import Grant, PolicyState


def settled(machine: Machine, state: PolicyState) -> PolicyState:
    """Return *state* with everybody's memory where it now has to be."""
    return attrs.evolve(state, lifted=settle(machine.sets, state.claims))


def housed(machine: Machine, grant: Grant) -> Grant:
    """Return *grant* with the place where its memory naturally belongs."""
    return attrs.evolve(grant, place=_natural(machine, grant), held=False)


def held(machine: Machine, grant: Grant, nodes: int) -> Grant:
    """Return *grant* with the place at which its memory may use *nodes* (a mask, of its chain) or more."""
    mask, chain = _mask(machine, grant), full_chain(machine, grant)
    step = next((step for step, some in enumerate(chain) if not nodes & ~some), max(len(chain) - 1, 0))
    return attrs.evolve(grant, place=(mask, step), held=True)


def come_down(machine: Machine, state: PolicyState) -> PolicyState:
    """Return *state*, settled: with everybody's memory on as few nodes as possible now."""
    for key in sorted(state.held):
        state = _with(machine, state, key, housed(machine, state.granted(key)))
    return settled(machine, state)


def full_chain(machine: Machine, grant: Grant) -> tuple[int, ...]:
    """Return the node sets, as masks, at which the memory of a container with *grant* may be held."""
    return machine.sets.chain((_mask(machine, grant), 0), grant.home[1])


def own_nodes(machine: Machine, grant: Grant) -> int:
    """Return the memory nodes, as a mask, that a container with *grant* has where there is room enough."""
    chain = machine.sets.chain(_natural(machine, grant), grant.home[1])
    return chain[0] if chain else 0


def nodes_in(machine: Machine, state: PolicyState, grant: Grant) -> int:
    """Return the memory nodes, as a mask, of a container with *grant*; 0 if the machine reports no memory."""
    chain = machine.sets.chain(*grant.home)
    return chain[state.lifted.get(grant.home, 0) if grant.memory.use else 0] if chain else 0


def _natural(machine: Machine, grant: Grant) -> Place:
    if grant.on_shared or not grant.own:
        return grant.pool
    mask = _mask(machine, grant)
    return mask, machine.sets.first_step(mask, grant.pool, grant.home[1])


def _mask(machine: Machine, grant: Grant) -> int:
    """Return the NUMA nodes with CPUs that a grant is about."""
    alone = grant.own and not grant.on_shared
    return machine.nodes_of(grant.own if alone else machine.pools[grant.pool].cpus)


def _with(machine: Machine, state: PolicyState, key: ContainerKey, grant: Grant) -> PolicyState:
    return state.without_grant(machine.pools, key).with_grant(machine.pools, key, grant)
