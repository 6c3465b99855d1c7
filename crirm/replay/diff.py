"""Two replays compared, container by container."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from crirm.replay.moments import Moment
from crirm.replay.report import ENDED, REFUSED, RUNS, Outcome, Report


@attrs.frozen
class Difference:
    """A container for which the two replays differ.

    Args:
        key: of the container.
        name: ``namespace/pod/container``.
        one: its outcome in the first replay, empty if it does not occur there.
        other: likewise.
    """

    key: str
    name: str
    one: str
    other: str


@attrs.frozen
class Figure:
    """A figure of both replays.

    Args:
        what: the figure means.
        one: its value in the first replay.
        other: likewise.
        unit: of both; ``m`` for thousandths of a CPU, ``bytes``, ``%``, or empty for a count.
    """

    what: str
    one: int
    other: int
    unit: str = ""


@attrs.frozen
class Diff:
    """The differences between two replays.

    Args:
        figures: all of them, whether they differ or not.
        containers: those that differ.
        same: number of containers that do not differ.
    """

    figures: tuple[Figure, ...]
    containers: tuple[Difference, ...]
    same: int


def compare(one: Report, other: Report) -> Diff:
    """Return the differences between two replays of one trace."""
    first, second = ({outcome.key: outcome for outcome in report.outcomes} for report in (one, other))
    keys = list(dict.fromkeys((*first, *second)))
    pairs = [(first.get(key), second.get(key)) for key in keys]
    differing = tuple(_difference(*pair) for pair in pairs if _telling(pair[0]) != _telling(pair[1]))
    return Diff(tuple(_figures(one, other)), differing, len(keys) - len(differing))


def _telling(outcome: Outcome | None) -> Outcome | None:
    """Return *outcome* without the parts that depend on other containers."""
    return outcome and attrs.evolve(outcome, changes=0, state="" if outcome.state != REFUSED else REFUSED)


def _difference(one: Outcome | None, other: Outcome | None) -> Difference:
    known = one or other
    assert known is not None  # noqa: S101 - for the type checker: a key comes from one of them
    texts = outcome_text(one), outcome_text(other)
    if texts[0] == texts[1]:
        texts = f"{texts[0]}, {_time_text(one)}", f"{texts[1]}, {_time_text(other)}"
    return Difference(known.key, known.name, *texts)


def _time_text(outcome: Outcome | None) -> str:
    return f"weight {outcome.cpu_shares}, quota {outcome.cpu_quota_us}" if outcome else ""


def outcome_text(outcome: Outcome | None) -> str:
    """Return the outcome of a container as one line."""
    if outcome is None or outcome.state == REFUSED:
        return outcome.state if outcome else ""
    cpus = "any CPU" if outcome.cpus is None else f"CPUs {outcome.cpus}"
    if outcome.own:
        cpus = f"exclusive {cpus}" if outcome.own == outcome.cpus else f"{cpus} (exclusive: {outcome.own})"
    mems = "any memory" if outcome.mems is None else f"memory {outcome.mems}"
    distant = f" (far: {outcome.far})" if outcome.far else ""
    return ", ".join(filter(None, (outcome.pool, cpus, f"{mems}{distant}")))


def _figures(one: Report, other: Report) -> Iterator[Figure]:
    for state, what in (
        (RUNS, "containers running at the end"),
        (ENDED, "containers ended"),
        (REFUSED, "containers never placed"),
    ):
        yield Figure(what, one.count(state), other.count(state))
    yield Figure("refusals", len(one.refusals), len(other.refusals))
    yield Figure("updates of running containers", one.updates, other.updates)
    for when, first, second in (("fullest", one.fullest, other.fullest), ("end", one.end, other.end)):
        yield from _moment_figures(when, first, second)


def _moment_figures(when: str, one: Moment, other: Moment) -> Iterator[Figure]:
    yield Figure(f"{when}: containers", one.containers, other.containers)
    yield Figure(f"{when}: with CPUs of several NUMA nodes", len(one.spread), len(other.spread))
    yield Figure(f"{when}: that may use remote memory", len(one.remote), len(other.remote))
    yield Figure(f"{when}: memory requested by these", one.remote_bytes, other.remote_bytes, "bytes")
    for what, first, second, unit in (("CPU", one.cpu, other.cpu, "m"), ("memory", one.memory, other.memory, "bytes")):
        yield Figure(f"{when}: free {what}", first.total, second.total, unit)
        yield Figure(f"{when}: free {what} in one NUMA node", first.largest, second.largest, unit)
        yield Figure(f"{when}: fragmentation of {what}", first.fragmentation_percent, second.fragmentation_percent, "%")
