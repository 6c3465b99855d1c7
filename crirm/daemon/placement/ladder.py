"""Who hears of decisions, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crirm.daemon.placement.explained import Refused
    from crirm.model.decision import Decision, State
    from crirm.model.events import Event
    from crirm.policy.activation import Plan


class Listener:
    """Hears what an engine decides. The state is the new one by then; no method may block or raise.

    A class that hears only some of it inherits the methods that do nothing.
    """

    def decided(self, event: Event, before: State, decision: Decision) -> None:
        """Hear of an event, the state of before, and the decision."""

    def activated(self, before: State, plan: Plan) -> None:
        """Hear of another configuration, machine or override taken into use: the state of before, and the plan."""

    def turned_away(self, refused: Refused) -> None:
        """Hear of a container that was refused before anything could be decided about it."""


def ladder(
    recorder: Listener | None = None,
    persistence: Listener | None = None,
    effects: Listener | None = None,
    enforcer: Listener | None = None,
) -> tuple[Listener, ...]:
    """Return those who hear of decisions in the order in which they must.

    Args:
        recorder: first, so that a trace has an event before all that follows from it.
        persistence: before the effects, since an update of a container waits for its decision to be kept: what it
            waits for has to be noted when it begins to wait.
        effects: before the enforcer, which leaves those alone that are about to be updated.
        enforcer: last; it acts on nothing but what the others have left.
    """
    return tuple(rung for rung in (recorder, persistence, effects, enforcer) if rung is not None)
