"""What crirm may move of its own accord: the budget of a minute, and who must stay where it is for now.

The policy finds moves (`Policy.gather`, `Policy.make_room`), and this is what bounds them. A move is a container that
is placed again; that others on shared CPUs get one more or one less with it is told as well, but moves no memory and
is not counted. In any 60 seconds no more containers are moved, and no more bytes, than the policy's `Limits` say.
Nobody knows here how much memory a container has where it comes from, so what it may use at most counts.

A container stays where it is

- between its creation and its start, and while it starts cold,
- while a resize of it is not answered, or after an update was refused, until it succeeds,
- while it runs without its proper placement,
- all of them, until the lists of the runtime were read for the first time.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final, Protocol

import attrs

from crirm.model.decision import Decision, Spent, State
from crirm.model.events import (
    ContainerExited,
    ContainerRemoved,
    ContainerStarted,
    CreateFailed,
    Event,
    PodRemoved,
    PodStopped,
    ResizeDone,
    ResizeFailed,
    Synchronised,
    Timer,
    TimerExpired,
    UpdateDone,
)
from crirm.model.refusal import RefusalReason, RefusedError
from crirm.model.workload import Container, ContainerKey, ContainerState
from crirm.policy.api import Allowance, Limits, Placement, Policy
from crirm.policy.keeping import allocated
from crirm.policy.states import latest

WINDOW_S: Final = 60.0
"""In which no more is moved than the limits say."""


def why_room(before: State, event: Event, after: State) -> str | None:  # noqa: C901, PLR0911 - one line per event
    """Return, as a clause, why containers that were spread may come together after *event*; None if they cannot."""
    name = before.workload.full_name
    match event:
        case ContainerExited(key) | ContainerRemoved(key) if key in before.adjustments:
            return f"{name(key)} has ended"
        case CreateFailed(key):
            return f"{name(key)} was not created"
        case PodStopped(id) | PodRemoved(id):
            pod = before.workload.pods.get(id)
            return f"pod {pod.namespace}/{pod.name} has ended" if pod else "a pod has ended"
        case ResizeDone(key):
            return f"{name(key)} was resized"
        case ResizeFailed(key):
            return f"the runtime did not resize {name(key)}"
        case ContainerStarted(key):
            return f"{name(key)} has started"
        case TimerExpired(key, Timer.GATHER):
            return "more may be moved"
        case TimerExpired(key, Timer.COLD_START) if key in before.adjustments:
            return f"the cold start of {name(key)} has ended"
        case UpdateDone(key):
            return f"the runtime has updated {name(key)}"
        case Synchronised() if gone := sorted(before.adjustments.keys() - after.adjustments.keys()):
            return f"{name(gone[0])} has ended"
        case Synchronised() if before.unsure:  # who could have come together before had to wait
            return "the runtime has told crirm what runs"
        case _:
            return None


def allowance(state: State, limits: Limits, now_s: float, why: str = "") -> Allowance:
    """Return what may be moved now."""
    recent = recent_of(state.moved, now_s)
    moves = 0 if state.unsure else limits.moves_per_minute - len(recent)
    left = limits.bytes_per_minute - sum(one.bytes for one in recent)
    return Allowance(max(moves, 0), max(left, 0), partial(is_held, state), why)


def recent_of(moved: Iterable[Spent], now_s: float) -> tuple[Spent, ...]:
    """Return what was moved within the last minute; where the clock was set back, what lies ahead of it is now."""
    recent = (one for one in moved if now_s < one.at_s + WINDOW_S)
    return tuple(one if one.at_s <= now_s else attrs.evolve(one, at_s=now_s) for one in recent)


def with_spent(state: State, spent: Iterable[Spent], now_s: float) -> State:
    """Return *state* with more moves on record; a policy knows no time, so it is now."""
    new = tuple(attrs.evolve(one, at_s=now_s) for one in spent)
    return attrs.evolve(state, moved=(*recent_of(state.moved, now_s), *new)) if new else state


def is_held(state: State, key: ContainerKey) -> bool:
    """Whether a container stays where it is for now."""
    container = state.workload.containers.get(key)
    return (
        container is None
        or container.state is not ContainerState.RUNNING
        or key in state.resizing
        or key in state.degraded
        or (key, Timer.COLD_START) in state.timers
        or state.told.get(key) != state.adjustments.get(key)
    )


def awaiting(state: State, waiting: tuple[ContainerKey, ...], now_s: float) -> State:
    """Return *state* with a timer for the moment when those that wait may be moved, as far as time helps."""
    timers = {timer: at_s for timer, at_s in state.timers.items() if timer[1] is not Timer.GATHER}
    recent = recent_of(state.moved, now_s)
    if waiting and recent:
        timers[waiting[0], Timer.GATHER] = min(one.at_s for one in recent) + WINDOW_S
    if timers == state.timers and recent == state.moved:
        return state
    return attrs.evolve(state, timers=timers, moved=recent)


class Deciding(Protocol):
    """A step of the pipeline, as far as moves need it."""

    @property
    def policy(self) -> Policy:
        """That finds moves."""

    @property
    def now_s(self) -> float:
        """Seconds of wall-clock time."""

    @property
    def moves(self) -> bool:
        """Whether anything may be moved."""

    def placed(self, state: State, placement: Placement, also: tuple[ContainerKey, ...] = ()) -> Decision:
        """Apply the decision of the policy."""


def gathered(step: Deciding, before: State, event: Event, decision: Decision) -> Decision:
    """Have containers that were spread for want of room come together, if *event* may have made room."""
    why, limits = why_room(before, event, decision.state), step.policy.limits
    if why is None or not step.moves or not limits.moves_per_minute or decision.state.unsure:
        return decision
    while True:
        state = decision.state
        allowed = allowance(state, limits, step.now_s, why)
        placement = step.policy.gather(state.policy, state.workload, allowed)
        if not placement.spent:
            return attrs.evolve(decision, state=awaiting(state, placement.waiting, step.now_s))
        more = step.placed(state, placement)
        decision = attrs.evolve(
            decision,
            state=more.state,
            effects=latest([*decision.effects, *more.effects], more.state),
            trails=(*decision.trails, *more.trails),
            moves=(*decision.moves, *more.moves),
        )


def moved(step: Deciding, state: State, most_bytes: int) -> Decision:
    """Make one move that was requested, whatever the budget says, which it counts in."""
    if state.unsure:
        return Decision(state)
    allowed = Allowance(1, most_bytes, partial(is_held, state), "a move was requested")
    placement = step.policy.gather(state.policy, state.workload, allowed)
    if not placement.spent:
        placement = step.policy.clear_way(state.policy, state.workload, allowed)
    return step.placed(state, placement) if placement.spent else Decision(state)


def best(step: Deciding, state: State, container: Container) -> Placement:
    """Have *container* placed; one other may move if there is no good place otherwise, or none.

    Raises:
        RefusedError: there is none.
    """
    try:
        placement = allocated(step.policy, state, container)
    except RefusedError as refusal:
        roomy = _roomy(step, state, container) if refusal.reason is RefusalReason.NO_ROOM else None
        if roomy is None:
            raise
        return roomy
    return (_roomy(step, state, container) or placement) if placement.cramped else placement


def _roomy(step: Deciding, state: State, container: Container) -> Placement | None:
    limits = step.policy.limits
    if not step.moves or not limits.per_arrival or container.state is not ContainerState.CREATING:
        return None
    allowed = allowance(state, limits, step.now_s)
    if not allowed.moves:
        return None
    found = step.policy.make_room(state.policy, state.workload, container, allowed)
    # cramped all the same: if somebody has ended unnoticed, nobody has to be moved
    return found and attrs.evolve(found, cramped=True)
