"""What happens if a policy has a bug, so that one container never stops the node.

Closed, the default: the request is refused, and nothing changes. Open: the request passes as
the kubelet made it, and the container is *degraded* until it can be placed.
"""

from __future__ import annotations

from typing import Final

import attrs

from crirm.errors import OUR_FAULT
from crirm.model.cpuset import NO_CPUS
from crirm.model.decision import UNADJUSTED, Before, Decision, State
from crirm.model.events import ContainerRequested, Event, ResizeRequested, Timer, TimerExpired
from crirm.model.refusal import RefusalCode, RefusalReason, RefusedError
from crirm.model.resources import Requirements
from crirm.model.trail import Trail
from crirm.model.workload import Container, ContainerKey, Workload
from crirm.policy.annotations import PREFER_RESERVED_CPUS
from crirm.policy.api import Placement, Policy

REPAIR_S: Final = 30.0
"""Until crirm tries again; a bug seldom goes away by itself, but its cause may."""


def after_fault(policy: str, state: State, event: Event, now_s: float, *, fail_open: bool) -> Decision:
    """Return the decision about an *event* for which the policy called *policy* failed.

    Args:
        policy: its name.
        state: before the event.
        event: to decide about.
        now_s: wall-clock time in seconds.
        fail_open: whether requests pass without a decision, instead of being refused.
    """
    match event:
        case ContainerRequested(container) if fail_open and container.pod in state.workload.pods:
            return degraded(
                policy, state, container, now_s, "crirm failed to place it because of a bug; see the log of crirm"
            )
        case ResizeRequested(key) if fail_open and key in state.workload.containers:
            return _resized(state, event, now_s)
        case ContainerRequested() | ResizeRequested():
            return Decision(state, refusal=RefusedError(RefusalCode.INTERNAL_FAULT, OUR_FAULT))
        case TimerExpired(key, timer):  # a timer that has run out would run out again at once
            return Decision(attrs.evolve(state, timers={**state.timers, (key, timer): now_s + REPAIR_S}))
        case _:
            return Decision(state)


def degraded(policy: str, state: State, container: Container, now_s: float, why: str) -> Decision:
    """Return the decision to leave *container* unplaced, and to try again later."""
    containers = {**state.workload.containers, container.key: container}
    known = attrs.evolve(state, workload=attrs.evolve(state.workload, containers=containers))
    asked = "a place; crirm will try again"
    trail = Trail(container.key, policy, asked, "", "the kubelet's request, unchanged", notes=(why,))
    return Decision(marked(known, container.key, now_s, why), UNADJUSTED, trails=(trail,))


def sharing(policy: Policy, state: State, container: Container) -> Placement:
    """Ask *policy* to place *container* on shared CPUs, as if neither it nor its pod requested anything.

    Where others have all of these to themselves, the reserved CPUs are left, which nobody has alone.

    Raises:
        RefusedError: even that is impossible; or any other error of the policy.
    """
    nothing = Requirements(unpromised_cpu=container.requirements.cpu_request)
    modest = attrs.evolve(container, requirements=nothing, hints=(), found_on=NO_CPUS, claims=())

    def with_annotations(annotations: dict[str, str]) -> Workload:
        plain = attrs.evolve(state.workload.pods[container.pod], annotations=annotations)
        return attrs.evolve(state.workload, pods={**state.workload.pods, plain.id: plain})

    try:
        return policy.allocate(state.policy, with_annotations({}), modest)
    except RefusedError as refusal:
        if refusal.reason is not RefusalReason.NO_ROOM:
            raise
        return policy.allocate(state.policy, with_annotations({PREFER_RESERVED_CPUS: "true"}), modest)


def marked(state: State, key: ContainerKey, now_s: float, why: str) -> State:
    """Return *state* with a degraded container, which will be tried again."""
    timers = {**state.timers, (key, Timer.REPAIR): now_s + REPAIR_S}
    return attrs.evolve(state, degraded={**state.degraded, key: why}, timers=timers)


def _resized(state: State, event: ResizeRequested, now_s: float) -> Decision:
    """Let the kubelet resize a container whose grant stays unchanged."""
    old = state.workload.containers[event.key]
    new = attrs.evolve(old, resources=event.resources, requirements=event.requirements)
    workload = attrs.evolve(state.workload, containers={**state.workload.containers, event.key: new})
    before = Before(old, state.policy, state.adjustments, state.policy)
    resized = attrs.evolve(state, workload=workload, resizing={**state.resizing, event.key: before})
    why = "crirm failed to resize its grant because of a bug; see the log of crirm"
    return Decision(marked(resized, event.key, now_s, why), UNADJUSTED)
