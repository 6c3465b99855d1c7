"""Plays every trace on every host in every way, best fit and the bound beside."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from bench.placement.bestfit import Crossed, best_fit
from bench.placement.bound import Bound, bound
from bench.placement.modes import UnknownOptionError, Way
from bench.placement.onemove import Moved, one_move
from bench.placement.play import Outcome, play, with_cpus
from bench.placement.traces import Host, Shape, Step, steps

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


@attrs.frozen
class Amount:
    """How much is played: so many traces of each kind, of so many arrivals."""

    seeds: int
    arrivals: int


@attrs.frozen
class Beside:
    """What a trace is like, whatever the policy.

    Args:
        nodes: NUMA nodes of the host.
        trace: key of the shape.
        best: best fit without moves.
        moved: best fit with one move for an arrival, and spread ones coming together.
        cpus: the bound for CPUs of one node.
        whole: the bound for CPUs and memory of one node.
        arrivals: of exclusive containers.
    """

    nodes: int
    trace: str
    best: Crossed
    moved: Moved
    cpus: Bound
    whole: Bound
    arrivals: int


@attrs.frozen
class Row:
    """One kind of trace on one host in one way; without an outcome there is no such way, and *missing* tells why."""

    beside: Beside
    way: Way
    outcome: Outcome | None
    missing: str = ""


@attrs.frozen
class Case:
    """A kind of trace on a host."""

    shape: Shape
    nodes: int
    host: Host


def measure(cases: Sequence[Case], ways: Sequence[Way], amount: Amount, tell: Callable[[str], None]) -> Iterator[Row]:
    """Play all *cases* in all *ways*, and *tell* what is played."""
    for case in cases:
        tell(f"placement, {case.nodes} NUMA nodes, {case.shape.key}")
        host = with_cpus(case.host)
        traces = [steps(case.shape, host, seed, amount.arrivals) for seed in range(amount.seeds)]
        beside = _beside(case, host, traces)
        for way in ways:
            yield _row(beside, way, host, traces)


def _beside(case: Case, host: Host, traces: Sequence[tuple[Step, ...]]) -> Beside:
    best, moved, cpus, whole = Crossed(), Moved(), Bound(), Bound()
    arrivals = sum(not (step.leaves or step.item.shared) for trace in traces for step in trace)
    for trace in traces:
        best = best.plus(best_fit(host, trace))
        moved = moved.plus(one_move(host, trace))
        cpus = cpus.plus(bound(host, trace, memory=False))
        whole = whole.plus(bound(host, trace, memory=True))
    return Beside(case.nodes, case.shape.key, best, moved, cpus, whole, arrivals)


def _row(beside: Beside, way: Way, host: Host, traces: Sequence[tuple[Step, ...]]) -> Row:
    outcome = Outcome()
    try:
        for trace in traces:
            outcome = outcome.plus(play(way, host, trace))
    except UnknownOptionError as fault:
        return Row(beside, way, None, str(fault))
    return Row(beside, way, outcome)
