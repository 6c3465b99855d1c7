"""Which CPUs a container gets under the policy ``static``, and how that came about."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.qos import QoSClass
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.trail import Verdict
from crirm.model.workload import Container, Pod
from crirm.policy.annotations import PREFER_ISOLATED_CPUS, boolean
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.partition import Partition
from crirm.policy.priorities import Priority
from crirm.policy.resizing import grown, kept_of
from crirm.policy.static.kubelet import KubeletChoice
from crirm.policy.static.options import StaticOptions
from crirm.policy.static.state import StaticState

ISOLATED, ORDINARY, BOTH, SHARED = "isolated", "exclusive", "exclusive and isolated", "shared"
CLAIMED = "DRA claims"
"""The pools of a container."""


@attrs.frozen
class Grant:
    """What a container gets, and how that came about.

    Args:
        pool: where it is.
        cpus: what it has to itself.
        verdicts: on the pools that were considered.
        notes: sentences.
    """

    pool: str
    cpus: CPUSet = NO_CPUS
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()


@attrs.frozen(eq=False)
class Chooser:
    """Chooses CPUs on one machine.

    Args:
        partition: its CPUs.
        allocator: takes CPUs where no option of the kubelet is set.
        kubelet: takes them otherwise.
        options: of the policy.
    """

    partition: Partition
    allocator: CPUAllocator
    kubelet: KubeletChoice | None
    options: StaticOptions

    def grant(self, state: StaticState, pod: Pod, container: Container, old: CPUSet, first: CPUSet = NO_CPUS) -> Grant:
        """Choose for *container*, which has nothing in *state*, but had *old* before, and *first* when it was created.

        Raises:
            RefusedError: there are too few CPUs, or not in whole cores, or an annotation is malformed.
        """
        preferred = boolean(pod, container.name, PREFER_ISOLATED_CPUS)
        request = container.requirements.cpu_request
        if pod.qos is not QoSClass.GUARANTEED:
            return Grant(SHARED, notes=(f"runs on shared CPUs: its pod is {pod.qos.value}, not Guaranteed",))
        if not request or request % 1000:
            return Grant(SHARED, notes=("runs on shared CPUs: its CPU request is not a whole number",))
        count = request // 1000
        self._check_alignment(pod, container, count)
        own = old or self._found(state, container)
        offers = self._offers(state, count, preferred)
        pool = next((pool for pool, cpus in offers.items() if self._room(cpus) >= count), None)
        if pool is None:
            raise self._no_room(state, pod, container, count, old)
        kept = self._kept(state, count, own, first)
        if kept:
            return Grant(self._pool_of(kept), kept, notes=("keeps its CPUs",))
        cpus = self._take(offers[pool], count)
        rooms = {offered: self._room(free) for offered, free in offers.items()}
        return Grant(pool, cpus, _verdicts(rooms, pool, count), self._cautions(cpus))

    def usable(self, cpus: CPUSet) -> CPUSet:
        """Return those of *cpus* that a container may have to itself if they are free."""
        return self.kubelet.usable(cpus) if self.kubelet else cpus

    def _check_alignment(self, pod: Pod, container: Container, count: int) -> None:
        if self.kubelet is None or not self.kubelet.options.full_pcpus_only or not count % self.kubelet.threads:
            return
        threads, more = self.kubelet.threads, -count % self.kubelet.threads
        message = (
            f"{name_of(pod, container)} wants {count} exclusive CPUs, which are not whole cores of {threads} threads; "
            f"full-pcpus-only gives whole cores only, so request {count + more}"
        )
        raise RefusedError(RefusalCode.NOT_WHOLE_CORES, message)

    def _take(self, free: CPUSet, count: int, near: CPUSet = NO_CPUS) -> CPUSet:
        if self.kubelet is not None:
            return self.kubelet.take(free, count, near)
        return self.allocator.take(free, count, Priority.HIGH, near)

    def _room(self, free: CPUSet) -> int:
        return len(self.usable(free))

    def _offers(self, state: StaticState, count: int, preferred: bool | None) -> dict[str, CPUSet]:
        """Return the free CPUs of each pool, in the order in which they are tried."""
        default = self.options.relaxed_isolation or count == 1
        wanted = default if preferred is None else preferred
        if not self.partition.isolated:
            return {ORDINARY: state.free}
        ordinary = {ORDINARY: state.free, BOTH: state.free | state.isolated}
        return {ISOLATED: state.isolated, **ordinary} if wanted else ordinary

    def _pool_of(self, cpus: CPUSet) -> str:
        if cpus <= self.partition.isolated:
            return ISOLATED
        return ORDINARY if cpus.isdisjoint(self.partition.isolated) else BOTH

    def _kept(self, state: StaticState, count: int, own: CPUSet, first: CPUSet) -> CPUSet:
        """Return CPUs that include *own*, or some of them where *count* is less; nothing where that cannot be."""
        if count <= len(own):
            kept = kept_of(self._take, own, self.usable(first & own), count)
            return kept if kept <= self.usable(kept) else self._take(own, count)
        more = NO_CPUS if own <= self.partition.isolated else state.free
        if not own.isdisjoint(self.partition.isolated):
            more |= state.isolated
        more -= own
        if not own or len(own) + self._room(more) < count:
            return NO_CPUS
        near = None if self.kubelet else grown(self.allocator, more, count - len(own), own)
        return own | (near or self._take(more, count - len(own), own))

    def _found(self, state: StaticState, container: Container) -> CPUSet:
        """Return the CPUs that a container was found bound to, where they can be its own."""
        found = container.found_on
        exact = 1000 * len(found) == container.requirements.cpu_request
        return found if exact and found <= self.usable(state.free | state.isolated) else NO_CPUS

    def _cautions(self, cpus: CPUSet) -> tuple[str, ...]:
        if self._pool_of(cpus) != BOTH:
            return ()
        isolated = cpus & self.partition.isolated
        return (f"CPUs {isolated} are isolated: the kernel does not balance threads onto them",)

    def _no_room(self, state: StaticState, pod: Pod, container: Container, count: int, old: CPUSet) -> RefusedError:
        free, isolated = self._room(state.free), self._room(state.isolated)
        both = self._room(state.free | state.isolated)
        what = "of whole cores " if self.kubelet and self.kubelet.options.full_pcpus_only else ""
        strict = self.options.kubelet.strict_reservation
        short = f" with what the container has, {count - both} too few for this resize" if old else ""
        reserved = "no container runs on reserved CPUs" if strict else "reserved CPUs always stay shared"
        message = (
            f"{name_of(pod, container)} wants {count} exclusive CPUs, but only {both} {what}are free "
            f"({free} ordinary, {isolated} isolated){short}; {reserved}"
        )
        return RefusedError(RefusalCode.TOO_FEW_EXCLUSIVE_CPUS, message)


def name_of(pod: Pod, container: Container) -> str:
    """Return a container's name for people."""
    return f"{pod.namespace}/{pod.name}/{container.name}"


def _verdicts(rooms: Mapping[str, int], chosen: str, count: int) -> tuple[Verdict, ...]:
    best = rooms[chosen]
    verdicts = [Verdict(chosen, (("free_cpus", best),))]
    for pool, free in rooms.items():
        facts = (("free_cpus", free),)
        if free < count:
            why = f"too few free CPUs: {free}; {chosen} has {best}"
            verdicts.append(Verdict(pool, facts, chosen, "free_cpus", free, best, why))
        elif pool != chosen:
            verdicts.append(Verdict(pool, facts, chosen, "order", why=f"{chosen} comes first"))
    return tuple(verdicts)
