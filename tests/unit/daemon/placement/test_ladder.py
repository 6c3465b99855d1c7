"""Who hears of decisions hears of them in the order of the ladder."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.daemon.placement.engine import Engine
from crirm.daemon.placement.ladder import Listener, ladder
from crirm.model.decision import Adjustment
from crirm.model.events import PodAdded
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.workload import PodId
from crirm.policy.activation import plan
from tests.unit.policy.counting import Counting
from tests.unit.replay.scenes import pod

if TYPE_CHECKING:
    from crirm.daemon.placement.explained import Refused
    from crirm.model.decision import Decision, State
    from crirm.model.events import Event
    from crirm.policy.activation import Plan


@attrs.frozen
class Told(Listener):
    name: str
    heard: list[str]

    def decided(self, event: Event, before: State, decision: Decision) -> None:
        assert before is not decision.state
        self.heard.append(f"{type(event).__name__}: {self.name}")

    def activated(self, before: State, plan: Plan) -> None:
        assert before is not plan.state
        self.heard.append(f"another policy: {self.name}")

    def turned_away(self, refused: Refused) -> None:
        self.heard.append(f"{refused.container} refused: {self.name}")


def test_each_hears_before_the_next() -> None:
    engine, heard = Engine(Counting(8)), list[str]()
    names = ("recorder", "persistence", "effects", "enforcer")
    engine.listen(ladder(**{name: Told(name, heard) for name in names}))
    engine.apply(PodAdded(pod()))
    engine.refuse(PodId("p"), "c", RefusedError(RefusalCode.BAD_ANNOTATION, "no"))
    engine.activate(Counting(4), plan(Counting(4), {}, engine.state, Adjustment()))
    assert heard == [f"{what}: {name}" for what in ("PodAdded", "c refused", "another policy") for name in names]


def test_a_rung_that_is_not_there_is_left_out() -> None:
    one = Told("effects", [])
    assert ladder(effects=one) == (one,)


def test_who_hears_only_some_of_it_does_nothing_about_the_rest() -> None:
    engine = Engine(Counting(8))
    engine.listen((Listener(),))
    engine.apply(PodAdded(pod()))
    engine.refuse(PodId("p"), "c", RefusedError(RefusalCode.BAD_ANNOTATION, "no"))
    assert engine.state.workload.pods
