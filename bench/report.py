"""The figures as tables for people and as JSON for programs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from rich.table import Table

from bench.targets import Judged, Verdict, judge

if TYPE_CHECKING:
    from rich.box import Box

    from bench.measure import Measurement
    from bench.plan import Findings

_COLOURS = {Verdict.REACHED: "green", Verdict.MISSED: "red", Verdict.UNDECIDED: "yellow"}


def calls_table(findings: Findings, box: Box) -> Table:
    """Return what each kind of call costs on one runtime."""
    title = f"{findings.runtime}, in ms: medians and p99, and of crirm its CPU time per call and longest turn"
    table = Table(title=title, title_justify="left", box=box)
    table.add_column("call")
    for heading in (
        "direct",
        "p99",
        "relayed",
        "p99",
        "ratio",
        "added",
        "95 % interval",
        "CPU",
        "turn, CPU",
        "turn, wall",
    ):
        table.add_column(heading, justify="right")
    for measurement in findings.measurements:
        table.add_row(*_cells(measurement))
    return table


def _cells(measurement: Measurement) -> list[str]:
    times, turn = measurement.times, measurement.longest_turn
    name = measurement.name
    if measurement.reply_bytes is not None and measurement.reply_bytes >= 1000:
        name += f" ({measurement.reply_bytes // 1000} kB)"
    if measurement.direct_per_second is not None:
        name += f" ({measurement.direct_per_second:.0f} → {measurement.relayed_per_second:.0f} calls/s)"
    return [
        name,
        f"{times.direct.median_ms:.2f}",
        f"{times.direct.p99_ms:.2f}",
        f"{times.relayed.median_ms:.2f}",
        f"{times.relayed.p99_ms:.2f}",
        f"{times.ratio:.3f}",
        f"{times.added_ms:.2f}",
        f"{times.added_low_ms:.2f} … {times.added_high_ms:.2f}",
        f"{measurement.cpu_ms:.3f}",
        f"{turn.cpu_ms:.1f}",
        f"{turn.wall_ms:.1f}",
    ]


def targets_table(judged: list[Judged], box: Box) -> Table:
    """Return the figures that have a target."""
    table = Table(title="Figures to reach", title_justify="left", box=box)
    for heading in ("runtime", "what"):
        table.add_column(heading)
    for heading in ("measured", "95 % interval", "at most"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for one in judged:
        interval = "" if one.low == one.high else f"{one.low:.2f} … {one.high:.2f}"
        verdict = f"[{_COLOURS[one.verdict]}]{one.verdict.value}"
        measured, target = (f"{value:.4g} {one.unit}" for value in (one.value, one.target))
        table.add_row(one.runtime, one.name, measured, interval, target, verdict)
    return table


def as_json(facts: dict[str, Any], all_findings: list[Findings], *, judged: bool) -> dict[str, Any]:
    """Return everything as one JSON document; with verdicts when *judged*."""
    document: dict[str, Any] = {"machine": facts, "runtimes": [attrs.asdict(one) for one in all_findings]}
    if judged:
        document["targets"] = [
            {**attrs.asdict(one), "verdict": one.verdict.value} for findings in all_findings for one in judge(findings)
        ]
    return document
