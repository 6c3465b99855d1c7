"""Bringing spread containers together on request: as a plan, which changes nothing, and move by move.

Each move is a decision of its own about the state as it is then, by the policy's ordinary rules (`Policy.gather`), so
it is complete whatever comes after it. Where no spread container can come together by itself, another one may be moved
out of its way first (`Policy.clear_way`). The budget is the request's own; what is moved counts in that of the policy.
"""

from __future__ import annotations

import attrs

from crirm.model.decision import UNADJUSTED, Adjustment, Decision, State
from crirm.model.events import MoveRequested
from crirm.model.workload import ContainerKey
from crirm.policy.api import Policy
from crirm.policy.keeping import kept_of
from crirm.policy.moving import is_held
from crirm.policy.pipeline import step

REQUESTED = "crirm defrag asked for it"


@attrs.frozen
class PlannedMove:
    """One move.

    Args:
        key: of the container.
        before: its adjustment.
        after: likewise.
        why: the gain, in words.
        bytes: memory that it may have where it comes from, if that has to move.
        others: containers whose CPUs or memory nodes change with it.
    """

    key: ContainerKey
    before: Adjustment
    after: Adjustment
    why: str
    bytes: int
    others: int


@attrs.frozen
class Defragmentation:
    """What moving would lead to.

    Args:
        moves: in their order.
        before: containers that are spread now.
        after: containers that would still be spread, and why.
    """

    moves: tuple[PlannedMove, ...]
    before: tuple[ContainerKey, ...]
    after: dict[ContainerKey, str]


def next_move(policy: Policy, state: State, bytes_left: int, now_s: float) -> tuple[PlannedMove | None, Decision]:
    """Return the next move of at most so many bytes, if there is one, and the decision about it."""
    decision = step(policy, state, MoveRequested(bytes_left), now_s)
    moved = next((trail.key for trail in decision.trails), None)
    if moved is None:
        return None, decision
    own = [move for move in decision.moves if move.key == moved]
    others = {move.key for move in decision.moves} - {moved}
    before, after = (one.adjustments.get(moved, UNADJUSTED) for one in (state, decision.state))
    spent = decision.state.moved[-1].bytes
    return PlannedMove(moved, before, after, own[0].why if own else "", spent, len(others)), decision


def plan_moves(policy: Policy, state: State, most: int, most_bytes: int, now_s: float) -> Defragmentation:
    """Return the moves that would be made, one after the other.

    Args:
        policy: decides.
        state: of now; stays as it is.
        most: containers.
        most_bytes: of memory that they may have where they come from.
        now_s: wall-clock time in seconds.
    """
    before, moves, left = policy.spread(state.policy, state.workload), list[PlannedMove](), most_bytes
    while len(moves) < most:
        found, decision = next_move(policy, state, left, now_s)
        if found is None:
            break
        moves.append(found)
        state, left = decision.state, left - found.bytes
    after = {key: _why_not(state, key, out=len(moves) >= most) for key in policy.spread(state.policy, state.workload)}
    return Defragmentation(tuple(moves), before, after)


def _why_not(state: State, key: ContainerKey, *, out: bool) -> str:
    """Return why a container stays spread."""
    kept = kept_of(state.workload, key)
    if kept.cpus or kept.memory:
        return f"it keeps {'its CPUs' if kept.cpus else 'its memory'} (annotation keep)"
    if key in state.degraded:
        return "it runs without the assignment it should have"
    if is_held(state, key):
        return "it is starting, or the runtime has not confirmed its last update"
    if out:
        return "the budget of moves is used up"
    return "no NUMA node has room for all of it within the budget of memory, even if one other container moved"
