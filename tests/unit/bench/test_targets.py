from __future__ import annotations

import pytest

from bench.measure import POD_LIFE, Measurement
from bench.plan import SMALL_CALL, Findings, list_name
from bench.processes import Memory
from bench.stats import Comparison, Summary
from bench.targets import Judged, Verdict, judge
from bench.turns import LongestTurn

_MIB = 1 << 20


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        pytest.param(0.5, 0.9, Verdict.REACHED, id="the whole interval is within the target"),
        pytest.param(0.5, 1.0, Verdict.REACHED, id="the target itself is allowed"),
        pytest.param(0.9, 1.1, Verdict.UNDECIDED, id="the interval holds the target"),
        pytest.param(-0.9, -0.1, Verdict.UNDECIDED, id="relaying cannot make calls quicker: that is noise"),
        pytest.param(-0.1, 0.9, Verdict.REACHED, id="but it may cost next to nothing"),
        pytest.param(1.1, 1.2, Verdict.MISSED, id="the whole interval is beyond the target"),
    ],
)
def test_verdict(low: float, high: float, verdict: Verdict) -> None:
    assert Judged("r", "n", (low + high) / 2, low, high, target=1.0, unit="ms").verdict is verdict


def findings(runtime: str, *names: str) -> Findings:
    """What a run would find whose calls take 100 ms directly and 101 ms relayed."""
    times = Comparison(Summary(100, 120), Summary(101, 130), 50, added_ms=1.0, added_low_ms=0.9, added_high_ms=1.1)
    return Findings(
        runtime=runtime,
        measurements=[Measurement(runtime, name, 50, times, 0.5, LongestTurn(9.0, 4.0)) for name in names],
        idle=Memory(79 * _MIB, 79 * _MIB),
        loaded=Memory(100 * _MIB, 160 * _MIB),
        loaded_containers=1500,
        start_containers=500,
        start_s=0.5,
    )


def test_each_figure_meets_its_own_target() -> None:
    judged = {one.name: one for one in judge(findings("containerd 9", SMALL_CALL, list_name(500), POD_LIFE))}
    assert {name: (one.value, one.target, one.verdict) for name, one in judged.items()} == {
        "Version, added": (1.0, 1.0, Verdict.UNDECIDED),
        "ListContainers 500, added": (1.0, 2.0, Verdict.REACHED),
        "ListContainers 500, longest turn of the event loop": (4.0, 5.0, Verdict.REACHED),
        "pod life, added": (1.0, 2.0, Verdict.REACHED),
        "memory, idle": (79.0, 80.0, Verdict.REACHED),
        "memory, after 1500 containers, peak": (160.0, 150.0, Verdict.MISSED),
        "start to first answer, 500 containers": (0.5, 2.0, Verdict.REACHED),
    }


def test_the_life_of_a_pod_that_runs_nothing_is_not_judged() -> None:
    assert not [one for one in judge(findings("embedded", POD_LIFE)) if POD_LIFE in one.name]


def test_figures_without_a_target_are_not_judged() -> None:
    assert len(list(judge(findings("containerd 9", list_name(10), "16 in parallel")))) == 3  # memory twice, start
