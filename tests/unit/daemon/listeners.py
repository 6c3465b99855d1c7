"""Those who hear what an engine decides, made of functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.daemon.placement.ladder import Listener

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.daemon.placement.engine import Engine
    from crirm.model.decision import Decision, State
    from crirm.model.events import Event


@attrs.frozen
class _Hears(Listener):
    hear: Callable[[Event, State, Decision], object]

    def decided(self, event: Event, before: State, decision: Decision) -> None:
        self.hear(event, before, decision)


def hear_decisions(engine: Engine, hear: Callable[[Event, State, Decision], object]) -> None:
    """Have *hear* told of decisions after all others."""
    engine.listen((*engine.listeners, _Hears(hear)))


def hear_events(engine: Engine, hear: Callable[[Event], object]) -> None:
    """Have *hear* told of events after all others."""
    hear_decisions(engine, lambda event, _before, _decision: hear(event))
