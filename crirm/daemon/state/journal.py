"""Journal entries for events and decisions."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, assert_never

import attrs

from crirm.model.cpuset import CPUSet
from crirm.model.decision import UpdateContainer
from crirm.model.events import (
    ContainerCreated,
    ContainerExited,
    ContainerRemoved,
    ContainerRequested,
    ContainerStarted,
    CreateFailed,
    Event,
    MoveRequested,
    PodAdded,
    PodRemoved,
    PodResized,
    PodStopped,
    ResizeDone,
    ResizeFailed,
    ResizeRequested,
    Synchronised,
    Timer,
    TimerExpired,
    UpdateDone,
    UpdateFailed,
)
from crirm.model.workload import ContainerKey
from crirm.system.store import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crirm.daemon.placement.explained import Refused
    from crirm.model.decision import Adjustment, Decision, State
    from crirm.model.resources import LinuxResources
    from crirm.model.trail import Move
    from crirm.model.workload import Container, Pod, PodId, Workload
    from crirm.policy.activation import Plan

MOVES_TOLD = 8  # kinds of changes in one entry; a pool has one or two

CONFIGURED = "configured"
MACHINE = "machine changed"
MOVED = "moved"
KINDS = {
    PodAdded: "pod added",
    PodResized: "pod resized",
    PodStopped: "pod stopped",
    PodRemoved: "pod removed",
    ContainerRequested: "requested",
    ContainerCreated: "created",
    CreateFailed: "not created",
    ContainerStarted: "started",
    ContainerExited: "exited",
    ContainerRemoved: "removed",
    ResizeRequested: "resize requested",
    ResizeDone: "resized",
    ResizeFailed: "not resized",
    TimerExpired: "timer expired",
    UpdateFailed: "update failed",
    UpdateDone: "updated after retry",
    MoveRequested: "move requested",
    Synchronised: "synchronised",
}
"""The name of each event."""


def entries(at_s: float, event: Event, before: State, decision: Decision) -> list[Entry]:
    """Return the entries for *event*; none for a synchronisation without news."""
    kind, outcome = KINDS[type(event)], _outcome(event, decision)
    moved = _moved(at_s, event, before, decision)
    if isinstance(event, Synchronised):
        return [*_found(at_s, kind, before, decision), *moved]
    if _in_vain(event, before, decision):
        return []
    cpus = _touched(before, decision.state)
    code = decision.refusal.code.value if decision.refusal is not None else ""
    return [attrs.evolve(entry, cpus=cpus, code=code) for entry in _entry(at_s, kind, event, before, outcome)] + moved


def _moved(at_s: float, event: Event, before: State, decision: Decision) -> list[Entry]:
    """Return an entry for each container that was moved on the occasion of *event*, with the cause."""
    subject = _placed_by(event)
    again = [trail.key for trail in decision.trails if trail.key in before.adjustments]
    return [_move(at_s, key, before, decision) for key in again if key != subject]


def _placed_by(event: Event) -> ContainerKey | None:
    """Return the container that *event* itself asks a place for; what others get is a move."""
    match event:
        case ContainerRequested(container):
            return container.key
        case ResizeRequested(key) | TimerExpired(key, Timer.REPAIR):
            return key
        case _:
            return None


def _move(at_s: float, key: ContainerKey, before: State, decision: Decision) -> Entry:
    own = [move for move in decision.moves if move.key == key]
    outcome = "; ".join(f"{move.what} {move.before} -> {move.after}: {move.why}" for move in own)
    entry = _about(at_s, MOVED, before.workload.containers[key], before.workload, outcome)
    return attrs.evolve(entry, cpus=_touched(before, decision.state, key))


def _in_vain(event: Event, before: State, decision: Decision) -> bool:
    """Whether there was no better place for a degraded container, which is retried every half minute."""
    return (
        isinstance(event, TimerExpired)
        and event.timer in {Timer.REPAIR, Timer.GATHER}
        and decision.state.adjustments is before.adjustments
    )


def _entry(at_s: float, kind: str, event: Event, before: State, outcome: str) -> list[Entry]:
    match event:
        case PodAdded(pod):
            return [Entry(at_s, kind, _pod_name(pod), outcome=outcome)]
        case PodStopped() | PodRemoved() | PodResized():
            known = before.workload.pods.get(event.id)
            return [Entry(at_s, kind, _pod_name(known), outcome=outcome)] if known else []
        case ContainerRequested(container):
            return [_about(at_s, kind, container, before.workload, outcome)]
        case Synchronised() | MoveRequested():
            return []
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
            | UpdateDone()
        ):
            known_container = before.workload.containers.get(event.key)
            return [_about(at_s, kind, known_container, before.workload, outcome)] if known_container else []
        case _:
            assert_never(event)


def refusal_entry(refused: Refused) -> Entry:
    """Return the entry for a container that was refused before any decision."""
    kind = KINDS[ContainerRequested]
    return Entry(
        refused.at_s, kind, refused.pod, refused.container, outcome=f"refused: {refused.why}", code=refused.code
    )


def _touched(before: State, after: State, key: ContainerKey | None = None) -> str:
    """Return the CPUs that containers gained or lost, as a list; only those of *key* if given."""
    if before.adjustments is after.adjustments:
        return ""
    keys = before.adjustments.keys() | after.adjustments.keys() if key is None else {key}
    pairs = ((before.adjustments.get(each), after.adjustments.get(each)) for each in keys)
    touched = CPUSet()
    for old, new in pairs:
        if old is not new:
            had, has = _cpus(old), _cpus(new)
            touched |= (had - has) | (has - had)
    return str(touched)


def _cpus(adjustment: Adjustment | None) -> CPUSet:
    return adjustment.cpus if adjustment and adjustment.cpus else CPUSet()


def _found(at_s: float, kind: str, before: State, decision: Decision) -> list[Entry]:
    """Return the news of the runtime's lists: pods and containers that are new, gone, or in another state."""
    after = decision.state
    if before.workload is after.workload:
        return []
    old, new = before.workload.containers, after.workload.containers
    found = [_about(at_s, kind, new[key], after.workload, _gets(key, decision)) for key in new.keys() - old]
    gone = [_about(at_s, kind, old[key], before.workload, "removed") for key in old.keys() - new]
    changed = [
        _about(at_s, kind, new[key], after.workload, f"now {new[key].state.value}")
        for key in new.keys() & old
        if new[key].state is not old[key].state
    ]
    containers = sorted((*found, *gone, *changed), key=lambda entry: entry.key)
    cpus = [_touched(before, after, ContainerKey(entry.key)) for entry in containers]
    told = [attrs.evolve(entry, cpus=its) for entry, its in zip(containers, cpus, strict=True)]
    return [*_found_pods(at_s, kind, before, after), *told]


def _found_pods(at_s: float, kind: str, before: State, after: State) -> list[Entry]:
    old, new = before.workload.pods, after.workload.pods
    found = [Entry(at_s, kind, _pod_name(new[pod]), outcome="found") for pod in sorted(new.keys() - old)]
    return found + [Entry(at_s, kind, _pod_name(old[pod]), outcome="removed") for pod in sorted(old.keys() - new)]


def activation_entries(at_s: float, policy: str, before: State, plan: Plan) -> list[Entry]:
    """Return the entries for a new configuration, or a changed machine."""
    sums = f"policy {policy}, containers changed: {len(plan.changes)}, without room: {len(plan.unfit)}"
    if plan.machine:
        sums = f"{plan.machine}; {sums}"
    first = Entry(at_s, _kind(plan), outcome=sums, cpus=_touched(before, plan.state))
    return [first, *(_reconfigured(at_s, key, before, plan) for key in plan.changes)]


def _reconfigured(at_s: float, key: ContainerKey, before: State, plan: Plan) -> Entry:
    change, unfit = plan.changes[key], plan.unfit.get(key)
    outcome = f"{adjustment_text(change.before)} -> {adjustment_text(change.after)}: {change.why}"
    told = f"{outcome}; {unfit}" if unfit else outcome
    entry = _about(at_s, _kind(plan), before.workload.containers[key], before.workload, told)
    return attrs.evolve(entry, cpus=_touched(before, plan.state, key))


def _kind(plan: Plan) -> str:
    return MACHINE if plan.machine else CONFIGURED


def _gets(key: ContainerKey, decision: Decision) -> str:
    adjustment = decision.state.adjustments.get(key)
    return f"found, {adjustment_text(adjustment)}" if adjustment else "found, not assigned"


def _outcome(event: Event, decision: Decision) -> str:
    if decision.refusal is not None:
        return f"refused: {decision.refusal.full}"
    said = []
    key = event.container.key if isinstance(event, ContainerRequested) else getattr(event, "key", None)
    if decision.trail is not None and decision.trail.key == key:
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
        said.append(f"{len(others)} other container{'' if len(others) == 1 else 's'} updated")
    return "; ".join(filter(None, said))


def _moves(moves: Iterable[Move]) -> list[str]:
    """Return which other containers were changed and why, equal changes combined."""
    alike = Counter((move.what, move.before, move.after, move.why) for move in moves)
    told = [
        f"{what} {before} -> {after} of {count} container{'' if count == 1 else 's'}: {why}"
        for (what, before, after, why), count in alike.items()
    ]
    return told if len(told) <= MOVES_TOLD else [*told[:MOVES_TOLD], f"{len(told) - MOVES_TOLD} more kinds of changes"]


def resources_text(what: str, resources: LinuxResources | None) -> str:
    """Return resources of the kubelet as text; empty if there are none."""
    values = attrs.asdict(resources) if resources is not None else {}
    return (
        f"{what} {', '.join(f'{name} {value}' for name, value in values.items() if value) or 'none'}" if values else ""
    )


def adjustment_text(adjustment: Adjustment) -> str:
    """Return an assignment as text."""
    facts: dict[str, object] = {
        "CPUs": adjustment.cpus,
        "memory nodes": adjustment.mems,
        "CPU shares": adjustment.cpu_shares,
    }
    if adjustment.cpu_quota_us is not None:
        facts["CPU limit"] = "none" if adjustment.cpu_quota_us < 0 else f"{adjustment.cpu_quota_us} us per period"
    return ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None) or "as requested"


def _about(at_s: float, kind: str, container: Container, workload: Workload, outcome: str) -> Entry:
    pod = _pod_named(workload, container.pod)
    return Entry(at_s, kind, pod, container.name, container.key, outcome)


def _pod_named(workload: Workload, pod_id: PodId) -> str:
    pod = workload.pods.get(pod_id)
    return _pod_name(pod) if pod else ""


def _pod_name(pod: Pod) -> str:
    return f"{pod.namespace}/{pod.name}"
