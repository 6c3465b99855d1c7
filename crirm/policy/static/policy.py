"""The policy ``static``: the kubelet's static CPU manager, with an eye for kernel-isolated CPUs.

A container of a Guaranteed pod with a whole-number CPU request gets this many exclusive CPUs. All others run on
the *shared* CPUs: all available ones that are not exclusive. The reserved CPUs always stay shared, so that
there are some. Kernel-isolated CPUs are assigned as exclusive CPUs only.

Isolated CPUs are tried first where the pod asks for them (``prefer-isolated-cpus``), or where the options do and the
pod does not say otherwise, or for a single CPU unless the pod does not want one; they count only if there are enough.
Then come ordinary ones, and last, if these are too few, both kinds together.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet, ListFormatError
from crirm.model.decision import NO_QUOTA, Adjustment
from crirm.model.qos import QoSClass
from crirm.model.quantity import format_millicpu
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.topology import Topology
from crirm.model.trail import Move, Trail, Verdict
from crirm.model.workload import Container, ContainerKey, Pod, Workload
from crirm.policy.annotations import PREFER_ISOLATED_CPUS, boolean
from crirm.policy.api import Constraints, Json, Placement, Policy, Restored
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.partition import Partition, partition
from crirm.policy.priorities import Priority, priorities_of
from crirm.policy.static.options import StaticOptions

ISOLATED, ORDINARY, BOTH, SHARED = "isolated", "exclusive", "exclusive and isolated", "shared"
"""The pools of a container."""


@attrs.frozen
class StaticState:
    """The CPUs of all containers.

    Args:
        free: the ordinary CPUs that are not exclusive, without the reserved ones.
        isolated: the free kernel-isolated CPUs.
        exclusive: the exclusive CPUs of containers.
        sharing: containers on shared CPUs.
    """

    free: CPUSet
    isolated: CPUSet
    exclusive: Mapping[ContainerKey, CPUSet] = attrs.field(factory=dict)
    sharing: frozenset[ContainerKey] = frozenset()


@attrs.frozen
class _Grant:
    """What a container gets, and how that came about."""

    pool: str
    cpus: CPUSet = NO_CPUS
    """To itself."""
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class StaticPolicy(Policy):
    """Assigns exclusive CPUs for whole-number requests; see the module."""

    partition: Partition
    allocator: CPUAllocator
    options: StaticOptions
    name: str = "static"
    nodes: tuple[CPUSet, ...] = ()
    """The CPUs that may be used, by NUMA node, the largest node first."""

    def initial(self) -> StaticState:
        """Return the state of a machine on which nothing runs."""
        return StaticState(self.partition.sharable, self.partition.isolated)

    def allocate(self, state: StaticState, workload: Workload, container: Container) -> Placement:
        """Assign exclusive CPUs to *container*, or the shared ones.

        Raises:
            RefusedError: there are too few, or an annotation of its pod is malformed.
        """
        pod = workload.pod_of(container)
        before = self._without(state, container.key)
        own = state.exclusive.get(container.key) or self._found(before, container)
        grant = self._grant(before, pod, container, own)
        if grant.cpus:
            after = self._with(before, container.key, grant.cpus)
        else:
            after = attrs.evolve(before, sharing=before.sharing | {container.key})
        changed = self._changes(state, after, container.key)
        trail = self._trail(state, after, pod, container, grant, changed)
        return Placement(after, changed, trail=trail, moves=trail.moves, cramped=self._spread(grant.cpus))

    def resize(self, state: StaticState, workload: Workload, container: Container) -> Placement:
        """Give *container* more exclusive CPUs, or leave it some of them; it moves only if neither is possible.

        Raises:
            RefusedError: there are too few, or an annotation of its pod is malformed.
        """
        return self.allocate(state, workload, container)

    def release(self, state: StaticState, workload: Workload, key: ContainerKey) -> Placement:
        """Release the grant of *key*; its ordinary CPUs become shared."""
        after = self._without(state, key)
        changed = self._changes(state, after, key)
        return Placement(after, changed, moves=self._moves(state, after, key, workload.full_name(key), changed))

    def exclusive(self, state: StaticState) -> Mapping[ContainerKey, CPUSet]:
        """Return the exclusive CPUs of each container that has some."""
        return state.exclusive

    def save(self, state: StaticState) -> Mapping[ContainerKey, Json]:
        """Return everybody's own CPUs as a list, empty for those who share."""
        return {**dict.fromkeys(state.sharing, ""), **{key: str(cpus) for key, cpus in state.exclusive.items()}}

    def restore(self, saved: Mapping[ContainerKey, Json], workload: Workload) -> Restored:  # noqa: ARG002 - the interface
        """Restore the CPUs of all containers; if two claim the same CPU, the older one keeps it."""
        state, dropped = self.initial(), {}
        for key, own in sorted(saved.items()):
            try:
                cpus = CPUSet.parse(own if isinstance(own, str) else "no list")
            except ListFormatError:
                dropped[key] = "saved grant is unreadable"
                continue
            if not cpus:
                state = attrs.evolve(state, sharing=state.sharing | {key})
            elif cpus <= state.free | state.isolated:
                state = self._with(state, key, cpus)
            else:
                dropped[key] = f"CPUs {cpus - state.free - state.isolated} can no longer be exclusive"
        adjustments = {key: _exclusively(cpus) for key, cpus in state.exclusive.items()}
        shared = Adjustment(cpus=self._shared(state))
        return Restored(state, {**dict.fromkeys(state.sharing, shared), **adjustments}, dropped)

    # --- choosing ------------------------------------------------------------------------------------------------

    def _grant(self, state: StaticState, pod: Pod, container: Container, own: CPUSet) -> _Grant:
        """Choose for *container*, which has nothing in *state* but had *own* before."""
        preferred = boolean(pod, container.name, PREFER_ISOLATED_CPUS)
        request = container.requirements.cpu_request
        if pod.qos is not QoSClass.GUARANTEED:
            return _Grant(SHARED, notes=(f"runs on shared CPUs: its pod is {pod.qos.value}, not Guaranteed",))
        if not request or request % 1000:
            return _Grant(SHARED, notes=("runs on shared CPUs: its CPU request is not a whole number",))
        count = request // 1000
        offers = self._offers(state, count, preferred)
        pool = next((pool for pool, cpus in offers.items() if len(cpus) >= count), None)
        if pool is None:
            raise _refusal(state, pod, container, count)
        kept = self._kept(state, count, own)
        if kept:
            return _Grant(self._pool_of(kept), kept, notes=("keeps its CPUs",))
        cpus = self.allocator.take(offers[pool], count, Priority.HIGH)
        return _Grant(pool, cpus, _verdicts(offers, pool, count), self._cautions(cpus))

    def _offers(self, state: StaticState, count: int, preferred: bool | None) -> dict[str, CPUSet]:
        """Return the free CPUs of each pool, in the order in which they are tried."""
        default = self.options.relaxed_isolation or count == 1
        wanted = default if preferred is None else preferred
        if not self.partition.isolated:
            return {ORDINARY: state.free}
        ordinary = {ORDINARY: state.free, BOTH: state.free | state.isolated}
        return {ISOLATED: state.isolated, **ordinary} if wanted else ordinary

    def _spread(self, cpus: CPUSet) -> bool:
        """Tell whether *cpus* are of more NUMA nodes than so many would need on an empty machine."""
        room = needed = 0
        for node in self.nodes:
            needed += room < len(cpus)
            room += len(node)
        return sum(not node.isdisjoint(cpus) for node in self.nodes) > needed

    def _pool_of(self, cpus: CPUSet) -> str:
        if cpus <= self.partition.isolated:
            return ISOLATED
        return ORDINARY if cpus.isdisjoint(self.partition.isolated) else BOTH

    def _kept(self, state: StaticState, count: int, own: CPUSet) -> CPUSet:
        """Return CPUs that include *own*, or some of them where *count* is less; nothing where that cannot be."""
        if count <= len(own):
            return self.allocator.take(own, count, Priority.HIGH)
        more = NO_CPUS if own <= self.partition.isolated else state.free
        if not own.isdisjoint(self.partition.isolated):
            more |= state.isolated
        more -= own
        if not own or len(own) + len(more) < count:
            return NO_CPUS
        return own | self.allocator.take(more, count - len(own), Priority.HIGH, near=own)

    def _found(self, state: StaticState, container: Container) -> CPUSet:
        """Return the CPUs that a container was found bound to, where they can be its own."""
        found = container.found_on
        exact = 1000 * len(found) == container.requirements.cpu_request
        return found if exact and found <= state.free | state.isolated else NO_CPUS

    def _cautions(self, cpus: CPUSet) -> tuple[str, ...]:
        if self._pool_of(cpus) != BOTH:
            return ()
        isolated = cpus & self.partition.isolated
        return (f"CPUs {isolated} are isolated: the kernel does not balance threads onto them",)

    # --- book-keeping --------------------------------------------------------------------------------------------

    def _with(self, state: StaticState, key: ContainerKey, cpus: CPUSet) -> StaticState:
        exclusive = {**state.exclusive, key: cpus}
        return attrs.evolve(state, free=state.free - cpus, isolated=state.isolated - cpus, exclusive=exclusive)

    def _without(self, state: StaticState, key: ContainerKey) -> StaticState:
        own = state.exclusive.get(key)
        if own is None:
            return attrs.evolve(state, sharing=state.sharing - {key}) if key in state.sharing else state
        return StaticState(
            free=state.free | own & self.partition.sharable,
            isolated=state.isolated | own & self.partition.isolated,
            exclusive={other: cpus for other, cpus in state.exclusive.items() if other != key},
            sharing=state.sharing,
        )

    def _shared(self, state: StaticState) -> CPUSet:
        return state.free | self.partition.reserved

    def _changes(self, before: StaticState, after: StaticState, key: ContainerKey) -> dict[ContainerKey, Adjustment]:
        """Return the adjustments of *key*, if it has any, and of all others for whom they are not what they were."""
        shared = Adjustment(cpus=self._shared(after))
        changed = dict.fromkeys(sorted(after.sharing), shared) if self._shared(before) != shared.cpus else {}
        if key in after.exclusive:
            changed[key] = _exclusively(after.exclusive[key])
        elif key in after.sharing:
            changed[key] = shared
        return changed

    def _trail(
        self,
        before: StaticState,
        after: StaticState,
        pod: Pod,
        container: Container,
        grant: _Grant,
        changed: Mapping[ContainerKey, Adjustment],
    ) -> Trail:
        granted = f"exclusive CPUs {grant.cpus}" if grant.cpus else f"shared CPUs {self._shared(after)}"
        return Trail(
            key=container.key,
            policy=self.name,
            asked=f"a CPU request of {format_millicpu(container.requirements.cpu_request)} in a {pod.qos.value} pod",
            chosen=grant.pool,
            granted=granted,
            verdicts=grant.verdicts or (Verdict(grant.pool),),
            moves=self._moves(before, after, container.key, _name(pod, container), changed),
            notes=grant.notes,
        )

    def _moves(
        self,
        before: StaticState,
        after: StaticState,
        subject: ContainerKey,
        name: str,
        changed: Mapping[ContainerKey, Adjustment],
    ) -> tuple[Move, ...]:
        """Return what a change of what *subject*, called *name*, has to itself means for those who share."""
        old, new = self._shared(before), self._shared(after)
        took = [f"took exclusive CPUs {old - new}"] if old - new else []
        gave = [f"released CPUs {new - old}"] if new - old else []
        why = f"{name} {' and '.join(took + gave)}"
        return tuple(Move(key, "CPUs", str(old), str(new), why) for key in sorted(changed) if key != subject)


def _exclusively(cpus: CPUSet) -> Adjustment:
    return Adjustment(cpus=cpus, cpu_quota_us=NO_QUOTA)


def _name(pod: Pod, container: Container) -> str:
    return f"{pod.namespace}/{pod.name}/{container.name}"


def _refusal(state: StaticState, pod: Pod, container: Container, count: int) -> RefusedError:
    free, isolated = len(state.free), len(state.isolated)
    message = (
        f"{_name(pod, container)} wants {count} exclusive CPUs, but only {free + isolated} are free "
        f"({free} ordinary, {isolated} isolated); reserved CPUs always stay shared"
    )
    return RefusedError(RefusalCode.TOO_FEW_EXCLUSIVE_CPUS, message)


def _verdicts(offers: Mapping[str, CPUSet], chosen: str, count: int) -> tuple[Verdict, ...]:
    best = len(offers[chosen])
    verdicts = [Verdict(chosen, (("free_cpus", best),))]
    for pool, cpus in offers.items():
        free, facts = len(cpus), (("free_cpus", len(cpus)),)
        if free < count:
            why = f"too few free CPUs: {free}; {chosen} has {best}"
            verdicts.append(Verdict(pool, facts, chosen, "free_cpus", free, best, why))
        elif pool != chosen:
            verdicts.append(Verdict(pool, facts, chosen, "order", why=f"{chosen} comes first"))
    return tuple(verdicts)


def make(topology: Topology, constraints: Constraints, options: StaticOptions) -> StaticPolicy:
    """Return the policy for one machine and configuration.

    Raises:
        PartitionError: the available and reserved CPUs do not fit the machine.
    """
    allocator = CPUAllocator(topology, priorities_of(topology))
    split = partition(topology, constraints, allocator)
    usable = split.sharable | split.isolated
    nodes = sorted((node.cpus & usable for node in topology.nodes), key=len, reverse=True)
    return StaticPolicy(split, allocator, options, nodes=tuple(nodes))
