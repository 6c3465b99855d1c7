"""Calls that wait until CPUs are clear: a start, or a resize, goes on when the runtime has taken them from others."""

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
    """Has calls wait; see ``handover``.

    Args:
        engine: decides, and writes down who was late.
        effects: knows what the runtime has not confirmed.
        check: has the kernel asked at once what it has for a container.
    """

    engine: Engine
    effects: EffectsWorker
    check: Callable[[ContainerKey], None]

    async def clear(self, key: ContainerKey) -> None:
        """Wait until the CPUs that container *key* is to have are clear, and no update of it is on its way."""
        if not self.effects.unsettled(key):
            return
        handover, first = self.effects.handover, None
        with trio.move_on_after(CLEAR_WITHIN_S):
            while self.effects.in_flight(key) or (first := handover.first_in_the_way(key, first)):
                await handover.wait()
        if late := self.effects.unsettled(key):
            self._tell(key, late)

    def started(self, key: ContainerKey) -> None:
        """Hear that a start has ended, well or not; what the kernel has then is looked at at once."""
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
