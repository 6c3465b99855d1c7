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
        for cpus in {grant.kept for grant in self._state.keeping.values() if grant.kept}:
            here = [pool.id for pool in self._pools if self.shared[pool.id] <= cpus]
            spare = 1000 * len(cpus) - self._promised_within(cpus, here)
            left = [min(spare, one) if pool in here else one for pool, one in enumerate(left)]
        for pool in reversed(self._pools):
            if pool.parent is not None:
                left[pool.id] = min(left[pool.id], left[pool.parent])
        return tuple(left)

    def _promised_within(self, cpus: CPUSet, pools: list[int]) -> int:
        """Return what is promised of *cpus*, which somebody keeps, to those that can run nowhere else.

        These are all containers of *pools*, whose shared CPUs are among *cpus*, and those of others that keep such.
        """
        tops = [pool for pool in pools if self._pools[pool].parent not in pools]
        keepers = [one for one in self._state.keeping.values() if one.kept and one.kept <= cpus]
        others = sum(one.cpu.part for one in keepers if one.pool not in pools)
        return others + sum(self._state.shared[pool] for pool in tops)

    @cached_property
    def _loose(self) -> tuple[CPUSet, ...]:
        """The shared CPUs of each pool that nobody keeps."""
        kept = self._state.kept
        return tuple(cpus - kept for cpus in self.shared) if kept else self.shared

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
            outside = len(self._loose[pool.id]) - sum(len(self._loose[child]) for child in pool.children)
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
        cpus = allocator.take(self._loose[pool], count, Priority.HIGH, near)
        below = range(self._pools[pool].first, pool)
        if all(len(cpus & self.shared[other]) <= self._own_spare(other) for other in below):
            return cpus
        return allocator.take(self._removable(allocator, pool, near), count, Priority.HIGH, near)

    def spares(self, cpus: CPUSet) -> bool:
        """Tell whether *cpus*, which nobody has, can become exclusive and leave every pool what it has promised."""
        return cpus.isdisjoint(self._state.kept) and all(
            len(cpus & shared) <= self._own_spare(pool) for pool, shared in enumerate(self.shared)
        )

    def holds(self, pool: int, request: CPURequest) -> bool:
        """Tell whether a pool has what is wanted of CPUs of the normal class."""
        if not request.full:
            return bool(self.shared[pool]) and (not request.part or self.allocatable[pool] >= request.part)
        if self.serves_isolated(pool, request):
            return not request.part or self.allocatable[pool] >= request.part
        return self.sliceable(pool, request.part) >= request.full

    def serves_isolated(self, pool: int, request: CPURequest) -> bool:
        """Tell whether the exclusive CPUs that are wanted come from the isolated ones."""
        return request.isolate and len(self.isolated[pool]) >= request.full

    def _own_spare(self, pool: int) -> int:
        promised = -(-self._state.shared[pool] // 1000)
        return max(min(len(self.shared[pool]) - max(promised, self._state.users[pool] > 0), len(self._loose[pool])), 0)

    def _removable(self, allocator: CPUAllocator, pool: int, near: CPUSet) -> CPUSet:
        """Return as many of the pool's shared CPUs as it can spare, chosen such that all pools below can spare them."""
        children = self._pools[pool].children
        outside = self._loose[pool] - CPUSet.union(self.shared[child] for child in children)
        cpus = outside | CPUSet.union(self._removable(allocator, child, near) for child in children)
        return allocator.take(cpus, min(self.spare[pool], len(cpus)), Priority.HIGH, near)
