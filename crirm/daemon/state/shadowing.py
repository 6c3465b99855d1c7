"""The shadow policy of a running node: it gets every event after the policy in force, and performs nothing.

An event is put in a queue, which costs the decision in force microseconds. A task gives the events to a thread, a few
at a time, while no creation or resize is in flight. A shadow with a gap would be worthless, so it ends, with the
reason, where it falls behind or has a bug; the policy in force never notices. Nothing of it is saved.
"""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
import trio

from crirm.daemon.placement.ladder import Listener
from crirm.errors import CrirmError
from crirm.logs import get_logger
from crirm.model.workload import ContainerState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crirm.daemon.placement.engine import Engine
    from crirm.model.decision import Decision, State
    from crirm.model.events import Event
    from crirm.policy.activation import Plan
    from crirm.replay.shadow import Happened, Overridden, Shadow
    from crirm.replay.shadow_report import View

log = get_logger("policy")

WAITING: Final = 20_000  # events; a busy node has some ten in a second
PAUSE_S: Final = 0.1  # events within this time are decided together
AT_ONCE: Final = 16  # events in one go of the thread
REPORT_WITHIN_S: Final = 5.0  # for a shadow that has fallen behind
PATIENCE_S: Final = 1.0  # for calls in flight; with so many at all times, the shadow decides beside them

RUNNING: Final = "running"
ENDED: Final = "ended"
BROKEN: Final = "broken"

TOO_SLOW: Final = f"it fell behind by {WAITING} events"
RECONFIGURED: Final = "the configuration in force has changed"


class ShadowError(CrirmError):
    """A shadow policy cannot be started or shown."""


@attrs.frozen
class Beginning:
    """What a shadow begins with.

    Args:
        source: of its configuration: a file, or the option that named the policy.
        policy_text: the policy and its options, in words.
        changes: number of containers that a switch would change at once.
        unfit: containers that would not fit then, and why, by name.
    """

    source: str
    policy_text: str
    changes: int
    unfit: tuple[tuple[str, str], ...]


@attrs.define(eq=False)
class _Running:
    """One shadow from its beginning to its end."""

    beginning: Beginning
    there: Any  # the policy in force when it began; another one ends it
    shadow: Shadow
    waiting: deque[Happened | Overridden] = attrs.field(factory=deque)
    busy: bool = False
    status: str = RUNNING
    reason: str = ""
    until_s: float | None = None
    last: View | None = None

    @property
    def caught_up(self) -> bool:
        """Whether it has decided about all events."""
        return not self.waiting and not self.busy


class Shadowing(Listener):
    """Keeps the shadow policy of a node, if it has one.

    Args:
        engine: decides in force.
        clock: wall-clock seconds.
    """

    def __init__(self, engine: Engine, clock: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._clock = clock
        self._one: _Running | None = None
        self._changed = trio.Event()
        self._asked = 0  # reports that wait for the shadow to catch up

    @property
    def active(self) -> bool:
        """Whether a shadow decides now."""
        return self._one is not None and self._one.status == RUNNING

    def begin(self, beginning: Beginning, shadow: Shadow) -> None:
        """Let *shadow* decide from now on.

        Args:
            beginning: for people.
            shadow: planned from the state of now.

        Raises:
            ShadowError: there is one already.
        """
        if self.active:
            raise ShadowError("a shadow policy is running already; stop it with `crirm shadow stop`")
        self._one = _Running(beginning, self._engine.policy, shadow)
        log.info("shadow policy started", policy=beginning.policy_text, source=beginning.source)

    def stop(self) -> None:
        """Forget the shadow.

        Raises:
            ShadowError: there is none.
        """
        if self._one is None:
            raise ShadowError("no shadow policy is running; start one with `crirm shadow start`")
        self._one.status, self._one.waiting = ENDED, deque()
        self._one = None
        log.info("shadow policy stopped")

    # --- events --------------------------------------------------------------------------------------------------

    def decided(self, event: Event, before: State, decision: Decision) -> None:  # noqa: ARG002 - the interface
        """Queue an event for the shadow."""
        if self._one is not None and self._one.status == RUNNING:
            from crirm.replay.shadow import Happened, counts  # noqa: PLC0415  # as above

            self._put(self._one, Happened(self._clock(), event, counts(event, decision)))

    def activated(self, before: State, plan: Plan) -> None:
        """Follow an override; a change of configuration or machine ends the shadow."""
        one = self._one
        if one is None or one.status != RUNNING:
            return
        if plan.machine:
            self._end(one, before, f"the machine has changed: {plan.machine}")
        elif self._engine.policy is not one.there:
            self._end(one, before, RECONFIGURED)
        else:
            from crirm.replay.shadow import Overridden, plan_counts  # noqa: PLC0415  # as above

            old, new = before.workload.containers, plan.state.workload.containers
            wanted = {
                key: new[key].requirements
                for key in old.keys() & new.keys()
                if old[key].requirements != new[key].requirements
            }
            self._put(one, Overridden(self._clock(), wanted, plan_counts(plan, wanted)))

    def _put(self, one: _Running, happened: Happened | Overridden) -> None:
        if len(one.waiting) >= WAITING:
            self._break(one, TOO_SLOW)
            return
        one.waiting.append(happened)
        self._changed.set()

    def _end(self, one: _Running, before: State, reason: str) -> None:
        """End the shadow once it has decided about all events so far; its last figures stay."""
        from crirm.replay.shadow_report import View  # noqa: PLC0415  # as above

        one.status, one.reason, one.until_s = ENDED, reason, self._clock()
        one.last = View(one.there, self._engine.choice, before)
        log.warning("shadow policy ended", reason=reason)
        self._changed.set()

    def _break(self, one: _Running, reason: str) -> None:
        one.status, one.reason, one.until_s = BROKEN, reason, self._clock()
        one.waiting.clear()
        log.error("shadow policy is broken; the policy in force goes on", reason=reason)

    # --- deciding ------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Decide about queued events until cancelled."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            await trio.sleep(PAUSE_S)
            while self._one is not None and self._one.waiting:
                await self._quiet()
                await self._decide(self._one)

    async def _decide(self, one: _Running) -> None:
        """Decide about the next few events."""
        batch = [one.waiting.popleft() for _ in range(min(AT_ONCE, len(one.waiting)))]
        one.busy = True
        try:
            one.shadow = await trio.to_thread.run_sync(_followed, one.shadow, batch, abandon_on_cancel=True)
        except Exception as error:
            log.exception("shadow policy failed; this is a bug in crirm")
            self._break(one, f"bug in the policy: {type(error).__name__}: {error}")
        finally:
            one.busy = False

    async def _quiet(self) -> None:
        """Wait until no creation or resize is in flight, so that none is slowed by the shadow."""
        with trio.move_on_after(PATIENCE_S):
            while self._in_flight() and not self._asked:  # noqa: ASYNC110 - of the state, which has no event
                await trio.sleep(PAUSE_S / 10)

    def _in_flight(self) -> bool:
        state = self._engine.state
        return bool(state.resizing) or any(
            one.state is ContainerState.CREATING for one in state.workload.containers.values()
        )

    # --- the report ----------------------------------------------------------------------------------------------

    async def report(self) -> dict[str, Any]:
        """Return what ``crirm shadow`` shows, as JSON.

        Raises:
            ShadowError: there is no shadow.
        """
        one = self._one
        if one is None:
            raise ShadowError("no shadow policy is running; start one with `crirm shadow start`")
        await self._caught_up(one)
        there = self._view(one)
        return await trio.to_thread.run_sync(partial(_report, one, one.shadow, there, self._clock()))

    async def _caught_up(self, one: _Running) -> None:
        self._asked += 1
        try:
            with trio.move_on_after(REPORT_WITHIN_S):
                while not one.caught_up:  # noqa: ASYNC110 - rare, and over at once
                    await trio.sleep(PAUSE_S / 10)
        finally:
            self._asked -= 1

    def _view(self, one: _Running) -> View | None:
        """Return the policy in force at the last event of the shadow; None if the shadow has not got so far."""
        from crirm.replay.shadow import pruned  # noqa: PLC0415  # as above
        from crirm.replay.shadow_report import View  # noqa: PLC0415

        if one.status == BROKEN or not one.caught_up:
            return None
        there = one.last or View(self._engine.policy, self._engine.choice, self._engine.state)
        one.shadow = pruned(one.shadow, there.state.workload)
        return there


def _followed(shadow: Shadow, batch: Sequence[Happened | Overridden]) -> Shadow:
    from crirm.replay.shadow import follow  # noqa: PLC0415  # most daemons have no shadow

    for happened in batch:
        shadow = follow(shadow, happened)
    return shadow


def _report(one: _Running, shadow: Shadow, there: View | None, now_s: float) -> dict[str, Any]:
    from crirm.replay.shadow import expire  # noqa: PLC0415  # as above
    from crirm.replay.shadow_report import Comparison, compare, compare_counts  # noqa: PLC0415

    found = Comparison(compare_counts(shadow), (), 0)
    if there is not None:
        found = compare(there, expire(shadow, one.until_s or now_s), one.until_s or now_s)
    return {
        "status": one.status,
        "reason": one.reason,
        "since_s": shadow.since_s,
        "until_s": one.until_s,
        "events": shadow.events,
        "waiting": len(one.waiting),
        "source": one.beginning.source,
        "policy": one.beginning.policy_text,
        "in_force": one.there.name,
        "changes_at_start": one.beginning.changes,
        "unfit_at_start": [{"name": name, "reason": reason} for name, reason in one.beginning.unfit],
        "figures": _figures(found.figures),
        "not_placed": [attrs.asdict(missing) for missing in shadow.missing.values()],
        "differences": [attrs.asdict(each) for each in found.differences],
        "same": found.same,
    }


def _figures(figures: Sequence[Any]) -> list[dict[str, Any]]:
    return [{"what": one.what, "in_force": one.one, "shadow": one.other, "unit": one.unit} for one in figures]
