"""Numbers out of timings: medians, high percentiles, and what one way costs more than another.

Timings on a shared machine drift and have outliers, so ways are compared by pairs of neighbouring calls and by medians,
and every comparison comes with the interval that its number of pairs supports.
"""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

_Z_95 = 1.96  # standard normal deviate of a two-sided interval of 95 %


@attrs.frozen
class Summary:
    """One way's timings, in milliseconds."""

    median_ms: float
    p99_ms: float


@attrs.frozen
class Comparison:
    """What the second of two ways costs more than the first.

    Args:
        direct: the first way.
        relayed: the second.
        pairs: how many neighbouring pairs were compared.
        added_ms: median of the pairs' differences.
        added_low_ms, added_high_ms: 95 % confidence interval of that median.
    """

    direct: Summary
    relayed: Summary
    pairs: int
    added_ms: float
    added_low_ms: float
    added_high_ms: float

    @property
    def ratio(self) -> float:
        """How many times as long the second way takes, by the medians."""
        return self.relayed.median_ms / self.direct.median_ms

    @property
    def added_percent(self) -> float:
        """The added time in percent of the first way's median."""
        return 100 * self.added_ms / self.direct.median_ms


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which *share* (0 to 1) of *values* lie, interpolated between neighbours.

    Raises:
        ValueError: there are no values.
    """
    if not values:
        raise ValueError("a quantile of nothing")
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the 95 % confidence interval of the median of *values*, whatever their distribution.

    With few values (under 6) it is simply their range.

    Source: the number of values below the true median is binomial with p = 1/2; here in its normal approximation.
    """
    ordered = sorted(values)
    middle, spread = len(ordered) / 2, _Z_95 * math.sqrt(len(ordered)) / 2
    low = max(0, math.floor(middle - spread))
    high = min(len(ordered) - 1, math.ceil(middle + spread))
    return ordered[low], ordered[high]


def summarise(timings_s: Sequence[float]) -> Summary:
    """Return the summary of *timings_s*, in seconds."""
    return Summary(statistics.median(timings_s) * 1e3, quantile(timings_s, 0.99) * 1e3)


def compare(direct_s: Sequence[float], relayed_s: Sequence[float]) -> Comparison:
    """Compare two ways by timings, in seconds, of which those with the same index were taken one after the other.

    Raises:
        ValueError: the two are not of the same length.
    """
    return compare_blocks([[timing] for timing in direct_s], [[timing] for timing in relayed_s])


def compare_blocks(direct_s: Sequence[Sequence[float]], relayed_s: Sequence[Sequence[float]]) -> Comparison:
    """Compare two ways by blocks of timings, in seconds; the pairs are the medians of blocks with the same index.

    Raises:
        ValueError: the two do not have the same number of blocks.
    """
    differences_ms = [
        (statistics.median(relayed) - statistics.median(direct)) * 1e3
        for direct, relayed in zip(direct_s, relayed_s, strict=True)
    ]
    low_ms, high_ms = median_interval(differences_ms)
    return Comparison(
        direct=summarise([timing for block in direct_s for timing in block]),
        relayed=summarise([timing for block in relayed_s for timing in block]),
        pairs=len(differences_ms),
        added_ms=statistics.median(differences_ms),
        added_low_ms=low_ms,
        added_high_ms=high_ms,
    )
