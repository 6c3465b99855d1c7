"""The listeners of decisions, and their order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from crirm.daemon.placement.explained import Refused
    from crirm.model.decision import Decision, State
    from crirm.model.events import Event
    from crirm.policy.activation import Plan


class Listener:
    """Receives an engine's decisions, after the state was replaced; no method may block or raise.

    A class that needs only some of it inherits empty methods.
    """

    def decided(self, event: Event, before: State, decision: Decision) -> None:
        """Receive an event, the previous state, and the decision."""

    def activated(self, before: State, plan: Plan) -> None:
        """Receive a change of configuration, machine or overrides: the previous state, and the plan."""

    def turned_away(self, refused: Refused) -> None:
        """Receive a container that was refused before any decision."""


def ladder(
    recorder: Listener | None = None,
    persistence: Listener | None = None,
    effects: Listener | None = None,
    enforcer: Listener | None = None,
    shadow: Listener | None = None,
) -> tuple[Listener, ...]:
    """Return the listeners in the required order.

    Args:
        recorder: first, so that a trace has an event before its consequences.
        persistence: before the effects, since an update waits for its decision to be saved, which must be noted when
            the wait begins.
        effects: before the enforcer, which skips containers about to be updated.
        enforcer: after all that acts; it handles what the others leave.
        shadow: last; it only looks on.
    """
    return tuple(rung for rung in (recorder, persistence, effects, enforcer, shadow) if rung is not None)
