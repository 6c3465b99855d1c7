"""The policy itself: how the policy state changes when containers are placed, released, resized and started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.decision import Effect, Spent, StartTimer, StopTimer
from crirm.model.events import Timer
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.topology import Topology
from crirm.model.trail import Verdict
from crirm.model.workload import Container, ContainerKey, ContainerState, Workload
from crirm.policy.api import Allowance, Constraints, Json, Limits, Placement, Restored
from crirm.policy.dra import sentence
from crirm.policy.topology_aware import saving
from crirm.policy.topology_aware.admission import admit
from crirm.policy.topology_aware.choice import Comparison
from crirm.policy.topology_aware.claimed import on_claims
from crirm.policy.topology_aware.cramped import cramped
from crirm.policy.topology_aware.effects import Adjuster, changes, rehomed, warming
from crirm.policy.topology_aware.granting import grant_in, kept_by, regrant
from crirm.policy.topology_aware.homes import come_down, housed, settled
from crirm.policy.topology_aware.keeping import disturbed, in_place
from crirm.policy.topology_aware.machine import Machine, make_machine
from crirm.policy.topology_aware.moving import Mover
from crirm.policy.topology_aware.options import TopologyAwareOptions
from crirm.policy.topology_aware.reading import Reader, make_reader
from crirm.policy.topology_aware.relocation import Relocation
from crirm.policy.topology_aware.request import Request
from crirm.policy.topology_aware.state import Grant, PolicyState, empty
from crirm.policy.topology_aware.trail import facts, make_trail, refusal, verdicts

COLD_AGAIN_S: Final = 30.0
"""How long a cold start goes on at least that could not end, since somebody keeps memory that both might need."""


@attrs.frozen(eq=False)
class TopologyAware:
    """Places every container in one pool of the machine's tree; see the package for the rules."""

    name: str
    machine: Machine
    reader: Reader

    def initial(self) -> PolicyState:
        """Return the state of a machine on which nothing runs."""
        return empty(self.machine.pools)

    def allocate(self, state: PolicyState, workload: Workload, container: Container) -> Placement:
        """Give *container* a grant in the best pool that can hold it.

        Raises:
            RefusedError: none can, or an annotation is malformed.
        """
        if container.key in state.pool_of:
            msg = f"{workload.full_name(container.key)} already has a grant"
            raise RefusedError(RefusalCode.ALREADY_PLACED, msg)
        warm = container.state is ContainerState.RUNNING  # its start is over
        request = self._request(state, workload, container, warm=warm)
        if request.dra:
            return self._on_claims(state, state, workload, request)
        choice = Comparison(self.machine, state, request)
        found = self._found(choice, container.found_on)
        if found is not None:
            pool = self.machine.pools[found.granted(container.key).pool]
            there = [Verdict(pool.name, facts(choice, pool))]
            return self._placed(state, found, request, there, "kept the CPUs it already had")
        choice, after = self._place(choice, workload)
        placed = self._placed(state, after, request, verdicts(choice))
        return attrs.evolve(placed, cramped=cramped(choice))

    def release(self, state: PolicyState, workload: Workload, key: ContainerKey) -> Placement:
        """Release the grant of *key*; lifted memory of other containers comes down if there is room now."""
        grant = state.grant(key)
        if grant is None:
            return Placement(state)
        after = come_down(self.machine, state.without_grant(self.machine.pools, key))
        done = changes(self._adjuster(state), self._adjuster(after), key, workload.full_name(key))
        stop: tuple[Effect, ...] = () if grant.warm else (StopTimer(key, Timer.COLD_START),)
        return Placement(after, done.adjustments, stop, moves=tuple(done.moves))

    def resize(self, state: PolicyState, workload: Workload, container: Container) -> Placement:
        """Change the grant of *container* to its new requirements; it leaves its pool only if that has no room.

        Raises:
            RefusedError: it does not fit anywhere, or an annotation is malformed.
        """
        old = state.grant(container.key)
        if old is None:
            msg = f"{workload.full_name(container.key)} cannot be resized: it has no grant"
            raise RefusedError(RefusalCode.NOT_PLACED, msg)
        without = state.without_grant(self.machine.pools, container.key)
        request = self._request(without, workload, container, warm=old.warm)
        if request.dra:
            return self._on_claims(state, without, workload, request)
        choice = Comparison(self.machine, without, request, old.pool)
        after = None
        if not request.at_root or old.pool == self.machine.root.id:
            after = regrant(self.machine, without, request, old)
        if after is not None and not self._breaks(state, after, container.key, old):
            after = come_down(self.machine, after)
            pool = self.machine.pools[old.pool]
            stayed = [Verdict(pool.name, facts(choice, pool))]
            return self._placed(state, after, request, stayed, "stays in its pool")
        if old.keep.cpus:
            here, name = self.machine.pools[old.pool].name, workload.full_name(container.key)
            msg = f"{name} keeps its CPUs (annotation keep), and {here} has no room for the new size beside them"
            raise RefusedError(RefusalCode.KEEPS_ITS_PLACE, msg)
        note = f"moved out of {self.machine.pools[old.pool].name}, which is too small for the new size"
        kept = kept_by(self.machine, request.cpu, old)
        choice, moved = self._place(choice, workload, kept, old)
        after = come_down(self.machine, moved)
        placed = self._placed(state, after, request, verdicts(choice), note)
        return attrs.evolve(placed, cramped=cramped(choice))

    def fits(self, state: PolicyState, workload: Workload, container: Container, *, resize: bool = False) -> bool:
        """Tell whether *container* would be placed, or with *resize* resized; without choosing any CPU."""
        old = state.grant(container.key)
        if (old is not None) is not resize:
            return False
        before = state if old is None else state.without_grant(self.machine.pools, container.key)
        warm = container.state is ContainerState.RUNNING if old is None else old.warm
        try:
            request = self._request(before, workload, container, warm=warm)
            if request.dra:
                return bool(on_claims(self.machine, before, request, workload, old))
        except RefusedError:
            return False
        if Comparison(self.machine, before, request, None if old is None else old.pool).best is not None:
            return True
        return old is not None and regrant(self.machine, before, request, old) is not None

    def started(self, state: PolicyState, workload: Workload, key: ContainerKey) -> Placement:  # noqa: ARG002 - the interface
        """Have the cold start of a container end some time after it has started."""
        grant = state.grant(key)
        if grant is None or grant.warm:
            return Placement(state)
        return Placement(state, effects=(StartTimer(key, Timer.COLD_START, grant.memory.cold_s),))

    def expired(self, state: PolicyState, workload: Workload, key: ContainerKey) -> Placement:
        """End the cold start of a container: it may use all its kinds of memory, once that disturbs nobody's own."""
        grant = state.grant(key)
        if grant is None or grant.warm:
            return Placement(state)
        pools = self.machine.pools
        without = state.without_grant(pools, key)
        warmed = housed(self.machine, attrs.evolve(grant, warm=True))
        after = come_down(self.machine, without.with_grant(pools, key, warmed))
        if disturbed(self.machine, state, after) is not None:
            again_s = max(grant.memory.cold_s, COLD_AGAIN_S)
            return Placement(state, effects=(StartTimer(key, Timer.COLD_START, again_s),))
        before, now = self._adjuster(state), self._adjuster(after)
        done = changes(before, now, key, workload.full_name(key))
        own = warming(key, before.mems(grant), now.mems(after.granted(key)), now.options)
        return Placement(after, done.adjustments, moves=(*own, *done.moves))

    @property
    def heeds_keep(self) -> bool:
        """It does; see `keeping`."""
        return True

    @property
    def limits(self) -> Limits:
        """How much is moved at most; without pinned CPUs nothing is to be gained."""
        return self.reader.options.limits if self.reader.options.pin_cpu else Limits()

    def gather(self, state: PolicyState, workload: Workload, allowance: Allowance) -> Placement:
        """Move one container that has been spread for want of room to where all of it fits; see `moving`."""
        found, waiting = Mover(self.machine, self.reader, state, workload, allowance).together()
        if found is None:
            return Placement(state, waiting=waiting)
        why = f"all of it fits {self.machine.pools[found.after.granted(found.key).pool].name} now that {allowance.why}"
        return attrs.evolve(self._moved(state, found, why), waiting=waiting)

    def clear_way(self, state: PolicyState, workload: Workload, allowance: Allowance) -> Placement:
        """Move one container elsewhere, so that a spread one fits one NUMA node; see `moving`."""
        found = Mover(self.machine, self.reader, state, workload, allowance).out_of_the_way()
        if found is None:
            return Placement(state)
        relocation, gains = found
        return self._moved(state, relocation, f"{workload.full_name(gains)} can come together then")

    def spread(self, state: PolicyState, workload: Workload) -> tuple[ContainerKey, ...]:
        """Return the containers that would be on fewer NUMA nodes if they were alone."""
        return tuple(Mover(self.machine, self.reader, state, workload, Allowance(0, 0)).spread_for_want_of_room())

    def make_room(
        self, state: PolicyState, workload: Workload, container: Container, allowance: Allowance
    ) -> Placement | None:
        """Place *container* in one NUMA node by moving one other container elsewhere; see `moving`."""
        request = self._request(state, workload, container)
        if request.dra:  # a driver has chosen its CPUs
            return None
        found = Mover(self.machine, self.reader, state, workload, allowance).room_for(request)
        if found is None or found.new is None:
            return None
        why = f"{request.name} fits one NUMA node now, which it would not otherwise"
        other = self._moved(state, found, why)
        after = self._adjuster(found.after)
        name = workload.full_name(found.key)
        done = changes(self._adjuster(state), after, request.key, request.name, {found.key: why})
        note = f"{name} was moved to make room"
        trail = make_trail(self.name, request, after, verdicts(found.new), done.moves, note)
        return Placement(
            found.after, done.adjustments, trail=trail, moves=trail.moves, others=other.others, spent=other.spent
        )

    def _moved(self, state: PolicyState, found: Relocation, why: str) -> Placement:
        """Return the placement of one container that was moved."""
        request, after = found.choice.request, self._adjuster(found.after)
        done = changes(self._adjuster(state), after, found.key, request.name, {found.key: why})
        others = [move for move in done.moves if move.key != found.key]
        trail = make_trail(self.name, request, after, verdicts(found.choice), others, f"moved: {why}")
        spent = Spent(0.0, found.bytes)
        return Placement(found.after, done.adjustments, moves=tuple(done.moves), others=(trail,), spent=(spent,))

    def exclusive(self, state: PolicyState) -> Mapping[ContainerKey, CPUSet]:
        """Return the exclusive CPUs of each container that has some."""
        return {key: grant.own for filed in state.grants for key, grant in filed.items() if grant.own}

    def save(self, state: PolicyState) -> Mapping[ContainerKey, Json]:
        """See `saving`."""
        return saving.save(self.machine.pools, state)

    def restore(self, saved: Mapping[ContainerKey, Json], workload: Workload) -> Restored:  # noqa: ARG002 - the interface
        """See `saving`."""
        found = saving.restore(self.machine, saved)
        adjuster = self._adjuster(found.state)
        adjustments = {key: adjuster.adjustment(grant) for filed in found.state.grants for key, grant in filed.items()}
        return Restored(found.state, adjustments, found.dropped, found.weakened)

    def _request(self, state: PolicyState, workload: Workload, container: Container, *, warm: bool = False) -> Request:
        """Return what *container* is to get, of which there is enough; *warm* rules a cold start out."""
        request = self.reader.read(container, workload)
        if warm:
            request = attrs.evolve(request, memory=attrs.evolve(request.memory, cold=None, cold_s=0))
        return admit(self.machine, state, request)

    def _on_claims(self, before: PolicyState, without: PolicyState, workload: Workload, request: Request) -> Placement:
        """Return the placement on DRA claims; *without* is the state in which the container has nothing."""
        made = on_claims(self.machine, without, request, workload, before.grant(request.key))
        after = made.state if before is without else come_down(self.machine, made.state)
        adjuster = self._adjuster(after)
        done = changes(self._adjuster(before), adjuster, request.key, request.name)
        for key in made.lifted:
            why = f"a DRA driver gave CPUs of its pool to {request.name}"
            rehomed(self._adjuster(before), adjuster, key, why, done)
        pool = self.machine.pools[after.granted(request.key).pool]
        there = [Verdict(pool.name, facts(Comparison(self.machine, without, request), pool))]
        trail = make_trail(self.name, request, adjuster, there, done.moves, sentence(request.dra))
        return Placement(after, done.adjustments, trail=trail, moves=trail.moves)

    def _found(self, choice: Comparison, cpus: CPUSet) -> PolicyState | None:
        """Return the state in which a container has the CPUs it was found bound to; None where that cannot be.

        It is put in the smallest pool around them, if that can hold it.
        """
        root, request = self.machine.root, choice.request
        if not cpus or len(cpus) != request.cpu.full:
            return None
        if request.cpu.threads > 1:
            used, cpus = cpus, self.machine.cores_of(cpus)
            if self.machine.used(cpus) != used or len(cpus) != request.cpu.taken:
                return None
        if not cpus.isdisjoint(choice.state.taken):
            return None
        if not (cpus <= root.isolated or (cpus <= root.sharable and choice.supply.spares(cpus))):
            return None
        able = [one.pool for one in choice.considered if one.lack is None and cpus <= one.pool.cpus]
        around = max(able, key=lambda pool: pool.depth, default=None)
        found = grant_in(self.machine, choice.state, request, around.id, cpus) if around else None
        return None if found is None or disturbed(self.machine, choice.state, found) else found

    def _breaks(self, before: PolicyState, after: PolicyState, key: ContainerKey, old: Grant) -> bool:
        """Whether a resize of *key* within its pool would break what it or another keeps."""
        stays = not old.keep.cpus or in_place(old, after.granted(key))
        return not stays or disturbed(self.machine, before, after) is not None

    def _place(
        self, choice: Comparison, workload: Workload, kept: CPUSet = NO_CPUS, old: Grant | None = None
    ) -> tuple[Comparison, PolicyState]:
        """Return the choice of a pool in which nobody is disturbed who keeps its memory, and the state then."""
        first = old.first if old is not None else NO_CPUS
        before = settled(self.machine, choice.state) if choice.state.keeping else choice.state
        while (pool := choice.best) is not None:
            staying = grant_in(self.machine, choice.state, choice.request, pool.id, kept, first, old) if kept else None
            after = staying or grant_in(self.machine, choice.state, choice.request, pool.id, old=old)
            if after is None:
                msg = f"{pool.name} was said to have room"
                raise AssertionError(msg)
            disturbs = disturbed(self.machine, before, after)
            if disturbs is None:
                return choice, after
            choice = attrs.evolve(choice, barred={**choice.barred, pool.id: disturbs})
        raise refusal(choice, workload)

    def _placed(
        self, state: PolicyState, after: PolicyState, request: Request, considered: Iterable[Verdict], *notes: str
    ) -> Placement:
        adjuster = self._adjuster(after)
        done = changes(self._adjuster(state), adjuster, request.key, request.name)
        trail = make_trail(self.name, request, adjuster, considered, done.moves, *notes)
        return Placement(after, done.adjustments, trail=trail, moves=trail.moves)

    def _adjuster(self, state: PolicyState) -> Adjuster:
        return Adjuster(self.machine, self.reader.options, state)


def make(name: str, topology: Topology, constraints: Constraints, options: TopologyAwareOptions) -> TopologyAware:
    """Return the policy for one machine and configuration.

    Raises:
        PartitionError: the available and reserved CPUs do not fit the machine.
        GlobError: a pattern of reserved namespaces is none.
    """
    machine = make_machine(topology, constraints, caches=options.cache_pools)
    return TopologyAware(name, machine, make_reader(options, machine.sets, topology.threads))
