"""Restoring the state of an earlier process."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.model.decision import Adjustment, Spent, State
from crirm.model.events import Timer
from crirm.model.trail import Trail
from crirm.model.workload import Container, ContainerKey, Workload
from crirm.policy.api import Json, Policy
from crirm.policy.keeping import staying
from crirm.policy.overflow import OVERFLOWS
from crirm.policy.pipeline import HOLDING, adopt
from crirm.policy.synchronise import hardest_first

NO_GRANT = "it had no grant under this policy"


@attrs.frozen
class Saved:
    """The saved state of an earlier process.

    Args:
        workload: pods and containers.
        grants: as `Policy.save` returned them; of another policy, or damaged ones, are dropped.
        told: what the runtime has certainly been told about containers.
        timers: seconds of wall-clock time at which each running timer expires.
        degraded: containers that ran without their proper placement, and why.
        moved: what was moved within the last minute; see ``policy.moving``.
        had: what counts as theirs of containers that keep it; None: what the runtime has been told.
    """

    workload: Workload = attrs.field(factory=Workload)
    grants: Mapping[ContainerKey, Json] = attrs.field(factory=dict)
    told: Mapping[ContainerKey, Adjustment] = attrs.field(factory=dict)
    timers: Mapping[tuple[ContainerKey, Timer], float] = attrs.field(factory=dict)
    degraded: Mapping[ContainerKey, str] = attrs.field(factory=dict)
    moved: tuple[Spent, ...] = ()
    had: Mapping[ContainerKey, Adjustment] | None = None


@attrs.frozen
class Revived:
    """The restored state.

    Args:
        state: consistent, but not compared with the runtime yet.
        moved: containers that were placed again, and why.
        squeezed: those of them that did not fit, and why; they run on shared CPUs.
        lost: containers that could not be placed at all, and why; they keep running without a grant.
        trails: of those that were placed again.
        weakened: containers whose grant guarantees less than before, and why.
    """

    state: State
    moved: Mapping[ContainerKey, str] = attrs.field(factory=dict)
    squeezed: Mapping[ContainerKey, str] = attrs.field(factory=dict)
    lost: Mapping[ContainerKey, str] = attrs.field(factory=dict)
    trails: tuple[Trail, ...] = ()
    weakened: Mapping[ContainerKey, str] = attrs.field(factory=dict)


def revive(policy: Policy, saved: Saved) -> Revived:
    """Return the state from *saved*: every grant that still fits is kept, other containers are placed again."""
    workload = _whole(saved.workload)
    holding = {key for key, container in workload.containers.items() if container.state in HOLDING}
    restored = policy.restore({key: grant for key, grant in saved.grants.items() if key in holding}, workload)
    kept = holding & saved.grants.keys() - restored.dropped.keys()
    adjustments = restored.adjustments
    if not policy.heeds_keep:
        adjustments = staying(workload, saved.told if saved.had is None else saved.had, adjustments)
    state = State(
        workload=workload,
        policy=restored.state,
        adjustments=adjustments,
        told={key: adjustment for key, adjustment in saved.told.items() if key in holding},
        timers={timer: at_s for timer, at_s in saved.timers.items() if timer[0] in holding},
        degraded={key: why for key, why in saved.degraded.items() if key in kept},
        moved=saved.moved,
        unsure=True,
    )
    homeless = [workload.containers[key] for key in holding - kept]
    revived = _placed(policy, state, hardest_first(homeless, workload.pods), restored.dropped)
    return attrs.evolve(revived, weakened=restored.weakened)


def _whole(workload: Workload) -> Workload:
    """Return *workload* without the containers of pods that were not saved."""
    containers = {key: one for key, one in workload.containers.items() if one.pod in workload.pods}
    return Workload(workload.pods, containers)


def _placed(policy: Policy, state: State, containers: list[Container], reasons: Mapping[ContainerKey, str]) -> Revived:
    moved, squeezed, lost, trails = {}, {}, {}, []
    told = state.told
    for container in containers:
        decision = adopt(policy, state, container, overflow=False)
        if decision.refusal is not None:
            squeezed[container.key] = str(decision.refusal)
            decision = adopt(policy, state, container, overflow=True)
        if decision.refusal is not None:
            lost[container.key] = squeezed.pop(container.key)
            continue
        state = decision.state
        if container.key in state.degraded and not state.degraded[container.key].startswith(OVERFLOWS):
            squeezed.pop(container.key, None)
            trails += [decision.trail] if decision.trail else []
            lost[container.key] = state.degraded[container.key]
            continue
        moved[container.key] = reasons.get(container.key, NO_GRANT)
        trails += [decision.trail] if decision.trail else []
    return Revived(attrs.evolve(state, told=told), moved, squeezed, lost, tuple(trails))
