"""A run from its scenario to what was found in it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import attrs
import trio
from structlog import DropEvent, get_config

from tests.simulation import clocks
from tests.simulation.steps import Steps
from tests.simulation.world import World, run

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any

    from tests.simulation.checks import Violation
    from tests.simulation.scenario import Scenario

QUIET_S = 8.0  # without a call that changes anything
SETTLED_S = 45.0  # after the last disturbance: an enforcer's round, the longest pause of the link, two lists
PATIENCE_S = 200.0  # for a quiet moment; a kubelet whose pod is refused again and again leaves few
GONE_WITHIN_S = 900.0  # the pods, after all were deleted: two calls that are never answered, and backoffs


@attrs.frozen
class Result:
    """What a run was like.

    Args:
        violations: in the order in which they were seen.
        virtual_s: how long it was for those in it.
        cpu_s: how long for us.
        events: frames, callbacks, calls in threads, calls of the runtime.
        lives: of pods.
        log: the last lines of crirm's log, and what was done to it.
    """

    violations: tuple[Violation, ...]
    virtual_s: float
    cpu_s: float
    events: int
    lives: int
    starts: int
    quiet_moments: int
    restarts: int
    log: tuple[str, ...] = attrs.field(repr=False)


_current: list[World] = []


def play(scenario: Scenario, watched: frozenset[str] | None = None) -> Result:
    """Play *scenario*; the same one gives the same result every time.

    Args:
        scenario: what happens.
        watched: the rules that count; None: all of them.
    """
    clock, begun_s = clocks.JumpingClock(), clocks.cpu_time()
    clocks.use(clock)
    random.seed(scenario.seed)
    _scheduler().seed(scenario.seed)
    try:
        world = trio.run(run, scenario, _Play(scenario).play, clock, watched, clock=clock)
    finally:
        clocks.use(None)
    log = tuple(f"{at_s:9.3f} s  {level:8}{text}" for at_s, level, text in world.log)
    return Result(
        tuple(world.checks.found), clock.now_s, clocks.cpu_time() - begun_s, world.events, world.kubelet.lived,
        world.checks.starts, world.checks.quiet_moments, world.restarts, log,
    )  # fmt: skip


def _scheduler() -> random.Random:
    """Return what Trio shuffles ready tasks with, which must be sorted before, or the shuffling tells nothing."""
    from trio._core import _run  # noqa: PLC0415 - as pytest-trio and Hypothesis do

    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]
    return _run._r


@attrs.frozen
class _Play:
    scenario: Scenario

    async def play(self, world: World) -> None:
        _current[:] = [world]
        steps = Steps(world)
        late_s = 0.0  # what waiting for quiet moments took longer than the scenario has for it
        for step in self.scenario.steps:
            await trio.sleep_until(step.at_s + late_s)
            steps.do(step)
            if step.kind == "check":
                await _wait_quiet(world)
                late_s = max(late_s, trio.current_time() - step.at_s)
            if world.checks.found:
                return
        await trio.sleep_until(self.scenario.last_s + late_s)
        await _wait_quiet(world)
        if not world.checks.found:
            await _wait_gone(world)


async def _wait_quiet(world: World) -> None:
    world.mishaps.clear()
    caller = world.kubelet.caller
    with trio.move_on_after(PATIENCE_S):
        while True:
            waits_s = QUIET_S - (trio.current_time() - max(caller.last_s, world.runtime.ended_s))
            if world.checks.calm_since_s < SETTLED_S:
                await trio.sleep(SETTLED_S - world.checks.calm_since_s + 0.01)
            elif caller.in_flight or waits_s > 0:
                await trio.sleep(max(0.1, waits_s))
            else:
                world.checks.quiet()
                return


async def _wait_gone(world: World) -> None:
    for name in list(world.kubelet.workers):
        world.kubelet.delete(name)
    with trio.move_on_after(GONE_WITHIN_S):
        while world.kubelet.workers:  # noqa: ASYNC110 - the kubelet tells nobody
            await trio.sleep(1.0)
    if world.kubelet.workers:
        world.checks.fail("pods do not go away", ", ".join(world.kubelet.workers))
        return
    await trio.sleep(SETTLED_S)
    world.checks.empty()


# --- crirm's log ----------------------------------------------------------------------------------------------------


def _keep(_logger: Any, level: str, facts: MutableMapping[str, Any]) -> Any:
    event, source = facts.pop("event", ""), facts.pop("source", "")
    if _current:
        world = _current[0]
        told = " ".join(f"{name}={value}" for name, value in facts.items()).replace(str(world.directory), "/state")
        world.log.append((trio.current_time(), level, f"{source}: {event} {told}"))
        if "bug in crirm" in event or "fault of its own" in event:
            _fail(world, event)
    raise DropEvent


def _fail(world: World, event: str) -> None:
    import sys  # noqa: PLC0415
    import traceback  # noqa: PLC0415

    world.checks.fail(
        "crirm says that it has a bug", f"{event}: {''.join(traceback.format_exception(*sys.exc_info()))[-600:]}"
    )


def listen_to_logs() -> None:
    """Take what crirm logs, instead of having it written."""
    get_config()["processors"][:] = [_keep]
