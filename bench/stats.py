"""Numbers out of samples: medians, high percentiles, and what one way costs more than another.

Timings on a shared machine drift and have outliers, so ways are compared by pairs of neighbouring samples and by
medians, and every median comes with the interval that its number of samples supports.
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
class Estimate:
    """A median and its 95 % confidence interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float]) -> Estimate:
        """Return that of *samples*, of which there is at least one."""
        return cls(statistics.median(samples), *median_interval(samples))


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


def ratio(of: Sequence[float], to: Sequence[float]) -> Estimate:
    """Return how many times as large *of* is, by pairs: samples of the same index were taken one after the other.

    Raises:
        ValueError: the two are not of the same length.
    """
    return Estimate.of([one / other for one, other in zip(of, to, strict=True)])


def unpaired_ratio(of: Sequence[float], to: Sequence[float]) -> Estimate:
    """Return how many times as large *of* is, by the medians; the interval is as wide as both allow."""
    above, below = Estimate.of(of), Estimate.of(to)
    return Estimate(above.value / below.value, above.low / below.high, above.high / below.low)
