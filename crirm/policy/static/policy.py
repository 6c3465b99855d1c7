"""The policy ``static``: the kubelet's static CPU manager, with an eye for kernel-isolated CPUs.

A container of a Guaranteed pod with a whole-number CPU request gets this many exclusive CPUs. All others run on
the *shared* CPUs: all available ones that are not exclusive. The reserved CPUs always stay shared, so that
there are some; with ``strict-cpu-reservation`` no container runs on them, and who would leave the containers on shared
CPUs without any is refused; only those that run already use them while all others are exclusive. Kernel-isolated CPUs
are assigned as exclusive CPUs only.

Isolated CPUs are tried first where the pod asks for them (``prefer-isolated-cpus``), or where the options do and the
pod does not say otherwise, or for a single CPU unless the pod does not want one; they count only if there are enough.
Then come ordinary ones, and last, if these are too few, both kinds together. Which CPUs of these are taken: see
`cpu_allocator`, or `kubelet` if an option of the kubelet is set.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet, ListFormatError
from crirm.model.decision import NO_QUOTA, Adjustment
from crirm.model.quantity import format_millicpu
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.topology import Topology, fewest
from crirm.model.trail import Move, Trail, Verdict
from crirm.model.workload import Container, ContainerKey, ContainerState, Pod, Workload
from crirm.policy.api import Constraints, Json, Placement, Policy, Restored
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.dra import Owned, saved_claims, sentence
from crirm.policy.partition import Partition, partition
from crirm.policy.priorities import priorities_of
from crirm.policy.static.choosing import CLAIMED, Chooser, Grant, name_of
from crirm.policy.static.kubelet import kubelet_choice
from crirm.policy.static.options import StaticOptions
from crirm.policy.static.state import StaticState


@attrs.frozen(eq=False)
class StaticPolicy(Policy):
    """Assigns exclusive CPUs for whole-number requests; see the module."""

    partition: Partition
    chooser: Chooser
    options: StaticOptions
    name: str = "static"
    nodes: tuple[CPUSet, ...] = ()
    """The CPUs that may be used, by NUMA node, the largest node first."""
    online: CPUSet = NO_CPUS
    """All CPUs that are there, whatever they may be used for."""

    def initial(self) -> StaticState:
        """Return the state of a machine on which nothing runs."""
        return StaticState(self.partition.sharable, self.partition.isolated)

    def allocate(self, state: StaticState, workload: Workload, container: Container) -> Placement:
        """Assign exclusive CPUs to *container*, or the shared ones.

        Raises:
            RefusedError: there are too few, or an annotation of its pod is malformed.
        """
        pod = workload.pod_of(container)
        if container.claims:
            return self._on_claims(state, state.without(container.key, self.partition), workload, container)
        after, grant = self._granted(state, pod, container)
        changed = self._changes(state, after, container.key)
        trail = self._trail(state, after, pod, container, grant, changed)
        return Placement(after, changed, trail=trail, moves=trail.moves, cramped=self._spread(grant.cpus))

    def resize(self, state: StaticState, workload: Workload, container: Container) -> Placement:
        """Give *container* more exclusive CPUs, or leave it some of them; it moves only if neither is possible.

        Raises:
            RefusedError: there are too few, or an annotation of its pod is malformed.
        """
        return self.allocate(state, workload, container)

    def fits(self, state: StaticState, workload: Workload, container: Container, *, resize: bool = False) -> bool:  # noqa: ARG002 - both are the same here
        """Tell whether *container* would get its CPUs."""
        try:
            if container.claims:
                self._on_claims(state, state.without(container.key, self.partition), workload, container)
            else:
                self._granted(state, workload.pod_of(container), container)
        except RefusedError:
            return False
        return True

    def release(self, state: StaticState, workload: Workload, key: ContainerKey) -> Placement:
        """Release the grant of *key*; its ordinary CPUs become shared."""
        after = state.without(key, self.partition)
        changed = self._changes(state, after, key)
        return Placement(after, changed, moves=self._moves(state, after, key, workload.full_name(key), changed))

    def exclusive(self, state: StaticState) -> Mapping[ContainerKey, CPUSet]:
        """Return the exclusive CPUs of each container that has some."""
        return state.own

    def save(self, state: StaticState) -> Mapping[ContainerKey, Json]:
        """Return everybody's own CPUs as a list, empty for those who share; with the first ones after a resize."""
        exclusive: dict[ContainerKey, Json] = {key: str(cpus) for key, cpus in state.exclusive.items()}
        exclusive |= {key: {"cpus": exclusive[key], "first": str(first)} for key, first in state.first.items()}
        claimed = {key: [[claim.uid, str(claim.cpus)] for claim in claims] for key, claims in state.dra.items()}
        return {**dict.fromkeys(state.sharing, ""), **exclusive, **claimed}

    def restore(self, saved: Mapping[ContainerKey, Json], workload: Workload) -> Restored:  # noqa: ARG002 - the interface
        """Restore the CPUs of all containers; if two claim the same CPU, the older one keeps it."""
        state = self.initial()
        dropped: dict[ContainerKey, str] = {}
        for key, own in sorted(saved.items()):
            if (claims := saved_claims(own)) is not None:
                try:
                    self._owned(state).check(key, claims)
                    state = state.plus_claims(key, claims)
                except RefusedError as refusal:
                    dropped[key] = refusal.message
                continue
            try:
                cpus, first = _own_and_first(own)
            except ListFormatError:
                dropped[key] = "saved grant is unreadable"
                continue
            if not cpus:
                state = state.plus_sharing(key)
            elif not cpus <= state.free | state.isolated:
                dropped[key] = f"CPUs {cpus - state.free - state.isolated} can no longer be exclusive"
            elif not cpus <= self.chooser.usable(cpus):
                dropped[key] = f"CPUs {cpus} are not whole cores, as full-pcpus-only wants"
            else:
                state = state.plus_exclusive(key, cpus, first)
        shared = Adjustment(cpus=self._shared(state))
        if not shared.cpus:
            dropped |= dict.fromkeys(state.sharing, "no shared CPU is left")
            state = attrs.evolve(state, sharing=frozenset())
        adjustments = {key: _exclusively(cpus) for key, cpus in state.own.items()}
        return Restored(state, {**dict.fromkeys(state.sharing, shared), **adjustments}, dropped)

    def _on_claims(
        self, before: StaticState, without: StaticState, workload: Workload, container: Container
    ) -> Placement:
        """Return the placement on DRA claims; *without* is the state in which the container has nothing."""
        pod, key = workload.pod_of(container), container.key
        owned = attrs.evolve(self._owned(without), name=workload.full_name)
        owned.check(name_of(pod, container), container.claims)
        after = without.plus_claims(key, container.claims)
        self._check_shared(without, after, pod, container)
        changed = self._changes(before, after, key)
        grant = Grant(CLAIMED, after.own[key], notes=(sentence(container.claims),))
        trail = self._trail(before, after, pod, container, grant, changed)
        return Placement(after, changed, trail=trail, moves=trail.moves)

    def _owned(self, state: StaticState) -> Owned:
        return Owned(self.online, self.partition.reserved, state.claim_counts, state.exclusive)

    def _granted(self, state: StaticState, pod: Pod, container: Container) -> tuple[StaticState, Grant]:
        before = state.without(container.key, self.partition)
        old = state.exclusive.get(container.key, CPUSet())
        first = state.first.get(container.key, old)
        grant = self.chooser.grant(before, pod, container, old, first)
        key, own = container.key, grant.cpus
        after = before.plus_exclusive(key, own, first) if own else before.plus_sharing(key)
        found = container.state is ContainerState.RUNNING and key not in state.exclusive and key not in state.sharing
        if not (found and key in after.sharing):
            self._check_shared(before, after, pod, container)
        return after, grant

    def _spread(self, cpus: CPUSet) -> bool:
        """Tell whether *cpus* are of more NUMA nodes than so many would need on an empty machine."""
        needed = fewest(map(len, self.nodes), len(cpus))
        return sum(not node.isdisjoint(cpus) for node in self.nodes) > needed

    def _shared(self, state: StaticState) -> CPUSet:
        if self.options.kubelet.strict_reservation:
            return (
                state.free or self.partition.reserved
            )  # what is left to who runs already when all others are exclusive
        return state.free | self.partition.reserved

    def _check_shared(self, before: StaticState, after: StaticState, pod: Pod, container: Container) -> None:
        """Refuse what would leave containers on shared CPUs without any.

        Raises:
            RefusedError: so it is.
        """
        if after.free or not after.sharing or not self.options.kubelet.strict_reservation:
            return
        name, why = name_of(pod, container), "with strict-cpu-reservation the reserved CPUs are not for containers"
        if container.key in after.sharing:
            message = f"{name} wants shared CPUs, but all CPUs are exclusive; {why}"
            raise RefusedError(RefusalCode.TOO_LITTLE_SHARED_CPU, message)
        number = len(before.sharing)
        who = "1 container runs" if number == 1 else f"{number} containers run"
        message = f"{name} wants the last shared CPUs {self._shared(before)}, on which {who}; {why}"
        raise RefusedError(RefusalCode.TOO_FEW_EXCLUSIVE_CPUS, message)

    def _changes(self, before: StaticState, after: StaticState, key: ContainerKey) -> dict[ContainerKey, Adjustment]:
        """Return the adjustments of *key*, if it has any, and of all others for whom they are not what they were."""
        shared = Adjustment(cpus=self._shared(after))
        changed = dict.fromkeys(sorted(after.sharing), shared) if self._shared(before) != shared.cpus else {}
        if own := after.own.get(key):
            changed[key] = _exclusively(own)
        elif key in after.sharing:
            changed[key] = shared
        return changed

    def _trail(
        self,
        before: StaticState,
        after: StaticState,
        pod: Pod,
        container: Container,
        grant: Grant,
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
            moves=self._moves(before, after, container.key, name_of(pod, container), changed),
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
        was, now = str(old), str(new)  # once: hundreds of containers may share
        return tuple(Move(key, "CPUs", was, now, why) for key in sorted(changed) if key != subject)


def _own_and_first(saved: Json) -> tuple[CPUSet, CPUSet]:
    """Return exclusive CPUs, and those of them that the container was created with.

    Raises:
        ListFormatError: they are neither a text nor a pair of texts.
    """
    cpus, first = (saved.get("cpus"), saved.get("first")) if isinstance(saved, dict) else (saved, saved)
    if not isinstance(cpus, str) or not isinstance(first, str):
        raise ListFormatError("not a list of CPUs")
    return CPUSet.parse(cpus), CPUSet.parse(first)


def _exclusively(cpus: CPUSet) -> Adjustment:
    return Adjustment(cpus=cpus, cpu_quota_us=NO_QUOTA)


def make(topology: Topology, constraints: Constraints, options: StaticOptions) -> StaticPolicy:
    """Return the policy for one machine and configuration.

    Raises:
        PartitionError: the available and reserved CPUs do not fit the machine.
        OptionsError: options of the kubelet do not.
    """
    allocator = CPUAllocator(topology, priorities_of(topology))
    split = partition(topology, constraints, allocator)
    usable = split.sharable | split.isolated
    nodes = sorted((node.cpus & usable for node in topology.nodes), key=len, reverse=True)
    chooser = Chooser(split, allocator, kubelet_choice(topology, options.kubelet), options)
    return StaticPolicy(split, chooser, options, nodes=tuple(nodes), online=topology.online)
