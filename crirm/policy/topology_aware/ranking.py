"""Which of several pools that can hold a container is best.

Two pools are compared rule by rule, and the first rule under which they differ decides:

====  ===================================================================================================
rule  the pool wins
====  ===================================================================================================
0     that has room for all memory that the container may use, without risk to other containers
1     that has enough CPUs: reserved ones; isolated ones, if they are preferred; shared ones to spare, for a container
      without exclusive CPUs
2     to whose containers, and those above and below it, the affinity is higher
3     that has all requested kinds of memory
4     that is nearer to the devices and disks in use: to all; if neither is, to some.
      Between equally near pools only rules 5 and 10 apply
5     that is deeper in the tree; of equally deep ones, the one that a resized container is in already
6     with more reserved CPUs per container (for reserved CPUs, rule 10 follows)
7     with more isolated CPUs left; if any are left, rule 10 follows
8     with more shared CPUs left, for exclusive ones; if any are left, rule 10 follows
9     with fewer containers; then with more shared CPUs left
10    with the lower number
====  ===================================================================================================

The rules that apply make up the *rank* of a pool: pairs of rule and value, where the greater value wins. Which rules
apply follows only from earlier values, so pools that are equal so far have the same next rule, and ranks are totally
ordered. No two pools are equal, since each has its own number.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from fractions import Fraction

import attrs

from crirm.policy.topology_aware.request import CPUClass, Request


class Rule(enum.Enum):
    """Rules of the comparison, in their order; the values are names with units, as in JSON."""

    MEMORY = "memory_suffices"
    RESERVED_SUFFICE = "reserved_cpus_suffice"
    ISOLATED_SUFFICE = "isolated_cpus_suffice"
    SHARED_SUFFICE = "shared_cpus_suffice"
    AFFINITY = "affinity"
    KINDS = "memory_kinds_suffice"
    HINTS = "nearness_to_all_devices"
    SOME_HINTS = "nearness_to_some_devices"
    DEPTH = "depth"
    STAYING = "contains_current_pool"
    RESERVED_EACH = "reserved_per_container_milli"
    ISOLATED_LEFT = "isolated_left_cpus"
    SHARED_LEFT = "shared_left_milli"
    COLOCATED = "containers"
    NUMBER = "pool_number"


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


def difference(better: Rank, worse: Rank) -> tuple[Rule, float, float]:
    """Return the rule that decided, and both values under it, in the unit that the rule's name ends in."""
    rule, one, other = next(
        (r, one, other) for (r, one), (_, other) in zip(better, worse, strict=False) if one != other
    )
    return rule, _measure(rule, one), _measure(rule, other)


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
    if not request.cpu.full:  # who gets exclusive CPUs needs nothing beyond what every pool that holds it has
        yield Rule.SHARED_SUFFICE, score.shared > 0


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


def _measure(rule: Rule, value: int | Fraction) -> float:
    if rule in {Rule.COLOCATED, Rule.NUMBER}:  # of which the lower value wins
        return int(-value)
    return float(value) if isinstance(value, Fraction) else value
