"""What is left in every pool.

The CPUs of pools are nested, and a container of a pool may run on every shared CPU of it. So the shared containers get
what they were promised exactly when, for every pool, what was promised in it and below does not exceed its shared CPUs.
This is what `Supply.allocatable` and `Supply.sliceable` are exact for. A pool keeps at least one shared CPU while
containers run on shared CPUs in it or below it, and may be emptied otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cached_property

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.priorities import Priority
from crirm.policy.topology_aware.crossing import Crossing
from crirm.policy.topology_aware.pools import Pool, is_place
from crirm.policy.topology_aware.request import CPURequest
from crirm.policy.topology_aware.state import PolicyState


@attrs.frozen(eq=False)
class Supply:
    """The supply of all pools in one state; all tuples are by pool number."""

    _pools: tuple[Pool, ...]
    _state: PolicyState

    @cached_property
    def shared(self) -> tuple[CPUSet, ...]:
        """The CPUs that nobody has exclusively."""
        return tuple(pool.sharable - self._state.taken for pool in self._pools)

    @cached_property
    def isolated(self) -> tuple[CPUSet, ...]:
        """The kernel-isolated CPUs that nobody has."""
        return tuple(pool.isolated - self._state.taken for pool in self._pools)

    @cached_property
    def allocatable(self) -> tuple[int, ...]:
        """Thousandths of shared CPUs that can still be promised; the pools above limit it too."""
        left = [1000 * len(cpus) - promised for cpus, promised in zip(self.shared, self._state.shared, strict=True)]
        for cpus in {kept for kept, _ in self._keepers}:
            here = [pool.id for pool in self._pools if self.shared[pool.id] <= cpus]
            spare = 1000 * len(cpus) - self._promised_within(cpus, here)
            left = [min(spare, one) if pool in here else one for pool, one in enumerate(left)]
        return tuple(_capped(self._pools, left))

    @cached_property
    def _keepers(self) -> Mapping[tuple[CPUSet, int], int]:
        """What is promised to those of one pool that keep the same shared CPUs, by these and the pool."""
        sums: dict[tuple[CPUSet, int], int] = {}
        for one in self._state.keeping.values():
            if one.kept:
                sums[one.kept, one.pool] = sums.get((one.kept, one.pool), 0) + one.cpu.part
        return sums

    def _promised_within(self, cpus: CPUSet, pools: list[int]) -> int:
        """Return what is promised of *cpus*, which somebody keeps, to those that can run nowhere else.

        These are all containers of *pools*, whose shared CPUs are among *cpus*, and those of others that keep such.
        """
        tops = [pool for pool in pools if self._pools[pool].parent not in pools]
        others = sum(part for (kept, pool), part in self._keepers.items() if pool not in pools and kept <= cpus)
        return others + sum(self._state.shared[pool] for pool in tops)

    @property
    def places(self) -> Iterator[CPUSet]:
        """The CPUs of each place (see `pools`)."""
        return (pool.cpus for pool in self._pools if is_place(self._pools, pool.id))

    @cached_property
    def loose(self) -> tuple[CPUSet, ...]:
        """The shared CPUs of each pool that nobody keeps."""
        kept = self._state.kept
        return tuple(cpus - kept for cpus in self.shared) if kept else self.shared

    @cached_property
    def _spare_above(self) -> tuple[int, ...]:
        """How many shared CPUs can be taken away as far as the pool itself and those above it are concerned."""
        return tuple(_capped(self._pools, list(self.own_spare)))

    @cached_property
    def spare(self) -> tuple[int, ...]:
        """How many shared CPUs can be taken away as far as the pool itself and those below it are concerned."""
        return tuple(self._with_those_below(list(self.own_spare)))

    def _with_those_below(self, own: list[int]) -> list[int]:
        spare: list[int] = []
        for pool in self._pools:
            outside = len(self.loose[pool.id]) - sum(len(self.loose[child]) for child in pool.children)
            spare.append(min(own[pool.id], outside + sum(spare[child] for child in pool.children)))
        return spare

    def sliceable(self, pool: int, part: int = 0) -> int:
        """Return how many shared CPUs can become exclusive: all of them if nobody needs one.

        Args:
            pool: its number.
            part: thousandths of a CPU that the same container needs from what remains shared.
        """
        left = (self.allocatable[pool] - part) // 1000
        return max(min(self.spare[pool], self._spare_above[pool], left), 0)

    def slice_off(
        self,
        allocator: CPUAllocator,
        pool: int,
        count: int,
        near: CPUSet,
        roomy: Callable[[Iterable[int]], bool] | None = None,
    ) -> CPUSet:
        """Return *count* of the pool's shared CPUs, at most as many as are sliceable, leaving every pool what it needs.

        Args:
            allocator: chooses among CPUs that may go.
            pool: its number.
            count: how many.
            near: CPUs that the container has already.
            roomy: tells whether some of the smallest pools have room for its memory.
        """
        if not near and not is_place(self._pools, pool) and allocator.alike(self.loose[pool]):
            taken = NO_CPUS
            for node, part in Crossing(self._pools, pool, self.spare).shares(count, roomy):
                taken |= self._piece(allocator, node, part, taken)
            if taken:
                return taken
        return self._piece(allocator, pool, count, near)

    def _piece(self, allocator: CPUAllocator, pool: int, count: int, near: CPUSet) -> CPUSet:
        cpus = allocator.take(self.loose[pool], count, Priority.HIGH, near)
        below = range(self._pools[pool].first, pool)
        if all(len(cpus & self.shared[other]) <= self.own_spare[other] for other in below):
            return cpus
        return allocator.take(self._removable(allocator, pool, near), count, Priority.HIGH, near)

    def spares(self, cpus: CPUSet) -> bool:
        """Tell whether *cpus*, which nobody has, can become exclusive and leave every pool what it has promised."""
        return cpus.isdisjoint(self._state.kept) and all(
            len(cpus & shared) <= self.own_spare[pool] for pool, shared in enumerate(self.shared)
        )

    def can_lose(self, pool: int, cpus: CPUSet) -> bool:
        """Tell whether a pool can do without *cpus*, which nobody has exclusively."""
        return len(cpus & self.shared[pool]) <= self.own_spare[pool]

    def holds(self, pool: int, request: CPURequest) -> bool:
        """Tell whether a pool has what is wanted of CPUs of the normal class."""
        if not request.full:
            return bool(self.shared[pool]) and (not request.part or self.allocatable[pool] >= request.part)
        if self.serves_isolated(pool, request):
            return not request.part or self.allocatable[pool] >= request.part
        return not request.require and self.room(pool, request) >= request.full

    def serves_isolated(self, pool: int, request: CPURequest) -> bool:
        """Tell whether the exclusive CPUs that are wanted come from the isolated ones."""
        return request.isolate and self.isolated_room(pool, request) >= request.full

    def room(self, pool: int, request: CPURequest) -> int:
        """Return how many exclusive CPUs a pool can give out of its shared ones; see `CPURequest.threads`."""
        sliceable = self.sliceable(pool, request.part)
        return sliceable if request.threads == 1 else min(sliceable // request.threads, self._spare_cores[pool])

    def isolated_room(self, pool: int, request: CPURequest) -> int:
        """Return how many exclusive CPUs a pool can give out of its isolated ones."""
        free = self.isolated[pool]
        return len(free if request.threads == 1 else self.cores(pool, free)) // request.threads

    def cores(self, pool: int, free: CPUSet) -> CPUSet:
        """Return those of *free* that make up whole cores of a pool."""
        return CPUSet.from_mask(sum(core for core in self._pools[pool].cores if not core & ~free.mask))

    def take_cores(self, allocator: CPUAllocator, pool: int, request: CPURequest, near: CPUSet) -> CPUSet:
        """Return the CPUs of so many whole cores, out of the isolated ones if they serve, else out of the shared ones.

        Args:
            allocator: chooses among CPUs that may go.
            pool: its number; it `holds` what is wanted.
            request: what is wanted.
            near: CPUs that the container has already.
        """
        if self.serves_isolated(pool, request):
            return allocator.take(self.cores(pool, self.isolated[pool]), request.taken, Priority.HIGH, near)
        cpus = allocator.take(self.cores(pool, self.loose[pool]), request.taken, Priority.HIGH, near)
        if self.spares(cpus):
            return cpus
        removable = self._removable_cores(allocator, pool, request.threads, near)
        return allocator.take(removable, request.taken, Priority.HIGH, near)

    def spare_after(self, pool: int, request: CPURequest, taken: int) -> int:
        """Return how many shared CPUs of a pool nobody in it will need when a container has come to it.

        Args:
            pool: its number.
            request: of the container, which was not counted yet.
            taken: how many shared CPUs it will have to itself.
        """
        need = kept_shared(self._state.shared[pool] + request.part, self._state.users[pool] + request.shared)
        return len(self.shared[pool]) - taken - need

    def largest_after(self, pool: int, request: CPURequest, taken: CPUSet) -> int:
        """Return how many exclusive CPUs one place can still give at most when a container has come to *pool*.

        Args:
            pool: its number.
            request: of the container.
            taken: the shared CPUs that it will have to itself.
        """
        around = set(self._pools[pool].ancestors)
        left = list(self.own_spare)
        for place, shared in enumerate(self.shared):
            if place in around:
                left[place] = self.spare_after(place, request, len(taken & shared))
            elif place < pool and taken:
                left[place] -= len(taken & shared)
        left = _capped(self._pools, self._with_those_below(left))
        return max(0, *(left[other.id] for other in self._pools if is_place(self._pools, other.id)))

    @cached_property
    def own_spare(self) -> tuple[int, ...]:
        """How many shared CPUs each pool can spare as far as only it is concerned: all that nobody in it needs."""
        users = zip(self.shared, self.loose, self._state.shared, self._state.users, strict=True)
        return tuple(
            max(min(len(cpus) - kept_shared(promised, count), len(loose)), 0) for cpus, loose, promised, count in users
        )

    def removable(self, allocator: CPUAllocator, pool: int, threads: int, near: CPUSet) -> CPUSet:
        """Return as many shared CPUs as a pool can spare, all of which all pools below can spare.

        Args:
            allocator: chooses among CPUs that may go.
            pool: its number.
            threads: more than 1 for whole cores of so many.
            near: CPUs that the container has already.
        """
        if threads > 1:
            return self._removable_cores(allocator, pool, threads, near)
        return self._removable(allocator, pool, near)

    @cached_property
    def _spare_cores(self) -> tuple[int, ...]:
        """How many whole cores can be taken away as far as the pool itself and those below it are concerned."""
        spare: list[int] = []
        for pool in self._pools:
            inside, free = 0, self.shared[pool.id].mask
            for child in pool.children:
                inside |= self._pools[child].cpus.mask
            outside = sum(not core & (inside | ~free) for core in pool.cores)
            most = outside + sum(spare[child] for child in pool.children)
            spare.append(min(self.spare[pool.id] // pool.cores[0].bit_count(), most) if pool.cores else 0)
        return tuple(spare)

    def _outside(self, pool: int) -> CPUSet:
        """Return the pool's shared CPUs that are in none of the pools below it, and that nobody keeps."""
        return self.loose[pool] - CPUSet.union(self.shared[child] for child in self._pools[pool].children)

    def _removable_cores(self, allocator: CPUAllocator, pool: int, threads: int, near: CPUSet) -> CPUSet:
        """Return as many whole cores as the pool can spare, chosen such that all pools below can spare them."""
        children = self._pools[pool].children
        cpus = self.cores(pool, self._outside(pool))
        cpus |= CPUSet.union(self._removable_cores(allocator, child, threads, near) for child in children)
        return allocator.take(cpus, min(self._spare_cores[pool] * threads, len(cpus)), Priority.HIGH, near)

    def _removable(self, allocator: CPUAllocator, pool: int, near: CPUSet) -> CPUSet:
        """Return as many of the pool's shared CPUs as it can spare, chosen such that all pools below can spare them."""
        children = self._pools[pool].children
        outside = self.loose[pool] - CPUSet.union(self.shared[child] for child in children)
        cpus = outside | CPUSet.union(self._removable(allocator, child, near) for child in children)
        return allocator.take(cpus, min(self.spare[pool], len(cpus)), Priority.HIGH, near)


def _capped(pools: tuple[Pool, ...], own: list[int]) -> list[int]:
    """Return the numbers of all pools, none of them greater than that of a pool above."""
    for pool in reversed(pools):
        if pool.parent is not None:
            own[pool.id] = min(own[pool.id], own[pool.parent])
    return own


def kept_shared(promised: int, users: int) -> int:
    """Return how many CPUs stay shared for *users* who were promised so many thousandths of a CPU together."""
    return max(-(-promised // 1000), users > 0)
