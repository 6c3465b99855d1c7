"""Choosing a pool: which pools can hold a container, and which of these is best."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property

import attrs

from crirm.model.workload import ContainerKey
from crirm.policy.topology_aware.hints import combined, hint_scores, next_to_all
from crirm.policy.topology_aware.machine import Machine
from crirm.policy.topology_aware.pools import Pool
from crirm.policy.topology_aware.protection import needs, room, uses
from crirm.policy.topology_aware.ranking import Rank, Score, rank, values
from crirm.policy.topology_aware.request import CPUClass, Request
from crirm.policy.topology_aware.state import PolicyState
from crirm.policy.topology_aware.supply import Supply


class Lack(enum.Enum):
    """Why a pool cannot hold a container, in the order of the checks; the values are names with units, as in JSON."""

    HINTS = "near_all_devices"
    KINDS = "has_memory_kinds"
    EXCLUSIVE = "exclusive_cpus"
    SHARED = "shared_milli"
    MEMORY = "memory_bytes"
    KEPT = "leaves_kept_memory"


@attrs.frozen
class Considered:
    """A pool that was considered.

    Args:
        pool: which.
        lack: why it cannot hold the container; None if it can.
        rank: of a pool that can.
    """

    pool: Pool
    lack: Lack | None = None
    rank: Rank = ()


@attrs.frozen(eq=False)
class Comparison:
    """The pools as they are for one request in one state."""

    machine: Machine
    state: PolicyState
    request: Request
    old_pool: int | None = None
    """The current pool of a container that is resized."""
    barred: Mapping[int, ContainerKey] = attrs.field(factory=dict)
    """Pools in which its memory would disturb a container that keeps its own, and that container."""

    @cached_property
    def supply(self) -> Supply:
        """What the pools have left."""
        return Supply(self.machine.pools, self.state)

    @cached_property
    def considered(self) -> tuple[Considered, ...]:
        """All candidate pools: those that can hold the container, the best first, then the others."""
        pools = (self.machine.root,) if self.request.at_root else self.machine.pools
        found = [self._consider(pool) for pool in pools]
        able = sorted((one for one in found if one.lack is None), key=lambda one: values(one.rank), reverse=True)
        return (*able, *(one for one in found if one.lack))

    @property
    def best(self) -> Pool | None:
        """The best pool that can hold the container, if there is one."""
        first = self.considered[0]
        return None if first.lack else first.pool

    def exclusive(self, pool: int) -> int:
        """Return how many exclusive CPUs *pool* can give for this request."""
        isolated = len(self.supply.isolated[pool]) if self.request.cpu.isolate else 0
        return max(isolated, self.supply.sliceable(pool, self.request.cpu.part))

    def memory(self, pool: int) -> int:
        """Return how many bytes of *pool* this request may use without risk to other containers."""
        return self._room(pool, self._uses)

    def promisable(self, pool: int) -> int:
        """Return how many bytes of *pool* can be promised to this request."""
        return self._room(pool, self._needs)

    @cached_property
    def reserved(self) -> int:
        """Thousandths of the reserved CPUs that are left."""
        return 1000 * len(self.machine.root.reserved) - self.state.reserved

    @cached_property
    def _uses(self) -> Mapping[int, int]:
        return uses(self.machine.sets, self.state.claims, self.state.lifted)

    @cached_property
    def _needs(self) -> Mapping[int, int]:
        return needs(self.machine.sets, self.state.claims, self.state.lifted)

    def _room(self, pool: int, loads: Mapping[int, int]) -> int:
        chain = self.machine.sets.chain(pool, self.request.memory.first_kinds)
        return max(room(self.machine.sets, chain[0], loads), 0) if chain else 0

    @cached_property
    def _attractions(self) -> dict[int, int]:
        """The summed affinities to the containers of each pool."""
        sums: dict[int, int] = {}
        for key, weight in self.request.affinities.items():
            pool = self.state.pool_of.get(key)
            if pool is not None:
                sums[pool] = sums.get(pool, 0) + weight
        return sums

    def _consider(self, pool: Pool) -> Considered:
        lack = self.lack(pool)
        return Considered(pool, lack) if lack else Considered(pool, None, rank(self._score(pool), self.request))

    def lack(self, pool: Pool) -> Lack | None:
        """Return why *pool* cannot hold the container; None if it can."""
        cpu, memory = self.request.cpu, self.request.memory
        if self.request.strict and not next_to_all(self.request.hints, pool, self.machine.topology):
            return Lack.HINTS
        if self.machine.topology.memory_nodes and not self.machine.sets.chain(pool.id, memory.first_kinds):
            return Lack.KINDS
        if cpu.cls is CPUClass.RESERVED:
            return None  # `admission` moves a request to another class if the reserved CPUs are too few
        if not self.supply.holds(pool.id, cpu):
            return Lack.EXCLUSIVE if cpu.full else Lack.SHARED
        # What does not fit the root is lifted to the last resort, so the root is never too small.
        if memory.need and pool.parent is not None and memory.need > self.promisable(pool.id):
            return Lack.MEMORY
        return Lack.KEPT if pool.id in self.barred else None

    def _score(self, pool: Pool) -> Score:
        cpu, memory = self.request.cpu, self.request.memory
        from_isolated = self.supply.serves_isolated(pool.id, cpu)
        part = cpu.part if cpu.part or cpu.full else 1
        sliced = 0 if from_isolated else 1000 * cpu.full
        return Score(
            pool=pool.id,
            memory=not memory.use or memory.use <= self.memory(pool.id),
            depth=pool.depth,
            reserved=self.reserved - cpu.part if pool.reserved else -1,
            shared=self.supply.allocatable[pool.id] - sliced - part,
            isolated=len(self.supply.isolated[pool.id]) - cpu.full if cpu.isolate else 0,
            colocated=self._colocated(pool),
            affinity=self._affinity(pool),
            kinds=memory.kinds is None or memory.kinds <= self.machine.sets.kinds_of(pool.id),
            staying=None if self.old_pool is None else pool.first <= self.old_pool <= pool.id,
            hints=self._hints(pool),
        )

    def _colocated(self, pool: Pool) -> int:
        if self.request.cpu.cls is CPUClass.RESERVED:
            return self.state.reserved_users
        reserved = self.state.reserved_users if pool is self.machine.root else 0
        return len(self.state.grants[pool.id]) - reserved

    def _affinity(self, pool: Pool) -> Fraction | int:
        related = (*range(pool.first, pool.id), *pool.ancestors)
        return sum(
            self._attractions[other] * _faded(abs(self.machine.pools[other].depth - pool.depth))
            for other in related
            if other in self._attractions
        )

    def _hints(self, pool: Pool) -> tuple[Fraction, Fraction] | None:
        if not self.request.hints:
            return None
        return combined(hint_scores(self.request.hints, pool, self.machine.pools, self.machine.topology))


def _faded(levels: int) -> Fraction:
    """Return what is left of an affinity so many levels of the tree away."""
    return Fraction(3**levels, 4**levels)
