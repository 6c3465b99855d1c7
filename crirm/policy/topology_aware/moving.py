"""Moving containers that are placed already: those that were spread come together, and one makes room for a new one.

A container is *spread* if its CPUs, or its memory, are of more NUMA nodes than they need be. How far it extends is told
by its pool, not by who else takes CPUs there at the moment. A move is a placement by the ordinary rules, in the state
without the container, that is taken only if

- it extends over fewer NUMA nodes with CPUs or memory, and over more with neither,
- nobody else has to go to more memory nodes for it.

A container that makes room for a new one may not extend further than before, and is the cheapest for which this works:
by the ``move-cost`` of its pod, then by the memory that it may have. Only a few are tried in earnest, those of which a
sum of CPUs says that it should work, so that the time for a decision stays bounded.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from typing import Final

import attrs

from crirm.model.cpuset import NodeSet
from crirm.model.refusal import RefusedError
from crirm.model.topology import fewest
from crirm.model.workload import ContainerKey, Workload
from crirm.policy.annotations import keeps, move_cost
from crirm.policy.api import Allowance
from crirm.policy.topology_aware.choice import Comparison
from crirm.policy.topology_aware.effects import Adjuster
from crirm.policy.topology_aware.granting import grant_in
from crirm.policy.topology_aware.hints import combined, hint_scores
from crirm.policy.topology_aware.homes import settled
from crirm.policy.topology_aware.keeping import disturbed
from crirm.policy.topology_aware.machine import Machine
from crirm.policy.topology_aware.pools import Pool
from crirm.policy.topology_aware.reading import Reader
from crirm.policy.topology_aware.relocation import Extent, Relocation
from crirm.policy.topology_aware.request import CPUClass, Request
from crirm.policy.topology_aware.state import Grant, PolicyState, empty
from crirm.policy.topology_aware.supply import Supply, kept_shared

TRIES: Final = 6
"""How many moves are tried in earnest for one event."""
PLACES: Final = 3
"""How many NUMA nodes are tried for a container that is to make room."""


@attrs.frozen(eq=False)
class Mover:
    """Finds moves in one state."""

    machine: Machine
    reader: Reader
    state: PolicyState
    workload: Workload
    allowance: Allowance

    # --- coming together -----------------------------------------------------------------------------------------

    def together(self) -> tuple[Relocation | None, tuple[ContainerKey, ...]]:
        """Return the best move by which a spread container comes together, and who would if more might be moved."""
        waiting: list[ContainerKey] = []
        for key in self._spread()[:TRIES]:
            found = self._gathered(key)
            if found is None:
                continue
            if self.allowance.moves and found.bytes <= self.allowance.bytes:
                return found, tuple(waiting)
            waiting.append(key)
            if not self.allowance.moves:
                break
        return None, tuple(waiting)

    def wide(self) -> Iterator[tuple[ContainerKey, Grant]]:
        """Yield the containers that extend over more NUMA nodes than their CPUs need."""
        for pool in self.machine.pools:
            if len(self._cpu_nodes(pool)) < 2:
                continue
            for key, grant in self.state.grants[pool.id].items():
                extent = self.extent(self.state, grant)
                if (
                    grant.cpu.cls is CPUClass.NORMAL
                    and not grant.dra
                    and max(extent.cpus, extent.memory) > self._needed(grant)
                ):
                    yield key, grant

    def spread_for_want_of_room(self) -> Iterator[ContainerKey]:
        """Yield the containers that would be on fewer NUMA nodes with CPUs or memory if they were alone."""
        nobody = empty(self.machine.pools)
        for key, grant in sorted(self.wide(), key=lambda one: one[0]):
            request = self._request(key, grant)
            best = (
                None if request is None else Comparison(self.machine, nobody, attrs.evolve(request, affinities={})).best
            )
            extent = self.extent(self.state, grant)
            if best is not None and len(self._cpu_nodes(best)) < max(extent.cpus, extent.memory):
                yield key

    def _needed(self, grant: Grant) -> int:
        """Return on how many NUMA nodes a container could be if it were alone."""
        wanted = max(grant.cpu.taken + -(-grant.cpu.part // 1000), 1)
        return max(fewest(self._sizes, wanted), 1)

    @cached_property
    def _sizes(self) -> list[int]:
        """How many CPUs the NUMA nodes have for containers, the largest first."""
        return sorted((len(pool.sharable | pool.isolated) for pool in self.node_pools), reverse=True)

    def _spread(self) -> list[ContainerKey]:
        """Return the containers that a sum of CPUs says could come together, those that gain most first."""
        supply = Supply(self.machine.pools, self.state)
        found = []
        for key, grant in self.wide():
            extent = self.extent(self.state, grant)
            may_hold = (self._may_hold(supply, place, grant, extent) for place in self.machine.pools)
            if self._may_move(key, grant) and any(may_hold):
                found.append((-extent.cpus - extent.memory, self._cost(key), grant.memory.use, key))
        return [key for *_, key in sorted(found)]

    def out_of_the_way(self) -> tuple[Relocation, ContainerKey] | None:
        """Return a move after which a spread container could come together, and that container."""
        for gains, grant in sorted(self.wide(), key=lambda one: (self._cost(one[0]), one[1].memory.use, one[0])):
            request = self._request(gains, grant) if self._may_move(gains, grant) else None
            if request is None:
                continue
            alone = self._without(gains)
            for place, key in self._in_the_way(Comparison(self.machine, alone, request))[:TRIES]:
                found = self._cleared(place, key, gains) if key != gains else None
                if found is not None and found.bytes <= self.allowance.bytes:
                    return found, gains
        return None

    def _cleared(self, place: Pool, key: ContainerKey, gains: ContainerKey) -> Relocation | None:
        """Return the move of *key* out of *place*, if *gains* could come together then."""
        request = self._mover(key)
        if request is None:
            return None
        choice = Comparison(self.machine, self._without(key), request)
        for after in self._elsewhere(choice, place):
            if attrs.evolve(self, state=after)._gathered(gains) is not None:
                return Relocation(key, choice, after, self._bytes(after, key))
        return None

    def _may_hold(self, supply: Supply, place: Pool, grant: Grant, extent: Extent) -> bool:
        """Whether *place* is narrower and seems to have enough CPUs, those that the container has there included."""
        if len(self._cpu_nodes(place)) >= max(extent.cpus, extent.memory):
            return False
        if not grant.cpu.taken:
            left = 1000 * len(supply.shared[place.id]) - self.state.shared[place.id]
            return left >= grant.cpu.part and bool(supply.shared[place.id])
        free = supply.isolated if grant.exclusive <= self.machine.root.isolated else supply.shared
        return len(free[place.id]) + len(grant.exclusive & place.cpus) >= grant.cpu.taken

    def _gathered(self, key: ContainerKey) -> Relocation | None:
        """Return the move of one container to the best place for it, if it extends less far there."""
        grant = self.state.granted(key)
        request = self._request(key, grant)
        if request is None:
            return None
        without = self._without(key)
        choice = Comparison(self.machine, without, request)
        pool = choice.best
        if pool is None or len(self._cpu_nodes(pool)) >= len(self._cpu_nodes(self.machine.pools[grant.pool])):
            return None
        after = self._granted(without, request, pool, grant)
        if after is None:
            return None
        before, now = self.extent(self.state, grant), self.extent(after, after.granted(key))
        if now == before or not now.within(before) or self._burdens(after, key):
            return None
        return Relocation(key, choice, after, self._bytes(after, key))

    # --- one move for an arrival ---------------------------------------------------------------------------------

    def room_for(self, request: Request) -> Relocation | None:
        """Return the cheapest move of one container after which that of *request* fits one NUMA node; None without."""
        choice = Comparison(self.machine, self.state, request)
        if request.at_root or request.cpu.cls is CPUClass.RESERVED or self._fits(choice):
            return None
        nearest = self._nearest(request)
        able = ((place, key) for place, key in self._in_the_way(choice) if place in nearest and self._is_free(key))
        for place, key in islice(able, TRIES):
            found = self._swapped(request, place, key)
            if found is not None and found.bytes <= self.allowance.bytes:
                return found
        return None

    def _nearest(self, request: Request) -> list[Pool]:
        """Return the NUMA nodes that are as near to what a container uses as one can be."""
        if not request.hints:
            return self.node_pools
        pools, topology = self.machine.pools, self.machine.topology
        near = {pool.id: combined(hint_scores(request.hints, pool, pools, topology)) for pool in self.node_pools}
        return [pool for pool in self.node_pools if near[pool.id] == max(near.values())]

    def _is_free(self, key: ContainerKey) -> bool:
        """Whether a container has nothing that it is to stay near."""
        request = self._request(key, self.state.granted(key))
        return request is not None and not request.hints and not request.affinities

    def _fits(self, choice: Comparison) -> bool:
        """Whether the best place for a new container is within one NUMA node already."""
        return choice.best is not None and len(self._cpu_nodes(choice.best)) <= 1

    def _in_the_way(self, choice: Comparison) -> list[tuple[Pool, ContainerKey]]:
        """Return pairs of a NUMA node and a container whose CPUs there would suffice, the cheapest to move first."""
        cpu, supply = choice.request.cpu, choice.supply
        spare = {pool.id: supply.sliceable(pool.id) for pool in self.node_pools}
        wanted = (
            grant.cpu.taken or -(-grant.cpu.part // 1000) for filed in choice.state.grants for grant in filed.values()
        )
        largest = max(wanted, default=0)
        roomiest = sorted(spare.values(), reverse=True)[:2]
        found = []
        for place in self.node_pools:
            short = cpu.taken - supply.sliceable(place.id, cpu.part)
            if len(place.sharable) < cpu.taken or short > largest:
                continue
            best_elsewhere = roomiest[-1] if spare[place.id] == roomiest[0] else roomiest[0]
            for key, grant in self._running_in(place):
                if grant.cpu.taken and grant.cpu.taken < short:  # most of them, quickly
                    continue
                there = grant.exclusive & place.cpus
                if grant.cpu.taken > best_elsewhere + len(grant.exclusive - there):
                    continue
                gives = len(there) if grant.cpu.taken else _gives(choice.state, place, grant)
                if gives < short or not (gives or short <= 0) or not self._may_move(key, grant):
                    continue
                found.append((self._cost(key), grant.memory.use, grant.cpu.taken, place.id, key))
        return [(self.machine.pools[place], key) for *_, place, key in sorted(found)]

    def _running_in(self, place: Pool) -> Iterator[tuple[ContainerKey, Grant]]:
        """Yield the containers that are in *place*, and those that have CPUs of their own there."""
        for pool in range(place.first, place.id + 1):
            yield from self.state.grants[pool].items()
        for pool in self.machine.pools[place.id].ancestors[1:]:
            for key, grant in self.state.grants[pool].items():
                if not grant.exclusive.isdisjoint(place.cpus):
                    yield key, grant

    def _swapped(self, new: Request, place: Pool, key: ContainerKey) -> Relocation | None:
        """Return the move of *key* out of the way of *new*, if both have a place then that is as good as can be."""
        request = self._mover(key)
        if request is None:
            return None
        without = self._without(key)
        if not _holds(Comparison(self.machine, without, new), place):
            return None
        arrived = grant_in(self.machine, without, new, place.id)
        if arrived is None:
            return None
        choice = Comparison(self.machine, arrived, request)
        after = next(self._elsewhere(choice, place, new.key), None)
        if after is None:
            return None
        alone = settled(self.machine, after.without_grant(self.machine.pools, new.key))
        return self._confirmed(Relocation(key, choice, after, self._bytes(after, key)), alone, new, place)

    def _confirmed(self, found: Relocation, alone: PolicyState, new: Request, place: Pool) -> Relocation | None:
        """Return *found* with the choice of the new container's place, which has to be the one room was made in."""
        choice = Comparison(self.machine, alone, new)
        if choice.best is not place:
            pool = choice.best
            after = grant_in(self.machine, alone, new, pool.id) if pool and len(self._cpu_nodes(pool)) <= 1 else None
            if after is None or self._burdens(after, found.key, new.key):
                return None
            found = attrs.evolve(found, after=after)
        return attrs.evolve(found, new=choice)

    def _mover(self, key: ContainerKey) -> Request | None:
        """Return the request of a container that can make room; None if it has a reason to be where it is."""
        request = self._request(key, self.state.granted(key))
        return None if request is None or request.hints or request.affinities else request

    def _elsewhere(self, choice: Comparison, but: Pool, *arrived: ContainerKey) -> Iterator[PolicyState]:
        """Yield the states in which the container of *choice* is outside of *but*, no further apart than it is now.

        Args:
            choice: in the state in which it has nothing.
            but: the NUMA node that it leaves.
            arrived: who has come since; all others are left where they are.
        """
        key, grant = choice.request.key, self.state.granted(choice.request.key)
        before = self.extent(self.state, grant)
        for place in self._places(choice, but):
            after = self._granted(choice.state, choice.request, place, grant)
            if after is None or not self.extent(after, after.granted(key)).within(before):
                continue
            if not self._burdens(after, key, *arrived):
                yield after

    def _places(self, choice: Comparison, but: Pool) -> list[Pool]:
        """Return the NUMA nodes that can hold the container of *choice*, those that it fills best first."""
        able = [pool for pool in self.node_pools if pool is not but and _holds(choice, pool)]
        return sorted(able, key=lambda pool: (choice.exclusive(pool.id), pool.id))[:PLACES]

    # --- both ----------------------------------------------------------------------------------------------------

    def extent(self, state: PolicyState, grant: Grant) -> Extent:
        """Return over how many NUMA nodes the container with *grant* extends in *state*."""
        pool = self.machine.pools[grant.pool]
        cpus = grant.exclusive | pool.sharable if grant.on_shared else grant.exclusive
        nodes = self.machine.topology.nodes_of(cpus) if cpus else self._cpu_nodes(pool)
        return Extent(len(nodes), len(Adjuster(self.machine, self.reader.options, state).mems(grant)))

    @cached_property
    def node_pools(self) -> list[Pool]:
        """The largest pools that are within one NUMA node."""
        pools = self.machine.pools
        narrow = [pool for pool in pools if len(self._cpu_nodes(pool)) == 1]
        return [pool for pool in narrow if pool.parent is None or len(self._cpu_nodes(pools[pool.parent])) > 1]

    def _cpu_nodes(self, pool: Pool) -> NodeSet:
        return pool.nodes & self.machine.topology.cpu_nodes

    def _without(self, key: ContainerKey) -> PolicyState:
        """Return the state in which a container has nothing."""
        return settled(self.machine, self.state.without_grant(self.machine.pools, key))

    def _may_move(self, key: ContainerKey, grant: Grant) -> bool:
        if grant.cpu.cls is CPUClass.RESERVED or grant.dra or not grant.warm or self.allowance.is_held(key):
            return False
        container = self.workload.containers[key]
        kept = keeps(self.workload.pod_of(container), container.name)
        return not kept.cpus and not kept.memory

    def _cost(self, key: ContainerKey) -> float:
        container = self.workload.containers[key]
        try:
            return move_cost(self.workload.pod_of(container), container.name)
        except RefusedError:  # it was placed when that was not read
            return 1.0

    def _request(self, key: ContainerKey, grant: Grant) -> Request | None:
        """Return the request of a placed container, for what it has; None if only the root comes into question."""
        try:
            request = self.reader.read(self.workload.containers[key], self.workload)
        except RefusedError:
            return None
        memory = attrs.evolve(grant.memory, cold=None, cold_s=0)
        alone = not request.at_root and request.pod is None  # a pod stays together
        return None if not alone else attrs.evolve(request, cpu=grant.cpu, memory=memory)

    def _granted(self, state: PolicyState, request: Request, pool: Pool, old: Grant) -> PolicyState | None:
        """Return the state in which a container is in *pool*, on as many of its *old* CPUs as that allows."""
        kept = old.exclusive & pool.cpus
        staying = grant_in(self.machine, state, request, pool.id, kept, old.first) if kept else None
        return staying or grant_in(self.machine, state, request, pool.id, first=old.first)

    def _burdens(self, after: PolicyState, *placed: ContainerKey) -> bool:
        """Whether anybody but *placed* has to go to more memory nodes, or would have to."""
        if disturbed(self.machine, self.state, after) is not None:
            return True
        own = Counter(after.granted(key).home for key in placed if after.granted(key).memory.use)
        before = self.state.lifted
        return any(
            level > before.get(home, 0) and after.claims[home].count > own[home] for home, level in after.lifted.items()
        )

    def _bytes(self, after: PolicyState, moved: ContainerKey) -> int:
        """Return how much memory the moved container may have on nodes that it is to leave."""
        old, new = self.state.granted(moved), after.granted(moved)
        adjuster = Adjuster(self.machine, self.reader.options, self.state)
        now = Adjuster(self.machine, self.reader.options, after)
        leaves = self.reader.options.pin_memory and not adjuster.mems(old) <= now.mems(new)
        return old.memory.use if leaves else 0


def _gives(state: PolicyState, place: Pool, grant: Grant) -> int:
    """Return how many more CPUs *place* could spare without a container that is on its shared ones."""
    promised, users = state.shared[place.id], state.users[place.id]
    return kept_shared(promised, users) - kept_shared(promised - grant.cpu.part, users - 1)


def _holds(choice: Comparison, pool: Pool) -> bool:
    """Whether *pool* has room for the container of *choice*, without risk to the memory of others."""
    use = choice.request.memory.use
    return choice.lack(pool) is None and (not use or use <= choice.memory(pool.id))
