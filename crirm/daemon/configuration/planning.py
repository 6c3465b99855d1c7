"""Plans about a state that goes on changing."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.daemon.placement.engine import Engine
    from crirm.model.decision import State

T = TypeVar("T")

PLANS_ASIDE = 3  # tries to plan in a thread while the state stands still; then the event loop waits for the plan


async def plan_aside(engine: Engine, make: Callable[[State], T]) -> tuple[State, T]:
    """Return the state of now and the plan for it, made in a thread if the state stands still meanwhile.

    Args:
        engine: whose state it is; nothing is awaited between the last look at it and the return.
        make: pure.
    """
    for _ in range(PLANS_ASIDE):
        before = engine.state
        found = await trio.to_thread.run_sync(make, before)
        if engine.state is before:
            return before, found
    return engine.state, make(engine.state)
