"""The effect of a changed policy state on containers: their adjustments, and why they changed."""

from __future__ import annotations

from collections.abc import Collection
from functools import cached_property

import attrs

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.decision import NO_QUOTA, Adjustment
from crirm.model.trail import Move
from crirm.model.workload import ContainerKey
from crirm.policy.topology_aware.homes import nodes_in, own_nodes
from crirm.policy.topology_aware.machine import Machine
from crirm.policy.topology_aware.options import TopologyAwareOptions
from crirm.policy.topology_aware.protection import Home
from crirm.policy.topology_aware.request import CPUClass
from crirm.policy.topology_aware.state import Grant, PolicyState


@attrs.frozen(eq=False)
class Adjuster:
    """Says what containers have in one state."""

    machine: Machine
    options: TopologyAwareOptions
    state: PolicyState
    _shared: dict[int, CPUSet] = attrs.field(factory=dict, init=False)

    def adjustment(self, grant: Grant) -> Adjustment:
        """Return the adjustment of the container with *grant*."""
        cpus = self.cpus(grant) if self.options.pin_cpu else None
        shares = grant.cpu.shares if self.options.pin_cpu else None
        mems = self.mems(grant) if self.options.pin_memory else None
        alone = self.options.pin_cpu and grant.own and not grant.on_shared
        return Adjustment(cpus, mems or None, shares, NO_QUOTA if alone else None)

    def cpus(self, grant: Grant) -> CPUSet:
        """Return the CPUs that the container with *grant* runs on."""
        if grant.cpu.cls is CPUClass.RESERVED:
            return self.machine.pools[grant.pool].reserved
        own = self.machine.used(grant.exclusive) if grant.cpu.threads > 1 else grant.own
        return own | self.shared(grant.pool) if grant.on_shared else own

    def mems(self, grant: Grant) -> NodeSet:
        """Return the memory nodes of the container with *grant*; empty if the machine reports no memory."""
        return NodeSet.from_mask(nodes_in(self.machine, self.state, grant))

    def shared(self, pool: int) -> CPUSet:
        """Return the shared CPUs of a pool."""
        if pool not in self._shared:
            self._shared[pool] = self.machine.pools[pool].sharable - self.state.taken
        return self._shared[pool]


@attrs.define
class Changes:
    """The differences of a later state.

    Args:
        adjustments: of all containers for which they are, the subject of the change included.
        moves: of all others.
    """

    adjustments: dict[ContainerKey, Adjustment] = attrs.field(factory=dict)
    moves: list[Move] = attrs.field(factory=list)


def changes(before: Adjuster, after: Adjuster, subject: ContainerKey, name: str) -> Changes:
    """Return the differences after a change of *subject*.

    Args:
        before: what was.
        after: what is.
        subject: the container that the change was about.
        name: of it, for people.
    """
    result = Changes()
    grant = after.state.grant(subject)
    if grant is not None:
        result.adjustments[subject] = after.adjustment(grant)
    old, new = before.state, after.state
    homes = {home for home in old.lifted.keys() | new.lifted.keys() if _level(old, home) != _level(new, home)}
    moved = frozenset(key for key in old.held | new.held if _home(old, key) != _home(new, key))
    for pool in before.machine.pools:
        _pool_changes(_PoolChange(before, after, pool.id, homes, moved, name), subject, result)
    return result


def rehomed(before: Adjuster, after: Adjuster, key: ContainerKey, why: str, into: Changes) -> None:
    """Say of a container what its change to another pool means, which `changes` takes for one of its new pool."""
    old, new = before.state.granted(key), after.state.granted(key)
    into.adjustments[key] = after.adjustment(new)
    into.moves[:] = [move for move in into.moves if move.key != key]
    if after.options.pin_cpu and before.cpus(old) != after.cpus(new):
        into.moves.append(Move(key, "CPUs", str(before.cpus(old)), str(after.cpus(new)), why))
    if after.options.pin_memory and before.mems(old) != after.mems(new):
        into.moves.append(Move(key, "memory nodes", str(before.mems(old)), str(after.mems(new)), why))


def warming(key: ContainerKey, before: NodeSet, after: NodeSet, options: TopologyAwareOptions) -> tuple[Move, ...]:
    """Return the changes of a container at the end of its cold start."""
    if not options.pin_memory or before == after:
        return ()
    return (Move(key, "memory nodes", str(before), str(after), "its cold start ended"),)


@attrs.frozen(eq=False)
class _PoolChange:
    """What changes for the containers of one pool; those that share it wholly share what is said about it."""

    before: Adjuster
    after: Adjuster
    pool: int
    homes: Collection[Home]
    """Of all pools, those that were lifted or came down."""
    moved: Collection[ContainerKey]
    """Of all pools, containers whose memory belongs to another place than before."""
    name: str
    _seen: dict[tuple[int, Home, bool], Adjustment] = attrs.field(factory=dict, init=False)

    def adjustment(self, grant: Grant) -> Adjustment:
        """Return the new adjustment of the container with *grant*."""
        if grant.exclusive or not grant.on_shared:
            return self.after.adjustment(grant)
        alike = (grant.cpu.shares, grant.home, grant.memory.use > 0)
        if alike not in self._seen:
            self._seen[alike] = self.after.adjustment(grant)
        return self._seen[alike]

    @cached_property
    def of_cpus(self) -> bool:
        """Whether its shared CPUs have changed, and are pinned."""
        return self.after.options.pin_cpu and self.before.shared(self.pool) != self.after.shared(self.pool)

    @cached_property
    def of_memory(self) -> bool:
        """Whether memory of somebody may have changed, and is pinned."""
        return self.after.options.pin_memory and bool(self.homes or self.moved)

    @cached_property
    def shared_texts(self) -> tuple[str, str]:
        """Its shared CPUs before and after."""
        return str(self.before.shared(self.pool)), str(self.after.shared(self.pool))

    @cached_property
    def why_cpus(self) -> str:
        """Why its shared CPUs have changed."""
        old, new = self.before.state.taken, self.after.state.taken
        took = [f"took exclusive CPUs {new - old}"] if new - old else []
        gave = [f"released CPUs {old - new}"] if old - new else []
        return f"{self.name} {' and '.join(took + gave)}"

    def memory(self, key: ContainerKey, grant: Grant) -> tuple[NodeSet, NodeSet] | None:
        """Return the memory nodes of a container before and after, if it is others now."""
        if not self.of_memory or not grant.memory.use or not (grant.home in self.homes or key in self.moved):
            return None
        before, after = self.before.mems(self.before.state.granted(key)), self.after.mems(grant)
        return None if before == after else (before, after)

    def why_memory(self, grant: Grant, before: NodeSet, after: NodeSet) -> str:
        """Return why the memory nodes of a container have changed."""
        if after < before:
            return f"{self.name} no longer needs the memory of NUMA nodes {after}"
        first = NodeSet.from_mask(own_nodes(self.after.machine, grant))
        return f"with {self.name}, containers could use more memory than NUMA nodes {first} have"


def _pool_changes(change: _PoolChange, subject: ContainerKey, result: Changes) -> None:
    if not change.of_cpus and not change.of_memory:
        return
    for key, grant in sorted(change.after.state.grants[change.pool].items()):
        if key == subject:
            continue
        of_cpus, of_memory = change.of_cpus and grant.on_shared, change.memory(key, grant)
        if of_cpus or of_memory:
            result.adjustments[key] = change.adjustment(grant)
        if of_cpus:
            result.moves.append(_cpu_move(change, key, grant))
        if of_memory:
            before, after = of_memory
            why = change.why_memory(grant, before, after)
            result.moves.append(Move(key, "memory nodes", str(before), str(after), why))


def _cpu_move(change: _PoolChange, key: ContainerKey, grant: Grant) -> Move:
    if grant.exclusive:
        return Move(key, "CPUs", str(change.before.cpus(grant)), str(change.after.cpus(grant)), change.why_cpus)
    return Move(key, "CPUs", *change.shared_texts, change.why_cpus)


def _level(state: PolicyState, home: Home) -> int:
    return state.lifted.get(home, 0)


def _home(state: PolicyState, key: ContainerKey) -> Home | None:
    grant = state.grant(key)
    return None if grant is None else grant.home
