"""Another policy that decides beside the one in force: about the same events, with no effect.

It begins with a plan, as a new configuration does, and then gets every event that the policy in force has decided
about. Events after a decision depended on that decision, so where the two differ

* a container or a resize that was refused by the policy in force does not come to be here either;
* a container that is refused here, and runs, does not exist here until it is requested again or ends;
* timers expire as they are started here, and updates count as made: those of the runtime's answers are about others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import attrs

from crirm.model.decision import Decision, State, UpdateContainer
from crirm.model.events import (
    ContainerCreated,
    ContainerRequested,
    CreateFailed,
    Event,
    ResizeDone,
    ResizeRequested,
    Synchronised,
    Timer,
    TimerExpired,
    UpdateDone,
    UpdateFailed,
)
from crirm.model.refusal import RefusedError
from crirm.model.resources import Requirements
from crirm.model.topology import Topology
from crirm.model.workload import ContainerKey, Workload
from crirm.policy import pipeline
from crirm.policy.activation import Plan
from crirm.policy.api import Choice, Policy
from crirm.policy.states import without

MEMORY = "memory nodes"  # of a move, see ``policy.states.moves_of``
K = TypeVar("K")


@attrs.frozen
class Counts:
    """What decisions have led to.

    Args:
        requests: of containers and resizes.
        refusals: of those.
        moves: containers whose CPUs or memory changed because of another, once for each decision.
        memory_moves: those of them whose memory changed.
        updates: of running containers.
    """

    requests: int = 0
    refusals: int = 0
    moves: int = 0
    memory_moves: int = 0
    updates: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Return the sums."""
        return Counts(*(one + more for one, more in zip(attrs.astuple(self), attrs.astuple(other), strict=True)))


def counts(event: Event, decision: Decision) -> Counts:
    """Return what *decision* about *event* has led to."""
    subject = _subject(event)
    moved = {move.key for move in decision.moves} - {subject}
    return Counts(
        requests=isinstance(event, ContainerRequested | ResizeRequested),
        refusals=decision.refusal is not None,
        moves=len(moved),
        memory_moves=len({move.key for move in decision.moves if move.what == MEMORY} - {subject}),
        updates=sum(isinstance(effect, UpdateContainer) for effect in decision.effects),
    )


def _subject(event: Event) -> ContainerKey | None:
    if isinstance(event, ContainerRequested):
        return event.container.key
    if isinstance(event, TimerExpired) and event.timer is Timer.GATHER:
        return None  # it names who waits to be moved
    key: ContainerKey | None = getattr(event, "key", None)
    return key


@attrs.frozen
class Happened:
    """An event that the policy in force has decided about.

    Args:
        at_s: seconds of wall-clock time.
        event: itself.
        there: what the decision of the policy in force has led to.
    """

    at_s: float
    event: Event
    there: Counts = attrs.field(factory=Counts)


@attrs.frozen
class Overridden:
    """The policy in force has made a plan: containers have other requirements, by an override, or were moved.

    Args:
        at_s: seconds of wall-clock time.
        wanted: other requirements, by container.
        there: what the plan of the policy in force has led to.
    """

    at_s: float
    wanted: Mapping[ContainerKey, Requirements]
    there: Counts = attrs.field(factory=Counts)


@attrs.frozen
class Missing:
    """A container that runs, and was refused here.

    Args:
        name: ``namespace/pod/container``.
        at_s: when.
        reason: why.
        code: of the refusal, see docs/refusals.md.
        id: given by the runtime; empty while it is not known.
    """

    name: str
    at_s: float
    reason: str
    code: str = ""
    id: str = ""


@attrs.frozen
class Shadow:
    """A policy that decides beside the one in force, and the state that it has come to.

    Args:
        policy: made for *topology*.
        choice: it is made of.
        topology: the machine.
        state: its own.
        since_s: when it began, seconds of wall-clock time.
        events: how many it got.
        here: what its decisions have led to.
        there: what those of the policy in force have led to.
        admitted: requests that the policy in force has refused, and this one has not.
        missing: containers that run, and were refused here.
    """

    policy: Policy
    choice: Choice
    topology: Topology
    state: State
    since_s: float
    events: int = 0
    here: Counts = attrs.field(factory=Counts)
    there: Counts = attrs.field(factory=Counts)
    admitted: int = 0
    missing: Mapping[ContainerKey, Missing] = attrs.field(factory=dict)


def follow(shadow: Shadow, happened: Happened | Overridden) -> Shadow:
    """Return *shadow* after it has decided about what *happened*."""
    shadow = expire(shadow, happened.at_s)
    if isinstance(happened, Overridden):
        return _overridden(shadow, happened)
    shadow = attrs.evolve(shadow, events=shadow.events + 1, there=shadow.there + happened.there)
    match happened.event:
        case ContainerRequested() | ResizeRequested():
            return _requested(shadow, happened, happened.event)
        case TimerExpired() | UpdateFailed() | UpdateDone():
            return shadow
        case ContainerCreated(key, _) | CreateFailed(key) if key in shadow.missing:
            return _answered(shadow, happened.event)
        case Synchronised():
            return _decided(shadow, _possible(shadow, happened.event), happened.at_s)
        case event:
            return _decided(shadow, event, happened.at_s)


def expire(shadow: Shadow, now_s: float) -> Shadow:
    """Return *shadow* after the timers that have run out by *now_s*; one that is started anew meanwhile waits."""
    due = sorted((at_s, key, timer.name) for (key, timer), at_s in shadow.state.timers.items() if at_s <= now_s)
    for at_s, key, name in due:
        shadow = _decided(shadow, TimerExpired(key, Timer[name]), at_s)
    return shadow


def pruned(shadow: Shadow, workload: Workload) -> Shadow:
    """Return *shadow* without missing containers that have ended, as the *workload* in force says."""
    containers = workload.containers
    left = {
        key: one
        for key, one in shadow.missing.items()
        if key in containers and containers[key].state in pipeline.HOLDING
    }
    return attrs.evolve(shadow, missing=left) if len(left) < len(shadow.missing) else shadow


def _step(shadow: Shadow, event: Event, at_s: float) -> Decision:
    return pipeline.step(shadow.policy, shadow.state, event, at_s, overflow=shadow.choice.overflow, advises=False)


def _decided(shadow: Shadow, event: Event, at_s: float) -> Shadow:
    decision = _step(shadow, event, at_s)
    return attrs.evolve(shadow, state=decision.state, here=shadow.here + counts(event, decision))


def _requested(shadow: Shadow, happened: Happened, event: ContainerRequested | ResizeRequested) -> Shadow:
    """Decide about a request; what the policy in force has refused leaves no trace but its number."""
    decision = _step(shadow, event, happened.at_s)
    led_to = counts(event, decision)
    if happened.there.refusals:
        here = shadow.here + Counts(requests=1, refusals=led_to.refusals)
        return attrs.evolve(shadow, here=here, admitted=shadow.admitted + (decision.refusal is None))
    missing = shadow.missing
    if isinstance(event, ContainerRequested):
        missing = without(missing, event.container.key)
        if decision.refusal is not None and event.container.key not in shadow.state.workload.containers:
            missing = {**missing, event.container.key: _missing(shadow, event, happened.at_s, decision.refusal)}
    return attrs.evolve(shadow, state=decision.state, here=shadow.here + led_to, missing=missing)


def _missing(shadow: Shadow, event: ContainerRequested, at_s: float, refusal: RefusedError) -> Missing:
    container = event.container
    pod = shadow.state.workload.pods.get(container.pod)
    whose = f"{pod.namespace}/{pod.name}" if pod else container.pod
    return Missing(f"{whose}/{container.name}", at_s, str(refusal), refusal.code.value, container.id or "")


def _answered(shadow: Shadow, event: ContainerCreated | CreateFailed) -> Shadow:
    """Note what the runtime has answered to the creation of a container that is missing here."""
    if isinstance(event, CreateFailed):
        return shadow  # another try of the same may have been answered; `pruned` tells whether it is there
    named = attrs.evolve(shadow.missing[event.key], id=event.id)
    return attrs.evolve(shadow, missing={**shadow.missing, event.key: named})


def _possible(shadow: Shadow, listed: Synchronised) -> Synchronised:
    """Return what the runtime could list here: without the containers that are missing."""
    gone = {one.id for one in shadow.missing.values() if one.id} | shadow.missing.keys()
    there = tuple(one for one in listed.containers if one.id not in gone and one.key not in gone)
    return attrs.evolve(listed, containers=there)


def plan_counts(plan: Plan, subjects: Mapping[ContainerKey, Requirements]) -> Counts:
    """Return what *plan* leads to for others than its *subjects*."""
    changes = [change for key, change in plan.changes.items() if key not in subjects]
    memory_moves = sum(one.before.mems != one.after.mems for one in changes)
    moves = sum((one.before.cpus, one.before.mems) != (one.after.cpus, one.after.mems) for one in changes)
    updates = sum(isinstance(effect, UpdateContainer) for effect in plan.effects)
    return Counts(moves=moves, memory_moves=memory_moves, updates=updates)


def _overridden(shadow: Shadow, happened: Overridden) -> Shadow:
    shadow = attrs.evolve(shadow, there=shadow.there + happened.there)
    for key, wanted in sorted(happened.wanted.items()):
        known = shadow.state.workload.containers.get(key)
        if known is not None:
            shadow = _decided(shadow, ResizeRequested(key, known.resources, wanted), happened.at_s)
            shadow = _decided(shadow, ResizeDone(key), happened.at_s)
    return shadow
