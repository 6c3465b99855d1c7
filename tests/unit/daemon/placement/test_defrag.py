"""Moves on request: one after the other, each complete by itself, stoppable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio
import trio.testing

from crirm.daemon.placement.defrag import AWAY, BUSY, DONE, SPENT, STOPPED, Defrag, DefragError
from crirm.daemon.placement.engine import Engine
from crirm.model.cpuset import NodeSet
from crirm.model.workload import ContainerKey
from crirm.policy.topology_aware.options import TopologyAwareOptions
from crirm.system.cgroup_analysis import Analysis
from tests.unit.policy.nodes import Eventful, node

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

STILL = TopologyAwareOptions(moves_per_minute="0")
GIB = 1 << 30


class Updates:
    """Effects, of which a test says what the runtime answers."""

    def __init__(self) -> None:
        self.connected = True
        self.asked: list[set[ContainerKey]] = []
        self.answer: Callable[[], dict[ContainerKey, str]] = dict
        self.gate: trio.Event | None = None

    async def refused(self, keys: Collection[ContainerKey]) -> dict[ContainerKey, str]:
        self.asked.append(set(keys))
        if self.gate is not None:
            await self.gate.wait()
        await trio.lowlevel.checkpoint()
        return self.answer()


@attrs.define
class Bench:
    """A node with two spread containers and room for both."""

    engine: Engine
    effects: Updates
    changing: trio.Lock = attrs.field(factory=trio.Lock)


def spread_two() -> Eventful:
    one = node("2p.2n.4c mem=8Gi", options=STILL)
    for name, cpu in (("a", 3000), ("b", 3000), ("c", 3000), ("d", 2000), ("x", 2000), ("y", 2000)):
        one.run(name, cpu, 1)
    one.end("a")
    one.end("b")
    assert (one.nodes("x"), one.nodes("y")) == (2, 2)
    return one


@pytest.fixture
def bench() -> Bench:
    one = spread_two()
    engine = Engine(one.policy)
    engine.state = one.state
    return Bench(engine, Updates())


@pytest.fixture
def defrag(bench: Bench, tmp_path: Path) -> Defrag:
    return Defrag(bench, tmp_path, clock=lambda: 2000.0)  # type: ignore[arg-type]


async def test_a_plan_tells_moves_costs_and_gains_and_changes_nothing(bench: Bench, defrag: Defrag) -> None:
    before = bench.engine.state
    told = await defrag.plan(10, 64 * GIB)
    assert bench.engine.state is before
    assert bench.effects.asked == []
    assert told["spread"] == ["default/x/c", "default/y/c"]
    assert told["stay"] == []
    (first, _) = told["moves"]
    assert first["name"] == "default/x/c"
    assert first["why"].startswith("all of it fits NUMA node #")
    assert (first["most_bytes"], first["measured_bytes"], first["estimated_s"]) == (GIB, None, 1.0)
    assert first["before"]["cpus"] != first["after"]["cpus"]


async def test_a_budget_bounds_it_and_who_stays_is_told_with_the_reason(defrag: Defrag) -> None:
    told = await defrag.plan(1, 64 * GIB)
    assert len(told["moves"]) == 1
    assert told["stay"] == [{"name": "default/y/c", "why": "the budget of moves is used up"}]
    told = await defrag.plan(9, GIB // 2)
    assert told["moves"] == []
    assert {one["why"] for one in told["stay"]} == {
        "no NUMA node has room for all of it within the budget of memory, even if one other container moved"
    }


async def test_pages_that_have_to_move_are_measured(defrag: Defrag, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = dict.fromkeys(range(4), 1 << 20)
    monkeypatch.setattr("crirm.daemon.placement.kernel.analyse", lambda _root, _place: Analysis("/c", memory=memory))
    (first, _) = (await defrag.plan(10, 64 * GIB))["moves"]
    left = 4 - len(NodeSet.parse(first["after"]["mems"]))
    assert first["measured_bytes"] == left << 20


async def test_pages_of_a_move_are_measured_before_it_is_made(
    bench: Bench, defrag: Defrag, monkeypatch: pytest.MonkeyPatch
) -> None:
    def analyse(_root: Path, _place: object) -> Analysis:
        return Analysis("/c", memory=dict.fromkeys(range(4), 0 if bench.effects.asked else 1 << 20))

    monkeypatch.setattr("crirm.daemon.placement.kernel.analyse", analyse)
    told = await defrag.apply(1, 64 * GIB)
    assert told["moves"][0]["measured_bytes"] == 3 << 20


async def test_moves_are_made_one_by_one_and_confirmed(bench: Bench, defrag: Defrag) -> None:
    told = await defrag.apply(10, 64 * GIB)
    assert (len(told["moves"]), told["ended"], told["spread"]) == (2, DONE, [])
    assert [ContainerKey(name) for name in ("x", "y")] == [min(keys & {"x", "y"}) for keys in bench.effects.asked]
    topology = bench.engine.policy.machine.topology  # type: ignore[attr-defined]
    for key in ("x", "y"):
        cpus = bench.engine.state.adjustments[ContainerKey(key)].cpus
        assert cpus is not None
        assert len(topology.nodes_of(cpus)) == 1
    assert bench.engine.moves or bench.engine.trails


async def test_it_ends_with_the_budget(defrag: Defrag) -> None:
    told = await defrag.apply(1, 64 * GIB)
    assert (len(told["moves"]), told["ended"], told["spread"]) == (1, SPENT, ["default/y/c"])


async def test_it_stops_after_the_move_in_progress(bench: Bench, defrag: Defrag, nursery: trio.Nursery) -> None:
    bench.effects.gate = trio.Event()
    answers: list[dict[str, object]] = []

    over = trio.Event()

    async def run() -> None:
        answers.append(await defrag.apply(10, 64 * GIB))
        over.set()

    nursery.start_soon(run)
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(DefragError, match=BUSY.split(";")[0]):
        await defrag.apply(1, GIB)
    assert defrag.stop() == {"running": True}
    bench.effects.gate.set()
    await over.wait()
    (told,) = answers
    assert (len(told["moves"]), told["ended"]) == (1, STOPPED)  # type: ignore[arg-type]
    assert defrag.stop() == {"running": False}


async def test_it_ends_when_the_runtime_refuses_an_update(bench: Bench, defrag: Defrag) -> None:
    bench.effects.answer = lambda: {ContainerKey("x"): "busy"}
    told = await defrag.apply(10, 64 * GIB)
    assert len(told["moves"]) == 1
    assert told["ended"] == "the runtime refused an update, which crirm retries: default/x/c: busy"


async def test_nothing_is_moved_while_the_runtime_is_away(bench: Bench, defrag: Defrag) -> None:
    bench.effects.connected = False
    before = bench.engine.state
    told = await defrag.apply(10, 64 * GIB)
    assert (told["moves"], told["ended"]) == ([], AWAY)
    assert bench.engine.state is before


@pytest.mark.parametrize("most", [1, 10])
async def test_it_ends_when_the_runtime_goes_away_before_it_has_confirmed_a_move(
    bench: Bench, defrag: Defrag, most: int
) -> None:
    def gone() -> dict[ContainerKey, str]:
        bench.effects.connected = False
        return {}

    bench.effects.answer = gone
    told = await defrag.apply(most, 64 * GIB)
    assert (len(told["moves"]), told["ended"]) == (1, AWAY)
