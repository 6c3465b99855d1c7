"""What placing is to attain; what holds on any machine is *hard*, and its failure the benchmark's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from bench.placement.measure import Row

PACK, PACK_AND_MOVE = "topology-aware, pack", "topology-aware, pack, 1 move"
MOVES_PER_ARRIVAL: Final = 0.3
TIMES_BOUND: Final = 2
TIMES_BEST: Final = 1.1


@attrs.frozen
class Judged:
    """A goal, and the rows that miss it.

    Args:
        text: the goal.
        hard: whether its failure is the benchmark's.
        rows: how many rows it is about.
        missed: which of them miss it, and by what.
    """

    text: str
    hard: bool
    rows: int
    missed: tuple[str, ...]


@attrs.frozen
class _Goal:
    text: str
    about: Callable[[Row], bool]
    figures: Callable[[Row], tuple[float, float]]
    """What was measured, and what it may be at most."""
    hard: bool = False


def judge(rows: Iterable[Row]) -> list[Judged]:
    """Return how each goal fares; a row without an outcome misses those that are about it."""
    rows = list(rows)
    return [_together(rows), *(_judged(goal, [row for row in rows if goal.about(row)]) for goal in _GOALS)]


def _together(rows: Sequence[Row]) -> Judged:
    """Judge pack over all traces: in one of them, chance alone makes some per cent."""
    text = "pack without moves, all traces together: spread or refused at most 1.1 x as many as by best fit"
    packed = [row for row in rows if row.way.name == PACK]
    missing = tuple(row.missing for row in packed if row.outcome is None)[:1]
    if missing or not packed:
        return Judged(text, hard=True, rows=len(packed), missed=missing)
    measured, best = sum(_outcome(row)[0] for row in packed), sum(row.beside.best.cpus for row in packed)
    missed = (f"{measured}, not {TIMES_BEST * best:.0f}",) if measured > TIMES_BEST * best else ()
    return Judged(text, hard=True, rows=1, missed=missed)


def _judged(goal: _Goal, rows: Sequence[Row]) -> Judged:
    return Judged(goal.text, goal.hard, len(rows), tuple(text for row in rows if (text := _miss(goal, row))))


def _miss(goal: _Goal, row: Row) -> str:
    where = f"{row.way.name}, {row.beside.nodes} nodes, {row.beside.trace}"
    if row.outcome is None:
        return f"{where}: {row.missing}"
    measured, most = goal.figures(row)
    return f"{where}: {measured:g}, not {most:g}" if measured > most else ""


def _outcome(row: Row) -> tuple[int, float, int, int]:
    """Return what is spread or refused, moves per arrival, and what is refused or wide without need."""
    if row.outcome is None:
        raise AssertionError(row.missing)
    out = row.outcome
    return out.crossing + out.refused, out.moved / max(out.arrivals, 1), out.refused_though_fits, out.wide_though_fits


def _about(*names: str) -> Callable[[Row], bool]:
    return lambda row: row.way.name in names


def _pins_memory(row: Row) -> bool:
    return row.way.policy == "topology-aware"


_GOALS: Final = (
    _Goal(
        "pack without moves, each trace: spread or refused at most as many as by best fit",
        _about(PACK),
        lambda row: (_outcome(row)[0], row.beside.best.cpus),
    ),
    _Goal(
        "none refused that provably fits one node",
        _pins_memory,
        lambda row: (_outcome(row)[2], 0),
        hard=True,
    ),
    _Goal(
        "no memory of more nodes than the CPUs, where the limit fits there",
        _pins_memory,
        lambda row: (_outcome(row)[3], 0),
        hard=True,
    ),
    _Goal(
        "one move per arrival: spread or refused at most 2 x the bound of one who knows the future",
        _about(PACK_AND_MOVE),
        lambda row: (_outcome(row)[0], TIMES_BOUND * row.beside.cpus.least),
    ),
    _Goal(
        "one move per arrival: spread or refused at most 2 x what repacking everything attains",
        _about(PACK_AND_MOVE),
        lambda row: (_outcome(row)[0], TIMES_BOUND * row.beside.cpus.repacked),
    ),
    _Goal(
        "one move per arrival: at most 0.3 moves per arrival",
        _about(PACK_AND_MOVE),
        lambda row: (_outcome(row)[1], MOVES_PER_ARRIVAL),
    ),
)
