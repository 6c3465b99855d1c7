"""Where a new container goes: to its proper place, or (overflow) among others with nothing kept for it."""

from __future__ import annotations

from typing import Final

import attrs

from crirm.model.decision import State
from crirm.model.refusal import RefusalReason, RefusedError
from crirm.model.resources import Requirements
from crirm.model.workload import Container
from crirm.policy.api import Placement
from crirm.policy.keeping import allocated
from crirm.policy.moving import Deciding, best

OVERFLOWS: Final = "no CPUs or memory are reserved for it (overflow): "
"""How the reason begins that such a container is degraded for."""


def somewhere(step: Deciding, state: State, container: Container, *, overflow: bool) -> tuple[Placement, str]:
    """Ask the policy; where there is no room and *overflow* is allowed, for a place with nothing kept for it.

    Returns:
        the place, and in the latter case why; its weight is that of its request all the same.

    Raises:
        RefusedError: there is none.
    """
    try:
        return best(step, state, container), ""
    except RefusedError as refusal:
        if not overflow or refusal.reason is not RefusalReason.NO_ROOM:
            raise
        nothing = Requirements(unpromised_cpu=container.requirements.cpu_request)
        modest = attrs.evolve(container, requirements=nothing)
        try:
            placement = allocated(step.policy, state, modest)
        except RefusedError as second:
            also = f"with nothing reserved for it (overflow) it does not fit either: {second.message}"
            raise RefusedError(second.code, f"{refusal.message}; {also}") from None
        note, lack = f"overflow: no CPUs or memory are reserved for it: {refusal}", f"{OVERFLOWS}{refusal}"
    trail = placement.trail and attrs.evolve(placement.trail, notes=(*placement.trail.notes, note))
    return attrs.evolve(placement, trail=trail, cramped=True), lack
