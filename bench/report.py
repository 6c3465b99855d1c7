"""The figures as tables for people and as JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from bench.figures import Judged, Verdict, judge
from bench.stats import Estimate, quantile
from bench.ways import BEFORE, CRIRM, DIRECT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.box import Box

    from bench.figures import Figure

_COLOURS = {Verdict.REACHED: "green", Verdict.MISSED: "red", Verdict.UNDECIDED: "yellow"}


def figures_table(figures: Sequence[Figure], other: str | None, box: Box, *, judged: bool) -> Table:
    """Return the figures of one runtime, a row each: medians by way; with targets and verdicts when *judged*."""
    table = Table(title=f"{figures[0].runtime}, medians", title_justify="left", box=box)
    ways = [name for name in (DIRECT, other, BEFORE, CRIRM) if any(name in figure.samples for figure in figures)]
    table.add_column("what")
    for heading in [*map(str, ways), "95 % interval"]:
        table.add_column(heading, justify="right")
    if BEFORE in ways:
        table.add_column("to before", justify="right")
    for heading in ("to reach", "measured", "verdict") if judged else ():
        table.add_column(heading)
    for figure in figures:
        cells = [f"{figure.name}, {figure.unit}", *(_median(figure, str(way)) for way in ways), _interval(figure)]
        if BEFORE in ways:
            cells.append(_to_before(figure))
        if judged:
            cells += _verdict(judge(figure, figures, other))
        table.add_row(*cells)
    return table


def _median(figure: Figure, way: str) -> str:
    return _number(Estimate.of(figure.samples[way]).value) if way in figure.samples else "-"


def _interval(figure: Figure) -> str:
    mine = figure.samples.get(CRIRM, ())
    if len(mine) < 2:
        return ""
    estimate = Estimate.of(mine)
    return f"{_number(estimate.low)} … {_number(estimate.high)}"


def _to_before(figure: Figure) -> str:
    change = figure.to_before()
    if change is None:
        return "-"
    interval = f" ({change.low:.2f} … {change.high:.2f})" if change.low != change.high else ""
    return f"{change.value:.2f} x{interval}"


def _verdict(judged: Judged | None) -> list[str]:
    if judged is None:
        return ["", "", ""]
    measured = judged.measured
    interval = f"{_number(measured.low)} … {_number(measured.high)}" if measured.low != measured.high else ""
    shown = f"{_number(measured.value)} ({interval})" if interval else _number(measured.value)
    return [judged.says, shown, f"[{_COLOURS[judged.verdict]}]{judged.verdict.value}"]


def _number(value: float) -> str:
    """Three digits that count, and never an exponent."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2 if abs(value) >= 1 else 3
    return f"{value:.{digits}f}"


def as_json(facts: dict[str, Any], figures: Sequence[Figure], other: str | None, *, judged: bool) -> dict[str, Any]:
    """Return everything as one JSON document; with verdicts when *judged*."""
    return {"machine": facts, "figures": [_as_json(figure, figures, other, judged=judged) for figure in figures]}


def _as_json(figure: Figure, figures: Sequence[Figure], other: str | None, *, judged: bool) -> dict[str, Any]:
    document: dict[str, Any] = {
        "runtime": figure.runtime,
        "name": figure.name,
        "unit": figure.unit,
        "ways": {way: _way(samples) for way, samples in figure.samples.items()},
    }
    if (change := figure.to_before()) is not None:
        document["to_before"] = _estimate(change)
    same_runtime = [one for one in figures if one.runtime == figure.runtime]
    if judged and (one := judge(figure, same_runtime, other)) is not None:
        document["target"] = {"says": one.says, "measured": _estimate(one.measured), "verdict": one.verdict.value}
    return document


def _way(samples: Sequence[float]) -> dict[str, float]:
    return {"samples": len(samples), **_estimate(Estimate.of(samples)), "p99": quantile(samples, 0.99)}


def _estimate(estimate: Estimate) -> dict[str, float]:
    return {"median": estimate.value, "low": estimate.low, "high": estimate.high}
