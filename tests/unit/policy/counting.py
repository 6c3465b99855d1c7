"""A policy with numbered seats: simple enough to see through, and with every way in which policies can answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.model.cpuset import CPUSet
from crirm.model.decision import Adjustment, StartTimer
from crirm.model.events import Timer
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.trail import Trail
from crirm.model.workload import Container, ContainerKey, Workload
from crirm.policy.api import Json, Placement, Policy, Restored

if TYPE_CHECKING:
    from collections.abc import Mapping

Seats = dict[ContainerKey, CPUSet]


@attrs.frozen
class Counting(Policy):
    """Gives ``cpu_request / 1000`` CPUs to each container, the lowest that are free; who asks for none shares the rest.

    Args:
        size: CPUs of the machine.
    """

    size: int
    name: str = "counting"

    def initial(self) -> Seats:
        return {}

    def allocate(self, state: Seats, workload: Workload, container: Container) -> Placement:  # noqa: ARG002 - the interface
        return self._place(state, container)

    def resize(self, state: Seats, workload: Workload, container: Container) -> Placement:  # noqa: ARG002 - the interface
        return self._place({k: v for k, v in state.items() if k != container.key}, container)

    def release(self, state: Seats, workload: Workload, key: ContainerKey) -> Placement:  # noqa: ARG002 - the interface
        if key not in state:
            return Placement(state)
        rest = {k: v for k, v in state.items() if k != key}
        return Placement(rest, self._adjustments(state, rest))

    def started(self, state: Seats, workload: Workload, key: ContainerKey) -> Placement:
        warm = workload.containers[key].annotations.get("cold")
        return Placement(state, effects=(StartTimer(key, Timer.COLD_START, 60.0),) if warm else ())

    def expired(self, state: Seats, workload: Workload, key: ContainerKey) -> Placement:  # noqa: ARG002 - the interface
        return Placement(state, {key: Adjustment(cpus=CPUSet.of(0))} if key in state else {})

    def exclusive(self, state: Seats) -> Seats:
        return {key: seats for key, seats in state.items() if seats}

    def save(self, state: Seats) -> dict[ContainerKey, Json]:
        return {key: str(seats) for key, seats in state.items()}

    def restore(self, saved: Mapping[ContainerKey, Json], workload: Workload) -> Restored:  # noqa: ARG002 - the interface
        seats: Seats = {}
        for key, text in sorted(saved.items()):
            cpus = CPUSet.parse(text)
            if cpus <= CPUSet(range(self.size)) - CPUSet.union(seats.values()):
                seats[key] = cpus
        adjustments = {key: Adjustment(cpus=cpus) for key, cpus in self._view(seats).items()}
        return Restored(seats, adjustments, dict.fromkeys(saved.keys() - seats.keys(), "its seats are taken"))

    def _place(self, state: Seats, container: Container) -> Placement:
        wanted = container.requirements.cpu_request // 1000
        free = sorted(set(range(self.size)) - {cpu for seats in state.values() for cpu in seats})
        if wanted >= len(free):
            raise RefusedError(
                RefusalCode.TOO_FEW_EXCLUSIVE_CPUS, f"wants {wanted} CPUs, {len(free)} are free and one must stay"
            )
        after = {**state, container.key: CPUSet(free[:wanted])}
        trail = Trail(container.key, self.name, f"{wanted} CPUs", "all", str(after[container.key]))
        return Placement(after, self._adjustments(state, after), trail=trail)

    def _adjustments(self, before: Seats, after: Seats) -> dict[ContainerKey, Adjustment]:
        old, new = self._view(before), self._view(after)
        return {key: Adjustment(cpus=cpus) for key, cpus in new.items() if old.get(key) != cpus}

    def _view(self, state: Seats) -> Seats:
        taken = CPUSet.union(state.values())
        shared = CPUSet(range(self.size)) - taken
        return {key: seats or shared for key, seats in state.items()}
