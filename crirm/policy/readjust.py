"""Other requirements for containers that run, all or none: as a plan, which changes nothing."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.model.decision import UNADJUSTED, State
from crirm.model.events import ResizeDone, ResizeRequested
from crirm.model.resources import Requirements
from crirm.model.trail import Trail
from crirm.model.workload import Container, ContainerKey
from crirm.policy.activation import Change, Plan
from crirm.policy.api import Policy
from crirm.policy.pipeline import step
from crirm.policy.telling import tell

BUSY = "a resize is in progress; send the overrides again"


def plan_requirements(
    policy: Policy, state: State, wanted: Mapping[ContainerKey, Requirements], why: str, now_s: float
) -> Plan:
    """Return what would become of *state* if containers had the requirements *wanted*.

    Each is resized where it is, as far as possible; those that give something back come first.

    Args:
        policy: that decides.
        state: of now.
        wanted: requirements by container, of some containers that hold a grant.
        why: of the changes, in words.
        now_s: wall-clock time in seconds, for timers.

    Returns:
        the plan; containers in its ``unfit`` keep what they have.
    """
    after, trails = state, list[Trail]()
    unfit = dict.fromkeys(sorted(wanted.keys() & state.resizing.keys()), BUSY)
    for container in _smallest_growth_first(state, {key: one for key, one in wanted.items() if key not in unfit}):
        resize = ResizeRequested(container.key, container.resources, wanted[container.key])
        decision = step(policy, after, resize, now_s, advises=False)
        if decision.refusal is not None:
            unfit[container.key] = str(decision.refusal)
            continue
        after = step(policy, decision.state, ResizeDone(container.key), now_s).state
        trails += decision.trails
    told = tell(attrs.evolve(after, told=state.told))
    keys = [key for key, one in sorted(after.adjustments.items()) if one != state.adjustments.get(key)]
    changes = {key: Change(state.adjustments.get(key, UNADJUSTED), after.adjustments[key], why) for key in keys}
    return Plan(told.state, told.effects, changes, unfit, tuple(trails))


def _smallest_growth_first(state: State, wanted: Mapping[ContainerKey, Requirements]) -> list[Container]:
    def growth(container: Container) -> tuple[object, ...]:
        now, then = container.requirements, wanted[container.key]
        return then.cpu_request - now.cpu_request, then.memory_request - now.memory_request, container.key

    return sorted((state.workload.containers[key] for key in wanted), key=growth)
