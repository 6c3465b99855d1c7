"""What a change of the policy state means for containers: their adjustments, and why those of others changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import attrs

from crirm.config.topology_aware import TopologyAwareOptions
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.decision import UNADJUSTED, Adjustment
from crirm.model.trail import Move
from crirm.model.workload import ContainerKey
from crirm.policy.topology_aware.machine import Machine
from crirm.policy.topology_aware.request import CPUClass
from crirm.policy.topology_aware.state import Grant, PolicyState

Changed = Mapping[ContainerKey, Adjustment]


@attrs.frozen(eq=False)
class Adjuster:
    """Says what containers have in one state."""

    machine: Machine
    options: TopologyAwareOptions
    state: PolicyState
    _shared: dict[int, CPUSet] = attrs.field(factory=dict, init=False)

    def adjustment(self, grant: Grant) -> Adjustment:
        """Return what the container with *grant* is to have."""
        cpus = self.cpus(grant) if self.options.pin_cpu else None
        shares = grant.cpu.shares if self.options.pin_cpu else None
        mems = self.mems(grant) if self.options.pin_memory else None
        return Adjustment(cpus, mems or None, shares)

    def cpus(self, grant: Grant) -> CPUSet:
        """Return the CPUs that the container with *grant* runs on."""
        if grant.cpu.cls is CPUClass.RESERVED:
            return self.machine.pools[grant.pool].reserved
        return grant.exclusive | self.shared(grant.pool) if grant.on_shared else grant.exclusive

    def mems(self, grant: Grant) -> NodeSet:
        """Return the nodes that the container with *grant* uses the memory of; none on a machine that tells of none."""
        chain = self.machine.sets.chain(*grant.home)
        lifted = self.state.lifted.get(grant.home, 0) if grant.memory.use else 0
        return NodeSet.from_mask(chain[lifted]) if chain else NodeSet()

    def shared(self, pool: int) -> CPUSet:
        """Return the shared CPUs of a pool."""
        if pool not in self._shared:
            self._shared[pool] = self.machine.pools[pool].sharable - self.state.taken
        return self._shared[pool]


def changed(before: Adjuster, after: Adjuster, subject: ContainerKey) -> Changed:
    """Return the adjustments of *subject*, if it has a grant, and of all others that are to have something else now."""
    result: dict[ContainerKey, Adjustment] = {}
    for key, old, new in _touched(before.state, after.state, before.machine):
        adjustment = after.adjustment(new)
        if key != subject and adjustment != before.adjustment(old):
            result[key] = adjustment
    grant = after.state.grant(subject)
    if grant is not None:
        result[subject] = after.adjustment(grant)
    return result


def moves(before: Adjuster, after: Adjuster, adjusted: Iterable[ContainerKey], subject: str) -> Iterator[Move]:
    """Yield how the containers *adjusted*, all of which have a grant in both states, are affected by *subject*."""


def _touched(before: PolicyState, after: PolicyState, machine: Machine) -> Iterator[tuple[ContainerKey, Grant, Grant]]:
    """Yield the containers for which something may have changed, with their grants, in a fixed order."""
    cpus = before.taken ^ after.taken
    homes = {home for home in before.lifted.keys() | after.lifted.keys() if _level(before, home) != _level(after, home)}
    pools_of_homes = {pool for pool, _ in homes}
    for pool in machine.pools:
        refreshed = not cpus.isdisjoint(pool.sharable)
        if refreshed or pool.id in pools_of_homes:
            old = before.grants[pool.id]
            for key, grant in sorted(after.grants[pool.id].items()):
                ...
