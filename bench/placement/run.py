"""What the command lines have in common: which traces are played, and what is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from bench.placement import report
from bench.placement.goals import Judged, judge
from bench.placement.measure import Amount, Case, Row, measure
from bench.placement.modes import WAYS, Way
from bench.placement.shapes import HOSTS, SHAPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.box import Box
    from rich.console import Console

FULL: Final = Amount(seeds=5, arrivals=300)
QUICK: Final = Amount(seeds=1, arrivals=100)
QUICK_NODES: Final = {shape.key: (8,) if shape.key == "gpu" else (4,) for shape in SHAPES}


@attrs.frozen
class Placed:
    """What was measured."""

    rows: list[Row]
    goals: list[Judged]

    @property
    def failed(self) -> bool:
        """Whether a goal is missed that holds on any machine."""
        return any(goal.hard and goal.missed for goal in self.goals)

    def show(self, console: Console, box: Box, *, examples: bool = False) -> None:
        """Print tables, and with *examples* what to begin with where something is wrong."""
        for table in report.tables(self.rows, self.goals, box):
            console.print(table)
        if examples:
            for row in self.rows:
                for text in row.outcome.examples if row.outcome else ():
                    console.print(
                        f"{row.beside.nodes} nodes, {row.beside.trace}, {row.way.name}: {text}", soft_wrap=True
                    )


def run(
    tell: Callable[[str], None],
    *,
    quick: bool = False,
    traces: Sequence[str] = (),
    nodes: Sequence[int] = (),
    ways: Sequence[Way] = WAYS,
) -> Placed:
    """Play the *traces* on hosts with so many NUMA *nodes*, all of them where none are named."""
    cases = [
        Case(shape, count, host)
        for count, host in HOSTS.items()
        for shape in SHAPES
        if (not traces or shape.key in traces)
        and (count in nodes if nodes else not quick or count in QUICK_NODES[shape.key])
    ]
    rows = list(measure(cases, ways, QUICK if quick else FULL, tell))
    return Placed(rows, judge(rows))
