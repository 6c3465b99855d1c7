"""Choosing a pool: which pools can hold a container, and which of these is best."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from fractions import Fraction
from functools import cached_property

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.workload import ContainerKey
from crirm.policy.priorities import Priority
from crirm.policy.topology_aware.hints import combined, hint_scores, next_to_all
from crirm.policy.topology_aware.machine import Machine
from crirm.policy.topology_aware.modes import Mode
from crirm.policy.topology_aware.pods import of_pod
from crirm.policy.topology_aware.pools import Pool, is_place
from crirm.policy.topology_aware.protection import needs, room, uses
from crirm.policy.topology_aware.ranking import Rank, Rule, Score, Suits, finest, general, last, particular, values
from crirm.policy.topology_aware.request import CPUClass, Request
from crirm.policy.topology_aware.state import PolicyState
from crirm.policy.topology_aware.supply import Supply


class Lack(enum.Enum):
    """Why a pool cannot hold a container, in the order of the checks; the values are names with units, as in JSON."""

    HINTS = "near_all_devices"
    KINDS = "has_memory_kinds"
    EXCLUSIVE = "exclusive_cpus"
    ISOLATED = "isolated_cpus"
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
        lacks = [(pool, self.lack(pool)) for pool in pools]
        ranks = self._ranks([pool for pool, lack in lacks if lack is None])
        able = sorted(ranks, key=lambda pool: values(ranks[pool]), reverse=True)
        unable = (Considered(pool, lack) for pool, lack in lacks if lack is not None)
        return (*(Considered(self.machine.pools[pool], None, ranks[pool]) for pool in able), *unable)

    @property
    def best(self) -> Pool | None:
        """The best pool that can hold the container, if there is one."""
        first = self.considered[0]
        return None if first.lack else first.pool

    def exclusive(self, pool: int) -> int:
        """Return how many exclusive CPUs *pool* can give for this request."""
        cpu = self.request.cpu
        isolated = self.supply.isolated_room(pool, cpu) if cpu.isolate else 0
        return isolated if cpu.require else max(isolated, self.supply.room(pool, cpu))

    def missing(self, pool: int, lack: Lack) -> int:
        """Return how much more *pool* would have to have of what it lacks, in its unit; 0 where that is no amount.

        A pool with so much more can hold the container as far as that resource is concerned.
        """
        cpu = self.request.cpu
        match lack:
            case Lack.EXCLUSIVE | Lack.ISOLATED:
                return cpu.full - self.exclusive(pool)
            case Lack.SHARED if cpu.part:
                return cpu.part - self.supply.allocatable[pool]
            case Lack.SHARED:
                return 1000  # one CPU that nobody has to itself will do
            case Lack.MEMORY:
                return self.request.memory.need - self.promisable(pool)
            case Lack.HINTS | Lack.KINDS | Lack.KEPT:
                return 0

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

    def _ranks(self, pools: list[Pool]) -> dict[int, Rank]:
        """Return the ranks of pools that can hold the container; what costs more only of those that are best so far."""
        scores = {pool.id: self._score(pool) for pool in pools}
        ranks = {pool: general(score, self.request) for pool, score in scores.items()}
        for pool in _first(ranks):
            suits = self._suits(self.machine.pools[pool])
            ranks[pool] += particular(scores[pool], suits, self.request)
        if self.request.mode is Mode.PACK and self.request.cpu.full:
            for pool in _first(ranks):
                ranks[pool] += finest(self._finest(self.machine.pools[pool]))
        return {pool: ranked + last(pool) for pool, ranked in ranks.items()}

    def _suits(self, pool: Pool) -> Suits:
        """Return what the modes pack and balanced go by."""
        mode, cpu = self.request.mode, self.request.cpu
        if mode is Mode.SPREAD or cpu.cls is CPUClass.RESERVED:
            return Suits()
        sliced = 0 if self.supply.serves_isolated(pool.id, cpu) else cpu.taken
        spare = self.supply.spare_after(pool.id, cpu, sliced)
        largest = self._largest(pool, sliced) if mode is Mode.BALANCED else 0
        return Suits(self._whole(pool), spare, self.supply.own_spare[pool.id] - sliced - spare, largest)

    def _whole(self, pool: Pool) -> bool:
        """Tell whether one place in the pool can give all exclusive CPUs, whatever memory it has."""
        cpu, pools = self.request.cpu, self.machine.pools
        if not cpu.full or is_place(pools, pool.id):
            return True
        places = (place for place in range(pool.first, pool.id) if is_place(pools, place))
        return any(self.supply.sliceable(place, cpu.part) >= cpu.taken for place in places)

    def _largest(self, pool: Pool, sliced: int) -> int:
        cpu = self.request.cpu
        if not sliced or pool.children:
            return self.supply.largest_after(pool.id, cpu, self.planned(pool.id) if sliced else NO_CPUS)
        some = self.supply.shared[pool.id]  # which of them it will be makes no difference outside the pool
        return self.supply.largest_after(pool.id, cpu, self.machine.allocator.lowest(some, sliced))

    def _finest(self, pool: Pool) -> Suits:
        cpus, allocator = self.planned(pool.id), self.machine.allocator
        largest = self.supply.largest_after(pool.id, self.request.cpu, cpus & pool.sharable)
        return Suits(largest=largest, caches=allocator.caches(cpus), cores=allocator.cores(cpus))

    def planned(self, pool: int) -> CPUSet:
        """Return the exclusive CPUs that a new container would get in a pool that can hold it."""
        cpu, allocator = self.request.cpu, self.machine.allocator
        if cpu.threads > 1:
            return self.supply.take_cores(allocator, pool, cpu, NO_CPUS)
        if self.supply.serves_isolated(pool, cpu):
            return allocator.take(self.supply.isolated[pool], cpu.full, Priority.HIGH)
        return self.supply.slice_off(allocator, pool, cpu.full, NO_CPUS, self.roomy)

    def roomy(self, pools: Iterable[int]) -> bool:
        """Return whether the NUMA nodes of some pools have room for all memory that the container may use."""
        memory = self.request.memory
        if not memory.use:
            return True
        nodes = self.machine.nodes_of(CPUSet.union(self.machine.pools[pool].cpus for pool in pools))
        chain = self.machine.sets.chain((nodes, 0), memory.first_kinds)
        return bool(chain) and room(self.machine.sets, chain[0], self._uses) >= memory.use

    def lack(self, pool: Pool) -> Lack | None:
        """Return why *pool* cannot hold the container; None if it can."""
        cpu, memory = self.request.cpu, self.request.memory
        if self.request.strict and not next_to_all(self.request.hints, pool, self.machine.topology):
            return Lack.HINTS
        if self.machine.topology.memory_nodes and not self.machine.sets.chain(pool.id, memory.first_kinds):
            return Lack.KINDS
        # `admission` moves a request to another class if the reserved CPUs are too few
        if cpu.cls is not CPUClass.RESERVED:
            if not self.supply.holds(pool.id, cpu):
                return self._cpu_lack(pool)
            # What does not fit the root is lifted to the last resort, so the root is never too small.
            if memory.need and pool.parent is not None and memory.need > self.promisable(pool.id):
                return Lack.MEMORY
        return Lack.KEPT if pool.id in self.barred else None

    def _cpu_lack(self, pool: Pool) -> Lack:
        """Return which CPUs are missing in a pool that has too few: the shared ones, where these alone are too few."""
        cpu = self.request.cpu
        if not cpu.full or cpu.part > max(self.supply.allocatable[pool.id], 0):
            return Lack.SHARED
        return Lack.ISOLATED if cpu.require else Lack.EXCLUSIVE

    def _score(self, pool: Pool) -> Score:
        cpu, memory = self.request.cpu, self.request.memory
        from_isolated = self.supply.serves_isolated(pool.id, cpu)
        part = cpu.part if cpu.part or cpu.full else 1
        sliced = 0 if from_isolated else 1000 * cpu.taken
        return Score(
            pool=pool.id,
            memory=not memory.use or memory.use <= self.memory(pool.id),
            depth=pool.depth,
            reserved=self.reserved - cpu.part if pool.reserved else -1,
            shared=self.supply.allocatable[pool.id] - sliced - part,
            isolated=len(self.supply.isolated[pool.id]) - cpu.taken if cpu.isolate else 0,
            colocated=self._colocated(pool),
            affinity=self._affinity(pool),
            kinds=memory.kinds is None or memory.kinds <= self.machine.sets.kinds_of(pool.id),
            staying=None if self.old_pool is None else pool.first <= self.old_pool <= pool.id,
            hints=self._hints(pool),
            pod=self._pod(pool),
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

    def _pod(self, pool: Pool) -> tuple[Rule, int] | None:
        whole = self.request.pod
        if whole is None:
            return None
        return of_pod(whole, pool.id, self.state.pool_of, self.supply, self.promisable)

    def _hints(self, pool: Pool) -> tuple[Fraction, Fraction] | None:
        if not self.request.hints:
            return None
        return combined(hint_scores(self.request.hints, pool, self.machine.pools, self.machine.topology))


def _first(ranks: Mapping[int, Rank]) -> list[int]:
    """Return the pools that no rule so far tells apart from the best one; none where one is best."""
    best = max(map(values, ranks.values()), default=())
    first = [pool for pool, ranked in ranks.items() if values(ranked) == best]
    return first if len(first) > 1 else []


def _faded(levels: int) -> Fraction:
    """Return what is left of an affinity so many levels of the tree away."""
    return Fraction(3**levels, 4**levels)
