"""The figures of placement, for people and as JSON."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.box import Box

    from bench.placement.bound import Bound
    from bench.placement.goals import Judged
    from bench.placement.measure import Beside, Row
    from bench.placement.play import Outcome

_COLUMNS = (
    *("placed", "crossing", "refused", "of these fit", "present, crossing", "memory > 1 node", "wide, fits", "away"),
    *("moves/arrival", "ms", "worst"),
)
_EXAMPLES = 3  # shown of what misses a goal


def tables(rows: Sequence[Row], judged: Sequence[Judged], box: Box) -> Iterator[Table]:
    """Return a table for each number of NUMA nodes, and one of the goals."""
    for nodes, some in groupby(rows, key=lambda row: row.beside.nodes):
        yield _figures(f"Placing, {nodes} NUMA nodes", list(some), box)
    goals = Table("goal", "", "missed by", title="Goals of placing", box=box)
    for goal in judged:
        verdict = "met" if not goal.missed else f"NOT MET in {len(goal.missed)} of {goal.rows}"
        goals.add_row(goal.text, verdict if goal.rows else "not measured", "; ".join(goal.missed[:_EXAMPLES]))
    yield goals


def _figures(title: str, rows: Sequence[Row], box: Box) -> Table:
    table = Table("trace", "way", title=title, box=box)
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for _, of_trace in groupby(rows, key=lambda row: row.beside.trace):
        some = list(of_trace)
        _add_beside(table, some[0].beside)
        for row in some:
            figures = _texts(row.outcome) if row.outcome else ("not there",)
            table.add_row("", row.way.name, *figures)
    return table


def _add_beside(table: Table, beside: Beside) -> None:
    table.add_row(beside.trace, "best fit, no moves", "", str(beside.best.cpus), *("", "", ""), str(beside.best.memory))
    moves = f"{beside.moved.moves / max(beside.arrivals, 1):.2f}"
    table.add_row("", "best fit, 1 move", "", str(beside.moved.cpus), *("", "", "", "", "", ""), moves)
    table.add_row("", "unavoidable", "", _range(beside.cpus), *("", "", ""), _range(beside.whole))


def _range(bound: Bound) -> str:
    text = f"{bound.least}" if bound.least == bound.repacked else f"{bound.least}-{bound.repacked}"
    return f"{text} ({bound.undecided} undecided)" if bound.undecided else text


def _texts(out: Outcome) -> tuple[str, ...]:
    return (
        *map(str, (out.placed, out.crossing, out.refused, out.refused_though_fits)),
        f"{out.standing / max(out.present, 1):.1%}",
        *map(str, (out.wide, out.wide_though_fits, out.away)),
        f"{out.moved / max(out.arrivals, 1):.2f}",
        f"{out.median_ms:.2f}",
        f"{max(out.spent_ms):.1f}",
    )


def as_json(rows: Sequence[Row], judged: Sequence[Judged]) -> dict[str, Any]:
    """Return all figures."""
    return {
        "rows": [_row(row) for row in rows],
        "goals": [{"goal": goal.text, "hard": goal.hard, "rows": goal.rows, "missed": goal.missed} for goal in judged],
    }


def _row(row: Row) -> dict[str, Any]:
    beside, out = row.beside, row.outcome
    document: dict[str, Any] = {
        "nodes": beside.nodes,
        "trace": beside.trace,
        "way": row.way.name,
        "best_fit": [beside.best.cpus, beside.best.memory],
        "one_move": [beside.moved.cpus, beside.moved.moves],
        "bound_cpus": [beside.cpus.least, beside.cpus.repacked, beside.cpus.undecided],
        "bound_whole": [beside.whole.least, beside.whole.repacked, beside.whole.undecided],
    }
    if out is None:
        return {**document, "missing": row.missing}
    counted = {name: getattr(out, name) for name in _COUNTED}
    return {**document, **counted, "median_ms": out.median_ms, "worst_ms": max(out.spent_ms)}


_COUNTED = (
    *("arrivals", "placed", "crossing", "standing", "present", "wide", "wide_though_fits", "away"),
    *("refused", "refused_though_fits", "moved", "examples"),
)
