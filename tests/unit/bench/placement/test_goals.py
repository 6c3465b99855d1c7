from __future__ import annotations

import pytest

from bench.placement.bestfit import Crossed
from bench.placement.bound import Bound
from bench.placement.goals import judge
from bench.placement.measure import Beside, Row
from bench.placement.modes import WAYS
from bench.placement.onemove import Moved
from bench.placement.play import Outcome
from bench.placement.run import Placed

WAY = {way.name: way for way in WAYS}
BESIDE = Beside(4, "plain", Crossed(10, 3), Moved(5, 1), Bound(2, 4, 0), Bound(2, 4, 0), 10)


def row(way: str, outcome: Outcome | None) -> Row:
    return Row(BESIDE, WAY[f"topology-aware, {way}"], outcome, "" if outcome else "no option placement")


@pytest.mark.parametrize(
    ("way", "outcome", "missed", "hard"),
    [
        pytest.param(
            "pack", Outcome(crossing=8, refused=2), 0, False, id="pack: spread or refused as many as by best fit"
        ),
        pytest.param("pack", Outcome(crossing=9, refused=3), 2, True, id="pack: two of ten more"),
        pytest.param("spread", Outcome(crossing=30), 0, False, id="another mode may spread more"),
        pytest.param("spread", Outcome(refused_though_fits=1), 1, True, id="refused though it fits"),
        pytest.param("balanced", Outcome(wide_though_fits=1), 1, True, id="memory wide though it fits"),
        pytest.param("pack, 1 move", Outcome(crossing=4, moved=3, arrivals=10), 0, False, id="at most twice the bound"),
        pytest.param(
            "pack, 1 move", Outcome(crossing=5), 1, False, id="more than twice what knowing the future attains"
        ),
        pytest.param("pack, 1 move", Outcome(crossing=9), 2, False, id="more than twice what repacking attains, too"),
        pytest.param("pack, 1 move", Outcome(moved=4, arrivals=10), 1, False, id="too many moves"),
        pytest.param("pack", None, 4, True, id="there is no such way, so its goals are missed"),
    ],
)
def test_goals(way: str, outcome: Outcome | None, missed: int, hard: bool) -> None:
    rows = [row(way, outcome)]
    judged = judge(rows)
    assert sum(len(goal.missed) for goal in judged) == missed
    assert Placed(rows, judged).failed is hard


def test_pack_may_be_worse_in_one_trace_if_not_in_all_together() -> None:
    judged = judge([row("pack", Outcome(crossing=11)), row("pack", Outcome(crossing=9))])
    assert [goal.text for goal in judged if goal.missed] == [judged[1].text]
    assert not judged[1].hard
