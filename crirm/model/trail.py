"""Why a container was placed where it is: the record that ``crirm explain`` shows."""

from __future__ import annotations

import attrs

from crirm.model.workload import ContainerKey


@attrs.frozen
class Verdict:
    """The outcome for one pool that was considered.

    Args:
        pool: its name.
        facts: what it had to offer: names that end in a unit, and numbers, for example ("shared_milli", 3500).
        lost_to: the chosen pool; empty for that pool itself.
        rule: what decided between the two, a name with its unit; empty for the chosen pool.
        own: this pool's value under that rule.
        other: the chosen pool's value under that rule.
        why: this pool was not chosen, in one sentence.
    """

    pool: str
    facts: tuple[tuple[str, int], ...] = ()
    lost_to: str = ""
    rule: str = ""
    own: float = 0
    other: float = 0
    why: str = ""


@attrs.frozen
class Move:
    """A change for a container other than the one that was placed.

    Args:
        key: which one.
        what: changed, for example "CPUs".
        before: the old value.
        after: the new value.
        why: the reason, in one sentence.
    """

    key: ContainerKey
    what: str
    before: str
    after: str
    why: str


@attrs.frozen
class Trail:
    """How one decision was made.

    Args:
        key: the container that was placed.
        policy: the policy that decided.
        asked: what the container requested, in one sentence.
        chosen: the pool it was placed in; empty if none.
        granted: what it was assigned, in one sentence.
        verdicts: of all pools considered, the chosen one first.
        moves: changes for other containers.
        notes: anything else worth knowing, such as a preference that could not be met.
    """

    key: ContainerKey
    policy: str
    asked: str
    chosen: str
    granted: str
    verdicts: tuple[Verdict, ...] = ()
    moves: tuple[Move, ...] = ()
    notes: tuple[str, ...] = ()
