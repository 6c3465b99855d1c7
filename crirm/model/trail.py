"""Why a container got what it got: the record that ``crirm explain`` tells."""

from __future__ import annotations

import attrs

from crirm.model.workload import ContainerKey


@attrs.frozen
class Verdict:
    """What became of one pool that was considered.

    Args:
        pool: its name.
        facts: what it had to offer, as (name, value) for people, for example ("shared", "3500m").
        lost_to: the pool that was preferred to it; empty for the chosen one.
        rule: the rule of the comparison that decided, or why it could not hold the container at all.
        own: this pool's value under that rule.
        other: the preferred pool's value under that rule.
    """

    pool: str
    facts: tuple[tuple[str, str], ...] = ()
    lost_to: str = ""
    rule: str = ""
    own: str = ""
    other: str = ""


@attrs.frozen
class Move:
    """What a decision changes for a container that it did not choose for.

    Args:
        key: which one.
        what: of it, for example "CPUs".
        before: the value that it had.
        after: the value that it has now.
        why: in one sentence.
    """

    key: ContainerKey
    what: str
    before: str
    after: str
    why: str


@attrs.frozen
class Trail:
    """How one decision came about.

    Args:
        key: the container that it was about.
        policy: the policy that decided.
        asked: what the container asked for, in one sentence.
        chosen: the pool that it got; empty when none.
        granted: what it got, in one sentence.
        verdicts: of all pools considered, the chosen one first.
        moves: of other containers.
        notes: whatever else is worth knowing, such as a preference that could not be met.
    """

    key: ContainerKey
    policy: str
    asked: str
    chosen: str
    granted: str
    verdicts: tuple[Verdict, ...] = ()
    moves: tuple[Move, ...] = ()
    notes: tuple[str, ...] = ()
