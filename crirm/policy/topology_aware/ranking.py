"""Which of several pools that can hold a container is best.

Two pools are compared by one rule after the other, and the first one by which they differ decides:

====  ===================================================================================================
rule  the pool wins
====  ===================================================================================================
0     that has room for all memory that the container may come to use, at nobody's risk
1     that has enough CPUs: reserved ones; isolated ones, if they are preferred; shared ones
2     to whose containers, and those above and below it, the affinity is higher
3     that has all kinds of memory that are wanted
4     that is nearer to the devices and disks in use: to all; if neither is, to some.
      Between equally near pools only rules 5 and 10 decide
5     that is deeper in the tree; of equally deep ones, the one that a resized container is in already
6     with more reserved CPUs per container (of reserved CPUs, the last but rule 10)
7     with more isolated CPUs left; if any are, only rule 10 is left
8     with more shared CPUs left, for exclusive ones; if any are, only rule 10 is left
9     with fewer containers; then with more shared CPUs left
10    with the lower number
====  ===================================================================================================

The rules that apply make up the *rank* of a pool: pairs of rule and value, of which the greater value wins. Where a
pool's rank ends early, that follows from the values before, so pools that are equal so far have the same rules next,
and ranks are totally ordered. No two pools are equal, since no two have the same number.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from fractions import Fraction

import attrs

from crirm.model.quantity import MilliCPU, format_millicpu
from crirm.policy.topology_aware.request import CPUClass, Request


class Rule(enum.Enum):
    """Rules of the comparison, in their order, as they are told to people."""

    MEMORY = "room for all memory that may come to be used"
    RESERVED_SUFFICE = "enough reserved CPUs"
    ISOLATED_SUFFICE = "enough isolated CPUs"
    SHARED_SUFFICE = "shared CPUs to spare"
    AFFINITY = "affinity to other containers"
    KINDS = "all kinds of memory that are wanted"
    HINTS = "nearness to all devices and disks"
    SOME_HINTS = "nearness to some devices and disks"
    DEPTH = "depth in the tree"
    STAYING = "around the CPUs that it has"
    RESERVED_EACH = "reserved CPUs per container"
    ISOLATED_LEFT = "isolated CPUs left"
    SHARED_LEFT = "shared CPUs left"
    COLOCATED = "fewer containers in the pool"
    NUMBER = "lower number"


@attrs.frozen
class Score:
    """What is known of one pool for one request.

    Args:
        pool: its number.
        memory: whether nobody's memory is at risk if the container comes to use all it may.
        depth: in the tree.
        reserved: thousandths of reserved CPUs left after the request; -1 where the pool has none.
        shared: likewise, of shared ones.
        isolated: isolated CPUs left after the request, 0 where none are wanted.
        from_isolated: whether the exclusive CPUs come from the isolated ones.
        colocated: containers of the same class in the pool itself.
        affinity: how much the containers in the pool, above and below it attract this one.
        kinds: whether the pool has all kinds of memory that are wanted.
        staying: whether the pool holds the one in which the container was so far; None for a new one.
        hints: nearness to what the container uses, all of it and what is near at all, 0..1; None without hints.
    """

    pool: int
    memory: bool
    depth: int
    reserved: int
    shared: int
    isolated: int
    from_isolated: bool
    colocated: int
    affinity: int | Fraction = 0
    kinds: bool = True
    staying: bool | None = None
    hints: tuple[Fraction, Fraction] | None = None


Rank = tuple[tuple[Rule, int | Fraction], ...]


def rank(score: Score, request: Request) -> Rank:
    """Return the rank of the pool with this *score* for *request*."""
    return tuple(_terms(score, request))


def values(ranked: Rank) -> tuple[int | Fraction, ...]:
    """Return what ranks are compared by; the best pool has the greatest."""
    return tuple(value for _, value in ranked)


def difference(better: Rank, worse: Rank) -> tuple[Rule, str, str]:
    """Return the rule that decided, and the values of both for people."""
    rule, one, other = next(
        (r, one, other) for (r, one), (_, other) in zip(better, worse, strict=False) if one != other
    )
    return rule, _text(rule, one), _text(rule, other)


def _terms(score: Score, request: Request) -> Iterator[tuple[Rule, int | Fraction]]:
    yield Rule.MEMORY, score.memory
    yield from _sufficiency(score, request)
    yield Rule.AFFINITY, score.affinity
    yield Rule.KINDS, score.kinds
    if score.hints is not None:
        complete, partial = score.hints
        yield Rule.HINTS, complete
        if not complete:
            yield Rule.SOME_HINTS, partial
    yield Rule.DEPTH, score.depth
    if score.staying is not None:
        yield Rule.STAYING, score.staying
    if score.hints is None or not score.hints[1]:
        yield from _plenty(score, request)
    yield Rule.NUMBER, -score.pool


def _sufficiency(score: Score, request: Request) -> Iterator[tuple[Rule, int]]:
    if request.cpu.cls is CPUClass.RESERVED:
        yield Rule.RESERVED_SUFFICE, score.reserved >= 0
        return
    if request.cpu.isolate:
        yield Rule.ISOLATED_SUFFICE, score.isolated >= 0
    yield Rule.SHARED_SUFFICE, score.shared > 0 or (score.from_isolated and not request.cpu.part)


def _plenty(score: Score, request: Request) -> Iterator[tuple[Rule, int]]:
    if request.cpu.cls is CPUClass.RESERVED:
        yield Rule.RESERVED_EACH, score.reserved // (score.colocated + 1)
        return
    if request.cpu.isolate:
        yield Rule.ISOLATED_LEFT, max(score.isolated, 0)
        if score.isolated > 0:
            return
    if request.cpu.full:
        yield Rule.SHARED_LEFT, max(score.shared, 0)
        if score.shared > 0:
            return
    yield Rule.COLOCATED, -score.colocated
    yield Rule.SHARED_LEFT, score.shared


def _text(rule: Rule, value: int | Fraction) -> str:
    match rule:
        case Rule.RESERVED_EACH | Rule.SHARED_LEFT:
            return format_millicpu(MilliCPU(int(value)))
        case Rule.MEMORY | Rule.KINDS | Rule.STAYING:
            return "yes" if value else "no"
        case Rule.RESERVED_SUFFICE | Rule.ISOLATED_SUFFICE | Rule.SHARED_SUFFICE:
            return "yes" if value else "no"
        case Rule.COLOCATED | Rule.NUMBER:
            return str(-value)
        case Rule.HINTS | Rule.SOME_HINTS | Rule.AFFINITY:
            return f"{float(value):.3g}"
        case Rule.DEPTH | Rule.ISOLATED_LEFT:
            return str(value)
