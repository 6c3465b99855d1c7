"""What the journal says about an event and what was decided about it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, assert_never

import attrs

from crirm.model.decision import UpdateContainer
from crirm.model.events import (
    ContainerCreated,
    ContainerExited,
    ContainerRemoved,
    ContainerRequested,
    ContainerStarted,
    CreateFailed,
    Event,
    PodAdded,
    PodRemoved,
    PodResized,
    PodStopped,
    ResizeDone,
    ResizeFailed,
    ResizeRequested,
    Synchronised,
    TimerExpired,
    UpdateFailed,
)
from crirm.system.store import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crirm.model.decision import Adjustment, Decision, State
    from crirm.model.resources import LinuxResources
    from crirm.model.trail import Move
    from crirm.model.workload import Container, ContainerKey, Pod, PodId, Workload

MOVES_TOLD = 8  # kinds of moves, of one decision; a pool has one or two

KINDS = {
    PodAdded: "pod added",
    PodResized: "pod resized",
    PodStopped: "pod stopped",
    PodRemoved: "pod removed",
    ContainerRequested: "asked for",
    ContainerCreated: "created",
    CreateFailed: "not created",
    ContainerStarted: "started",
    ContainerExited: "exited",
    ContainerRemoved: "removed",
    ResizeRequested: "resize asked for",
    ResizeDone: "resized",
    ResizeFailed: "not resized",
    TimerExpired: "timer expired",
    UpdateFailed: "update failed",
    Synchronised: "synchronised",
}
"""What each event is called."""


def entries(at_s: float, event: Event, before: State, decision: Decision) -> list[Entry]:
    """Return what to write down about *event*; nothing where a look at the runtime's lists has brought nothing new."""
    kind, outcome = KINDS[type(event)], _outcome(event, decision)
    match event:
        case PodAdded(pod):
            return [Entry(at_s, kind, _pod_name(pod), outcome=outcome)]
        case PodStopped() | PodRemoved() | PodResized():
            known = before.workload.pods.get(event.id)
            return [Entry(at_s, kind, _pod_name(known), outcome=outcome)] if known else []
        case ContainerRequested(container):
            return [_about(at_s, kind, container, before.workload, outcome)]
        case Synchronised():
            return _found(at_s, kind, before, decision)
        case (
            ContainerCreated()
            | CreateFailed()
            | ContainerStarted()
            | ContainerExited()
            | ContainerRemoved()
            | ResizeRequested()
            | ResizeDone()
            | ResizeFailed()
            | TimerExpired()
            | UpdateFailed()
        ):
            known_container = before.workload.containers.get(event.key)
            return [_about(at_s, kind, known_container, before.workload, outcome)] if known_container else []
        case _:
            assert_never(event)


def _found(at_s: float, kind: str, before: State, decision: Decision) -> list[Entry]:
    """Return what the runtime's lists have brought: containers that are new, gone, or in another state."""
    old, new = before.workload.containers, decision.state.workload.containers
    if old is new:
        return []
    found = [_about(at_s, kind, new[key], decision.state.workload, _gets(key, decision)) for key in new.keys() - old]
    gone = [_about(at_s, kind, old[key], before.workload, "it is gone") for key in old.keys() - new]
    changed = [
        _about(at_s, kind, new[key], decision.state.workload, f"it is {new[key].state.value}")
        for key in new.keys() & old
        if new[key].state is not old[key].state
    ]
    return sorted((*found, *gone, *changed), key=lambda entry: entry.key)


def _gets(key: ContainerKey, decision: Decision) -> str:
    adjustment = decision.state.adjustments.get(key)
    return f"found, {adjustment_text(adjustment)}" if adjustment else "found, without a grant"


def _outcome(event: Event, decision: Decision) -> str:
    if decision.refusal is not None:
        return f"refused: {decision.refusal}"
    said = []
    if decision.trail is not None:
        said.append(f"{decision.trail.granted} in {decision.trail.chosen}" if decision.trail.chosen else "")
    if isinstance(event, UpdateFailed):
        said.append(event.reason)
    if isinstance(event, PodResized):
        said += [resources_text("overhead", event.overhead), resources_text("resources", event.resources)]
    if decision.adjustment is not None:
        said.append(adjustment_text(decision.adjustment))
    said += _moves(decision.moves)
    others = {e.key for e in decision.effects if isinstance(e, UpdateContainer)}
    if others:
        said.append(f"containers to update: {len(others)}")
    return "; ".join(filter(None, said))


def _moves(moves: Iterable[Move]) -> list[str]:
    """Return who else was moved and why, those to whom the same happened together."""
    alike = Counter((move.what, move.before, move.after, move.why) for move in moves)
    told = [
        f"{what} {before} -> {after} of {count}, since {why}" for (what, before, after, why), count in alike.items()
    ]
    return told if len(told) <= MOVES_TOLD else [*told[:MOVES_TOLD], f"{len(told) - MOVES_TOLD} more kinds of moves"]


def resources_text(what: str, resources: LinuxResources | None) -> str:
    """Return for people what the kubelet has given; empty where it has not."""
    values = attrs.asdict(resources) if resources is not None else {}
    return (
        f"{what} {', '.join(f'{name} {value}' for name, value in values.items() if value) or 'none'}" if values else ""
    )


def adjustment_text(adjustment: Adjustment) -> str:
    """Return what a container is to have, for people."""
    facts = {"CPUs": adjustment.cpus, "memory nodes": adjustment.mems, "CPU shares": adjustment.cpu_shares}
    return ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None) or "as the kubelet asked"


def _about(at_s: float, kind: str, container: Container, workload: Workload, outcome: str) -> Entry:
    pod = _pod_named(workload, container.pod)
    return Entry(at_s, kind, pod, container.name, container.key, outcome)


def _pod_named(workload: Workload, pod_id: PodId) -> str:
    pod = workload.pods.get(pod_id)
    return _pod_name(pod) if pod else ""


def _pod_name(pod: Pod) -> str:
    return f"{pod.namespace}/{pod.name}"
