"""The one place where the state changes: events in, decisions out, nothing awaited in between.

Everybody who learns something tells the engine; everybody who must do something is told by it. That is also why there
is no lock: an event is decided, and the state replaced, within one synchronous call.
"""

from __future__ import annotations

import itertools
import re
import time
from collections import OrderedDict
from typing import TYPE_CHECKING

import attrs

from crirm.logs import get_logger
from crirm.model.decision import Decision, Effect, RefusalReason, RefusedError, State
from crirm.model.events import ContainerRequested, Event, ResizeRequested
from crirm.model.trail import Trail  # noqa: TC001 - Explained is read back by its annotations
from crirm.model.workload import ContainerKey
from crirm.policy import pipeline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crirm.policy.api import Policy

log = get_logger("policy")

TRAILS_KEPT = 4096  # of containers that are gone, the latest; those of the living are always kept
_HEX = re.compile("[0-9a-f]{1,16}")


class FaultError(RefusedError):
    """The policy has a bug; the request is turned down since nobody knows what would be right."""


@attrs.frozen
class Explained:
    """A trail with when it was made and the name that its container had, which may be gone since."""

    at_s: float
    name: str
    trail: Trail


class Engine:
    """State, policy and the trails of decisions.

    Args:
        policy: decides.
        overflow: whether new containers without room are let in all the same; see ``pipeline.step``.
        clock: wall-clock seconds.
    """

    def __init__(self, policy: Policy, clock: Callable[[], float] = time.time, *, overflow: bool = False) -> None:
        self.policy = policy
        self.overflow = overflow
        self.state: State = pipeline.initial(policy)
        self.trails: OrderedDict[ContainerKey, Explained] = OrderedDict()
        self._clock = clock
        self._effects: list[Callable[[Effect], None]] = []
        self._lookers: list[Callable[[Event], None]] = []
        self._recorders: list[Callable[[Event, State, Decision], None]] = []
        self._started = f"{time.time_ns():x}"
        self._numbers = itertools.count(1)

    def new_key(self) -> ContainerKey:
        """Return a name for a container that no other was ever given; later ones sort after earlier ones."""
        return ContainerKey(f"{self._started}-{next(self._numbers):08}")

    def resume(self, state: State, trails: Iterable[Explained]) -> None:
        """Take over what an earlier process has left; nothing may have been decided yet."""
        self.state = state
        self.trails.update((entry.trail.key, entry) for entry in sorted(trails, key=lambda entry: entry.at_s))
        used = [key.partition("-")[0] for key in (*state.workload.containers, *self.trails) if "-" in key]
        latest = max((int(name, 16) for name in used if _HEX.fullmatch(name)), default=0)
        if int(self._started, 16) <= latest:  # the clock was set back
            self._started = f"{latest + 1:x}"

    def on_effect(self, perform: Callable[[Effect], None]) -> None:
        """Have *perform* called with every effect; it must not block."""
        self._effects.append(perform)

    def on_event(self, look: Callable[[Event], None]) -> None:
        """Have *look* called with every event that was decided about; it must not block."""
        self._lookers.append(look)

    def on_decision(self, record: Callable[[Event, State, Decision], None]) -> None:
        """Have *record* called with every event, the state of before and the decision; it must not block."""
        self._recorders.append(record)

    def apply(self, event: Event) -> Decision:
        """Decide about *event*, take over the new state and hand out the effects.

        A bug in the policy refuses a request (fail closed) and ignores every other event; the state stays whole.
        """
        try:
            decision = pipeline.step(self.policy, self.state, event, self._clock(), overflow=self.overflow)
        except Exception:
            log.exception(
                "a decision failed, this is a bug in crirm", kind=type(event).__name__, policy=self.policy.name
            )
            return Decision(self.state, refusal=_fault(event))
        before, self.state = self.state, decision.state
        self._note(event, decision)
        for record in self._recorders:
            record(event, before, decision)
        for effect in decision.effects:
            for perform in self._effects:
                perform(effect)
        for look in self._lookers:
            look(event)
        return decision

    def _note(self, event: Event, decision: Decision) -> None:
        if decision.trail is not None:
            self._keep(decision.trail)
        if decision.refusal is not None:
            log.warning("refused", kind=type(event).__name__, reason=str(decision.refusal))
        elif log.debug_on:
            log.debug("decided", kind=type(event).__name__, effects=len(decision.effects))

    def _keep(self, trail: Trail) -> None:
        name = self.state.workload.full_name(trail.key)
        self.trails[trail.key] = Explained(self._clock(), name, trail)
        self.trails.move_to_end(trail.key)
        log.info("placed", container=name, pool=trail.chosen, granted=trail.granted, others=len(trail.moves))
        for key in list(itertools.islice(self.trails, max(0, len(self.trails) - TRAILS_KEPT))):
            if key not in self.state.workload.containers:
                del self.trails[key]


def _fault(event: Event) -> RefusedError | None:
    if isinstance(event, ContainerRequested | ResizeRequested):
        return FaultError(RefusalReason.BAD_STATE, "crirm could not decide because of a fault of its own; see its log")
    return None
