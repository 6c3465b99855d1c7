"""Starts and resizes that wait for CPUs until the runtime has taken them from other containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from crirm.daemon.placement.handover import CLEAR_WITHIN_S
from crirm.logs import get_logger
from crirm.model.events import UpdateFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.daemon.placement.effects import EffectsWorker
    from crirm.daemon.placement.engine import Engine
    from crirm.model.workload import ContainerKey

log = get_logger("policy")

LATE = f"runtime did not confirm its update within {CLEAR_WITHIN_S:.0f} s, while"


@attrs.frozen
class Clearing:
    """Makes calls wait; see ``handover``.

    Args:
        engine: decides, and records late updates.
        effects: knows unconfirmed updates.
        check: compares a container's cgroup at once.
    """

    engine: Engine
    effects: EffectsWorker
    check: Callable[[ContainerKey], None]

    async def clear(self, key: ContainerKey) -> None:
        """Wait until the CPUs of container *key* are clear, and no update of it is in flight."""
        if not self.effects.unsettled(key):
            return
        handover, first = self.effects.handover, None
        with trio.move_on_after(CLEAR_WITHIN_S):
            while self.effects.in_flight(key) or (first := handover.first_in_the_way(key, first)):
                await handover.wait()
        if late := self.effects.unsettled(key):
            self._tell(key, late)

    def started(self, key: ContainerKey) -> None:
        """Note the end of a start, successful or not; the cgroup is compared at once."""
        late = [key, *self.effects.handover.in_the_way(key)]
        self.effects.end_start(key)
        for each in late:
            self.check(each)

    def _tell(self, key: ContainerKey, late: list[ContainerKey]) -> None:
        name = self.engine.state.workload.full_name
        log.warning(
            "runtime is slow to update containers; continuing with one whose CPUs others may still use",
            container=name(key), others=[name(other) for other in late if other != key], waited_s=CLEAR_WITHIN_S,
        )  # fmt: skip
        for other in late:
            why = f"{LATE} {name(key)} was waiting to start or grow"
            self.effects.handover.overdue[other] = why
            self.engine.apply(UpdateFailed(other, why))
