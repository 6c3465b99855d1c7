from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import Estimate, median_interval, quantile, ratio, unpaired_ratio

TIMINGS_S = st.lists(st.floats(0, 10), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        pytest.param([7.0], 0.99, 7.0, id="of one value it is that value"),
        pytest.param([3.0, 1.0, 2.0], 0.0, 1.0, id="0 is the smallest"),
        pytest.param([3.0, 1.0, 2.0], 1.0, 3.0, id="1 is the largest"),
        pytest.param([3.0, 1.0, 2.0], 0.5, 2.0, id="the middle is the median"),
        pytest.param([0.0, 10.0], 0.25, 2.5, id="between two values it is interpolated"),
        pytest.param([float(n) for n in range(101)], 0.99, 99.0, id="p99 of 0 to 100"),
    ],
)
def test_quantile(values: list[float], share: float, expected: float) -> None:
    assert quantile(values, share) == pytest.approx(expected)


def test_there_is_no_quantile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        quantile([], 0.5)


@given(TIMINGS_S, st.floats(0, 1), st.floats(0, 1))
def test_a_quantile_is_within_the_values_and_grows_with_the_share(values: list[float], one: float, two: float) -> None:
    low, high = sorted((one, two))
    assert min(values) <= quantile(values, low) <= quantile(values, high) <= max(values)


@given(TIMINGS_S)
def test_the_interval_holds_the_median(values: list[float]) -> None:
    low, high = median_interval(values)
    assert low <= quantile(values, 0.5) <= high


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([1.0, 2.0, 9.0], (1.0, 9.0), id="few values: their range"),
        pytest.param([float(n) for n in range(100)], (40.0, 60.0), id="100 values: ranks 40 to 60"),
    ],
)
def test_median_interval(values: list[float], expected: tuple[float, float]) -> None:
    assert median_interval(values) == expected


def test_pairs_are_compared_before_the_median_is_taken() -> None:
    """The whole machine slows down a hundredfold in the middle: every pair still differs by a half."""
    assert ratio([1.5, 1.5, 150, 150], [1.0, 1.0, 100, 100]) == Estimate(1.5, 1.5, 1.5)


def test_pairs_need_two() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratio([0.1, 0.2], [0.1])


def test_what_is_not_paired_is_compared_by_its_medians_and_the_widest_interval() -> None:
    assert unpaired_ratio([2.0, 3.0, 4.0], [1.0, 1.5, 2.0]) == Estimate(2.0, 1.0, 4.0)
