"""What is left in every pool.

The CPUs of pools are nested, and a container of a pool may run on every shared CPU of it. So the shared containers get
what they were promised exactly when, for every pool, what was promised in it and below does not exceed its shared CPUs.
This is what `Supply.allocatable` and `Supply.sliceable` are exact for. A pool keeps at least one shared CPU while
containers run on shared CPUs in it or below it, and may be emptied otherwise.
"""

from __future__ import annotations

from functools import cached_property

import attrs

from crirm.model.cpuset import CPUSet
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.priorities import Priority
from crirm.policy.topology_aware.pools import Pool
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
        for pool in reversed(self._pools):
            if pool.parent is not None:
                left[pool.id] = min(left[pool.id], left[pool.parent])
        return tuple(left)

    @cached_property
    def _spare_above(self) -> tuple[int, ...]:
        """How many shared CPUs can be taken away as far as the pool itself and those above it are concerned."""
        spare = [self._own_spare(pool.id) for pool in self._pools]
        for pool in reversed(self._pools):
            if pool.parent is not None:
                spare[pool.id] = min(spare[pool.id], spare[pool.parent])
        return tuple(spare)

    @cached_property
    def spare(self) -> tuple[int, ...]:
        """How many shared CPUs can be taken away as far as the pool itself and those below it are concerned."""
        spare: list[int] = []
        for pool in self._pools:
            outside = len(self.shared[pool.id]) - sum(len(self.shared[child]) for child in pool.children)
            spare.append(min(self._own_spare(pool.id), outside + sum(spare[child] for child in pool.children)))
        return tuple(spare)

    def sliceable(self, pool: int, part: int = 0) -> int:
        """Return how many shared CPUs can become exclusive: all of them if nobody needs one.

        Args:
            pool: its number.
            part: thousandths of a CPU that the same container needs from what remains shared.
        """
        left = (self.allocatable[pool] - part) // 1000
        return max(min(self.spare[pool], self._spare_above[pool], left), 0)

    def slice_off(self, allocator: CPUAllocator, pool: int, count: int, near: CPUSet) -> CPUSet:
        """Return *count* of the pool's shared CPUs, at most as many as are sliceable, leaving every pool what it needs.

        Args:
            allocator: chooses among CPUs that may go.
            pool: its number.
            count: how many.
            near: CPUs that the container has already.
        """
        cpus = allocator.take(self.shared[pool], count, Priority.HIGH, near)
        below = range(self._pools[pool].first, pool)
        if all(len(cpus & self.shared[other]) <= self._own_spare(other) for other in below):
            return cpus
        return allocator.take(self._removable(allocator, pool, near), count, Priority.HIGH, near)

    def spares(self, cpus: CPUSet) -> bool:
        """Tell whether *cpus*, which nobody has, can become exclusive and leave every pool what it has promised."""
        return all(len(cpus & shared) <= self._own_spare(pool) for pool, shared in enumerate(self.shared))

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
        return sliceable if request.threads == 1 else min(sliceable // request.threads, self._spare_cores(pool))

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
        cpus = allocator.take(self.cores(pool, self.shared[pool]), request.taken, Priority.HIGH, near)
        if self.spares(cpus):
            return cpus
        removable = self._removable_cores(allocator, pool, request.threads, near)
        return allocator.take(removable, request.taken, Priority.HIGH, near)

    def _own_spare(self, pool: int) -> int:
        promised = -(-self._state.shared[pool] // 1000)
        return max(len(self.shared[pool]) - max(promised, self._state.users[pool] > 0), 0)

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

    def _spare_cores(self, pool: int) -> int:
        """Return how many whole cores can be taken away as far as the pool itself and those below it are concerned."""
        children, cores = self._pools[pool].children, self._pools[pool].cores
        if not cores:
            return 0
        outside = sum(not core & ~self._outside(pool).mask for core in cores)
        return min(self.spare[pool] // cores[0].bit_count(), outside + sum(map(self._spare_cores, children)))

    def _outside(self, pool: int) -> CPUSet:
        """Return the pool's shared CPUs that are in none of the pools below it."""
        return self.shared[pool] - CPUSet.union(self.shared[child] for child in self._pools[pool].children)

    def _removable_cores(self, allocator: CPUAllocator, pool: int, threads: int, near: CPUSet) -> CPUSet:
        """Return as many whole cores as the pool can spare, chosen such that all pools below can spare them."""
        children = self._pools[pool].children
        cpus = self.cores(pool, self._outside(pool))
        cpus |= CPUSet.union(self._removable_cores(allocator, child, threads, near) for child in children)
        return allocator.take(cpus, min(self._spare_cores(pool) * threads, len(cpus)), Priority.HIGH, near)

    def _removable(self, allocator: CPUAllocator, pool: int, near: CPUSet) -> CPUSet:
        """Return as many of the pool's shared CPUs as it can spare, chosen such that all pools below can spare them."""
        children = self._pools[pool].children
        outside = self.shared[pool] - CPUSet.union(self.shared[child] for child in children)
        cpus = outside | CPUSet.union(self._removable(allocator, child, near) for child in children)
        return allocator.take(cpus, min(self.spare[pool], len(cpus)), Priority.HIGH, near)
