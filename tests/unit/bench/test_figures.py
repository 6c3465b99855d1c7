from __future__ import annotations

import pytest

from bench.figures import AtMost, Figure, Judged, OfFigure, OfOther, Target, Verdict, judge
from bench.report import as_json
from bench.stats import Estimate


def figure(target: Target | None = None, name: str = "Version", **samples: list[float]) -> Figure:
    return Figure("lean", name, "ms", samples, target)


@pytest.mark.parametrize(
    ("low", "high", "at_least", "verdict"),
    [
        pytest.param(0.5, 0.9, False, Verdict.REACHED, id="the whole interval is within the target"),
        pytest.param(0.5, 1.0, False, Verdict.REACHED, id="the target itself is allowed"),
        pytest.param(0.9, 1.1, False, Verdict.UNDECIDED, id="the interval holds the target"),
        pytest.param(1.1, 1.2, False, Verdict.MISSED, id="the whole interval is beyond the target"),
        pytest.param(1.0, 1.2, True, Verdict.REACHED, id="at least: the whole interval is above it"),
        pytest.param(0.9, 1.1, True, Verdict.UNDECIDED, id="at least: the interval holds it"),
        pytest.param(0.8, 0.9, True, Verdict.MISSED, id="at least: the whole interval is below it"),
    ],
)
def test_verdict(low: float, high: float, at_least: bool, verdict: Verdict) -> None:
    measured = Estimate((low + high) / 2, low, high)
    assert Judged(figure(), measured, 1.0, "", at_least).verdict is verdict


PLACED = figure(None, "placed", crirm=[4.0, 4.0])


@pytest.mark.parametrize(
    ("target", "other", "expected"),
    [
        pytest.param(AtMost(3), None, (2.0, 3, "≤ 3 ms"), id="the figure itself"),
        pytest.param(OfOther(0.4), "original", (0.5, 0.4, "≤ 0.4 x original"), id="of another proxy, by pairs"),
        pytest.param(OfFigure(1.2, "placed"), None, (0.5, 1.2, "≤ 1.2 x placed"), id="of another figure of crirm"),
    ],
)
def test_what_is_held_against_a_target(target: Target, other: str | None, expected: tuple[float, float, str]) -> None:
    one = figure(target, crirm=[2.0, 2.0], original=[4.0, 4.0])
    judged = judge(one, [one, PLACED], other)
    assert judged is not None
    assert (judged.measured.value, judged.limit, judged.says) == expected


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(None, id="no target"),
        pytest.param(OfOther(0.4), id="of another proxy that was not measured"),
        pytest.param(OfFigure(1.2, "placed"), id="of a row that was not measured"),
    ],
)
def test_what_cannot_be_judged(target: Target | None) -> None:
    one = figure(target, crirm=[2.0])
    assert judge(one, [one], None) is None


def test_a_target_does_not_judge_what_crirm_was_not_measured_for() -> None:
    assert judge(figure(AtMost(1), direct=[2.0]), [], None) is None


def test_an_older_crirm_is_compared_by_pairs() -> None:
    one = figure(direct=[1.0, 1.0], before=[2.0, 8.0], crirm=[1.0, 2.0])
    assert one.to_before() == Estimate(0.375, 0.25, 0.5)
    assert figure(None, crirm=[1.0]).to_before() is None


def test_the_document_has_every_way_and_the_verdict() -> None:
    one = figure(AtMost(3), direct=[1.0], crirm=[2.0])
    (found,) = as_json({}, [one], None, judged=True)["figures"]
    assert set(found["ways"]) == {"direct", "crirm"}
    assert found["target"]["verdict"] == "reached"
    assert "target" not in as_json({}, [one], None, judged=False)["figures"][0]
