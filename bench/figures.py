"""What was measured, and whether crirm reaches what it is to reach."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, assert_never

import attrs

from bench.stats import Estimate, ratio, unpaired_ratio
from bench.ways import BEFORE, CRIRM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@attrs.frozen
class AtMost:
    """The figure itself is at most so much."""

    value: float


@attrs.frozen
class OfOther:
    """The figure is at most, or at least, so many times that of another proxy; nothing where there is none."""

    times: float
    at_least: bool = False


@attrs.frozen
class OfFigure:
    """The figure is at most so many times another figure of crirm."""

    times: float
    name: str


Target = AtMost | OfOther | OfFigure


@attrs.frozen
class Figure:
    """One kind of measurement on one runtime.

    Args:
        runtime, name, unit: of what.
        samples: by way; those of the same index were taken one after the other.
        target: what crirm is to reach.
    """

    runtime: str
    name: str
    unit: str
    samples: Mapping[str, Sequence[float]]
    target: Target | None = None

    def to_before(self) -> Estimate | None:
        """Return how many times the figure of the older crirm that of crirm is."""
        if BEFORE not in self.samples or CRIRM not in self.samples or not all(self.samples[BEFORE]):
            return None
        return ratio(self.samples[CRIRM], self.samples[BEFORE])


class Verdict(enum.Enum):
    """Whether a target was reached."""

    REACHED = "reached"
    MISSED = "missed"
    UNDECIDED = "undecided"  # the interval of what was measured holds the target


@attrs.frozen
class Judged:
    """One figure of crirm beside its target.

    Args:
        figure: it.
        measured: what is held against the limit: the figure, or how many times another it is.
        limit: the most that it may be, or the least.
        says: the target, for people.
    """

    figure: Figure
    measured: Estimate
    limit: float
    says: str
    at_least: bool = False

    @property
    def verdict(self) -> Verdict:
        """Whether it is within the limit, as far as the interval lets us say."""
        low, high, limit = self.measured.low, self.measured.high, self.limit
        if self.at_least:
            low, high, limit = -high, -low, -limit
        if high <= limit:
            return Verdict.REACHED
        return Verdict.MISSED if low > limit else Verdict.UNDECIDED


def judge(figure: Figure, figures: Sequence[Figure], other: str | None) -> Judged | None:
    """Hold *figure* against its target; None where it has none, or lacks what it is compared with.

    Args:
        figure: what is judged.
        figures: all, for targets that name another.
        other: the name of the other proxy.
    """
    mine = figure.samples.get(CRIRM)
    match figure.target:
        case None:
            return None
        case _ if mine is None:
            return None
        case AtMost(limit):
            return Judged(figure, Estimate.of(mine), limit, f"≤ {limit:g} {figure.unit}")
        case OfOther(times, at_least):
            theirs = figure.samples.get(other or "")
            says = f"{'≥' if at_least else '≤'} {times:g} x {other}"
            return Judged(figure, ratio(mine, theirs), times, says, at_least) if theirs else None
        case OfFigure(times, name):
            found = [one for one in figures if (one.runtime, one.name) == (figure.runtime, name)]
            says = f"≤ {times:g} x {name}"
            return Judged(figure, unpaired_ratio(mine, found[0].samples[CRIRM]), times, says) if found else None
        case _:
            assert_never(figure.target)
