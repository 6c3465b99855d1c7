"""Which of several pools that can hold a container is best.

Two pools are compared rule by rule, and the first rule under which they differ decides:

====  ===================================================================================================
rule  the pool wins
====  ===================================================================================================
0     that has room for all memory that the container may use, without risk to other containers
1     that has enough CPUs: reserved ones; isolated ones, if they are preferred; shared ones to spare, for a
      container without exclusive CPUs
1a    that holds more containers of the pod, or before there are any, has room for the whole pod
      (only with the placement scope ``pod``, see `pods`)
2     to whose containers, and those above and below it, the affinity is higher
3     that has all requested kinds of memory
4     that is nearer to the devices and disks in use: to all; if neither is, to some
5     that is deeper in the tree; of equally deep ones, the one that a resized container is in already
6     that suits the placement mode, see below
7     with the lower number
====  ===================================================================================================

Modes (see `modes`) differ in rule 6. *Spare* are the shared CPUs of a pool that nobody on its shared CPUs needs, a
*place* is a NUMA node, or a die or package that does not consist of several.

============  ==========  ========================================================================================
container     mode        the pool wins
============  ==========  ========================================================================================
on reserved   any         with more reserved CPUs per container
to isolated   pack        with fewer isolated CPUs left
              others      with more isolated CPUs left; if none are left anywhere, as with exclusive CPUs
exclusive     spread      with more shared CPUs left; if none are left anywhere, as on shared CPUs
              others      that has a place with so many CPUs, though too little memory there; then
              pack        with fewer spare CPUs left; then as balanced; then where its CPUs would be of fewer L3
                          caches, then of fewer cores
              balanced    that leaves more exclusive CPUs to be had in one place; then with more spare CPUs left
on shared     spread      with fewer containers; then with more shared CPUs left
              pack        where it takes fewer spare CPUs; then with fewer spare CPUs left
              balanced    as for exclusive CPUs; then with fewer containers
============  ==========  ========================================================================================

In mode spread, rule 6 does not apply between pools that are equally near to devices and disks.

The rules that apply make up the *rank* of a pool: pairs of rule and value, where the greater value wins. Which rules
apply follows only from earlier values, so pools that are equal so far have the same next rule, and ranks are totally
ordered. No two pools are equal, since each has its own number. Rule 6 costs most, so it is worked out for those pools
only that no earlier rule tells apart.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from fractions import Fraction

import attrs

from crirm.policy.topology_aware.modes import Mode
from crirm.policy.topology_aware.request import CPUClass, Request


class Rule(enum.Enum):
    """Rules of the comparison, in their order; the values are names with units, as in JSON."""

    MEMORY = "memory_suffices"
    RESERVED_SUFFICE = "reserved_cpus_suffice"
    ISOLATED_SUFFICE = "isolated_cpus_suffice"
    SHARED_SUFFICE = "shared_cpus_suffice"
    POD_MEMBERS = "containers_of_pod"
    POD_FITS = "room_for_whole_pod"
    AFFINITY = "affinity"
    KINDS = "memory_kinds_suffice"
    HINTS = "nearness_to_all_devices"
    SOME_HINTS = "nearness_to_some_devices"
    DEPTH = "depth"
    STAYING = "contains_current_pool"
    RESERVED_EACH = "reserved_per_container_milli"
    ISOLATED_LEFT = "isolated_left_cpus"
    ISOLATED_FULLER = "fewest_isolated_left_cpus"
    SHARED_LEFT = "shared_left_milli"
    SPARE_TAKEN = "spare_taken_cpus"
    WHOLE = "cpus_in_one_place"
    FULLER = "fewest_spare_left_cpus"
    CACHES = "caches"
    CORES = "cores"
    LARGEST = "largest_in_one_place_cpus"
    EMPTIER = "spare_left_cpus"
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
        pod: the rule about the whole pod, and its value; None without.
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
    pod: tuple[Rule, int] | None = None


Rank = tuple[tuple[Rule, int | Fraction], ...]


@attrs.frozen
class Suits:
    """What is worked out of a pool for rule 6 of the modes pack and balanced.

    Args:
        whole: whether a place can give all exclusive CPUs.
        spare: shared CPUs that nobody will need.
        spare_taken: how many fewer these are than now, apart from exclusive CPUs.
        largest: exclusive CPUs that one place (see `pools`) can still give afterwards.
        caches: level 3 caches that its CPUs would be of.
        cores: cores that its CPUs would be of.
    """

    whole: bool = True
    spare: int = 0
    spare_taken: int = 0
    largest: int = 0
    caches: int = 0
    cores: int = 0


def general(score: Score, request: Request) -> Rank:
    """Return the part of the rank of the pool with this *score* that does not depend on the mode."""
    return tuple(_general(score, request))


def particular(score: Score, suits: Suits, request: Request) -> Rank:
    """Return what follows it, rule 6, up to the parts that `finest` tells."""
    if request.cpu.cls is CPUClass.RESERVED:
        return ((Rule.RESERVED_EACH, score.reserved // (score.colocated + 1)),)
    match request.mode:
        case Mode.SPREAD if score.hints is not None and score.hints[1]:
            return ()
        case Mode.SPREAD:
            return tuple(_spread(score, request))
        case Mode.PACK:
            return tuple(_pack(score, suits, request))
        case Mode.BALANCED:
            return tuple(_balanced(score, suits, request))


def finest(suits: Suits) -> Rank:
    """Return the end of rule 6 for exclusive CPUs in mode pack."""
    return (Rule.LARGEST, suits.largest), (Rule.CACHES, -suits.caches), (Rule.CORES, -suits.cores)


def last(pool: int) -> Rank:
    """Return rule 7."""
    return ((Rule.NUMBER, -pool),)


def values(ranked: Rank) -> tuple[int | Fraction, ...]:
    """Return what ranks are compared by; the best pool has the greatest."""
    return tuple(value for _, value in ranked)


def difference(better: Rank, worse: Rank) -> tuple[Rule, float, float]:
    """Return the rule that decided, and both values under it, in the unit that the rule's name ends in."""
    rule, one, other = next(
        (r, one, other) for (r, one), (_, other) in zip(better, worse, strict=False) if one != other
    )
    return rule, _measure(rule, one), _measure(rule, other)


def _general(score: Score, request: Request) -> Iterator[tuple[Rule, int | Fraction]]:
    yield Rule.MEMORY, score.memory
    yield from _sufficiency(score, request)
    if score.pod is not None:
        yield score.pod
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


def _sufficiency(score: Score, request: Request) -> Iterator[tuple[Rule, int]]:
    if request.cpu.cls is CPUClass.RESERVED:
        yield Rule.RESERVED_SUFFICE, score.reserved >= 0
        return
    if request.cpu.isolate:
        yield Rule.ISOLATED_SUFFICE, score.isolated >= 0
    if not request.cpu.full:  # who gets exclusive CPUs needs nothing beyond what every pool that holds it has
        yield Rule.SHARED_SUFFICE, score.shared > 0


def _spread(score: Score, request: Request) -> Iterator[tuple[Rule, int]]:
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


def _pack(score: Score, suits: Suits, request: Request) -> Iterator[tuple[Rule, int]]:
    if request.cpu.isolate and score.isolated >= 0:
        yield Rule.ISOLATED_FULLER, -score.isolated
        return
    if request.cpu.full:
        yield Rule.WHOLE, suits.whole
    else:
        yield Rule.SPARE_TAKEN, -suits.spare_taken
    yield Rule.FULLER, -suits.spare


def _balanced(score: Score, suits: Suits, request: Request) -> Iterator[tuple[Rule, int]]:
    if request.cpu.isolate and score.isolated >= 0:
        yield Rule.ISOLATED_LEFT, score.isolated
        return
    if request.cpu.full:
        yield Rule.WHOLE, suits.whole
    yield Rule.LARGEST, suits.largest
    yield Rule.EMPTIER, suits.spare
    if not request.cpu.full:
        yield Rule.COLOCATED, -score.colocated


_FEWER = frozenset(
    {
        Rule.COLOCATED,
        Rule.NUMBER,
        Rule.ISOLATED_FULLER,
        Rule.FULLER,
        Rule.SPARE_TAKEN,
        Rule.CACHES,
        Rule.CORES,
    }
)
"""The rules under which the lower value wins."""


def _measure(rule: Rule, value: int | Fraction) -> float:
    if rule in _FEWER:
        return int(-value)
    return float(value) if isinstance(value, Fraction) else value
