"""A configuration for a node that goes on living while it is taken into use."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest
import trio
import trio.testing
from grpclib.const import Status

from crirm.cri.dump_rules import DumpRules
from crirm.cri.proto.runtime import v1
from crirm.daemon.configuration.change import Proposal, RejectedError
from crirm.daemon.dump.dumper import Dumper
from crirm.daemon.placement.transaction import Transaction
from crirm.daemon.settings import Settings
from crirm.model.cpuset import CPUSet
from crirm.model.decision import Adjustment
from crirm.model.events import ContainerRemoved
from crirm.policy.activation import plan
from crirm.policy.annotations import NS
from crirm.policy.api import Choice, Placement
from crirm.policy.none import NonePolicy
from tests.unit.daemon.configuration.test_overrides import Bench
from tests.unit.daemon.nodes import good
from tests.unit.policy.counting import Counting

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trio.testing import MockClock

    from crirm.daemon.node import DecidingNode
    from crirm.model.workload import Container, ContainerKey
    from crirm.policy.api import Json


class Elsewhere(Counting):
    """Gives the highest CPUs."""

    def _place(self, state: Any, container: Container) -> Placement:
        placement = super()._place(state, container)
        moved = {key: CPUSet(self.size - 1 - cpu for cpu in cpus) for key, cpus in placement.state.items()}
        return attrs.evolve(placement, state=moved, changed={key: Adjustment(cpus) for key, cpus in moved.items()})


SETTINGS = Settings(policy=Choice("counting"))


def proposal(bench: Bench, policy: Counting, grants: Mapping[ContainerKey, Json], settings: Settings) -> Any:
    state = bench.engine.state
    found = plan(policy, grants, state, bench.machine)
    placing = Transaction("configuration", policy, state, found, settings.policy)
    node = cast("DecidingNode", bench)
    return Proposal(settings, node, placing), node, placing


def placing(bench: Bench, cpus: int, settings: Settings = SETTINGS) -> Any:
    return proposal(bench, Counting(cpus), bench.engine.policy.save(bench.engine.state.policy), settings)


def bench_with(nursery: trio.Nursery) -> Any:
    bench: Any = Bench(nursery)
    bench.judge_failures, bench.doubt = lambda _: None, lambda: None
    return bench


@pytest.mark.parametrize("more", [pytest.param(0, id="nobody came"), pytest.param(1, id="somebody small came")])
async def test_what_came_since_the_plan_is_placed_too(nursery: trio.Nursery, more: int) -> None:
    bench = bench_with(nursery)
    planned = placing(bench, 3)
    for _ in range(more):
        bench.create("b", 1)
    await bench.change._place(*planned)
    assert bench.engine.policy == Counting(3)
    assert bench.cpus() == {"a": 2, **({"b": 1} if more else {})}


async def test_what_came_since_the_plan_and_does_not_fit_rejects_the_configuration(nursery: trio.Nursery) -> None:
    bench = bench_with(nursery)
    planned = placing(bench, 3)
    bench.create("b", 2)
    before = bench.engine.state
    with pytest.raises(RejectedError, match="shop/web/b"):
        await bench.change._place(*planned)
    assert (bench.engine.policy, bench.engine.state) == (Counting(8), before)
    await bench.change._place(*placing(bench, 3, attrs.evolve(SETTINGS, policy=Choice("counting", overflow=True))))
    assert bench.engine.policy == Counting(3)


def test_a_dump_file_that_comes_back_keeps_what_is_in_it(tmp_path: Path) -> None:
    path, rules = tmp_path / "dump", DumpRules.parse("off:*")
    path.write_text("before\n")

    async def told(*, afresh: bool) -> str:
        dumper = Dumper(rules)
        await dumper.configure(rules, str(path), (), afresh=afresh)
        await dumper.configure(rules, "", ())
        return path.read_text()

    async def main() -> tuple[str, str]:
        return await told(afresh=False), await told(afresh=True)

    assert trio.run(main) == ("before\n", "")


async def test_what_was_resized_before_all_went_back_keeps_its_new_size(nursery: trio.Nursery) -> None:
    bench: Any = Bench(nursery, answer=Status.INTERNAL)
    bench.judge_failures, bench.doubt = lambda _: None, lambda: None
    bench.create("b", 2)
    bench.engine.apply(ContainerRemoved(bench.intake.key_of("id-a")))
    bench.runtime.answering = trio.Event()
    refusals: list[str] = []

    async def change() -> None:
        try:
            await bench.change._place(*proposal(bench, Counting(8, "other"), {}, SETTINGS))
        except RejectedError as error:
            refusals.append(str(error))

    nursery.start_soon(change)
    await trio.testing.wait_all_tasks_blocked()
    resources = v1.LinuxContainerResources(cpu_shares=3 * 1024)
    request = v1.UpdateContainerResourcesRequest(container_id="id-b", linux=resources)
    bench.call("UpdateContainerResources", request, good(v1.UpdateContainerResourcesResponse()))
    bench.runtime.answering.set()
    await trio.testing.wait_all_tasks_blocked()
    assert "refused to update 1 containers" in refusals[0]
    assert (bench.engine.policy, bench.cpus()) == (Counting(8), {"b": 3})


async def test_a_node_that_places_nothing_retires_when_everybody_has_been_told(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        bench = bench_with(nursery)
        retired: list[float] = []
        bench.recorder, bench.retire = SimpleNamespace(file=""), lambda: retired.append(trio.current_time())
        bench.runtime.answers["UpdateContainerResources"] = Status.UNAVAILABLE
        nothing = NonePolicy()
        bench.engine.activate(nothing, plan(nothing, {}, bench.engine.state, bench.machine))
        await bench.effects.finish(bench.engine.state.adjustments)
        for _ in range(2):  # a second change has nobody look twice
            bench.change._go_on(bench)
        await trio.sleep(100)
        assert (retired, bench.decider.node) == ([], bench), "it has still to be told"
        bench.runtime.answers["UpdateContainerResources"] = v1.UpdateContainerResourcesResponse()
        await trio.sleep(100)
        assert (len(retired), bench.decider.node) == (1, None)
        assert bench.sent() == {"id-a": "0-7"}
        nursery.cancel_scope.cancel()


async def test_a_node_that_is_to_place_again_does_not_retire(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        bench = bench_with(nursery)
        bench.recorder, bench.retire = SimpleNamespace(file="a"), lambda: pytest.fail("it is needed")
        old, nothing = bench.engine.policy, NonePolicy()
        bench.engine.activate(nothing, plan(nothing, {}, bench.engine.state, bench.machine))
        bench.change._go_on(bench)
        await trio.sleep(20)
        bench.engine.activate(old, plan(old, {}, bench.engine.state, bench.machine))
        bench.recorder.file = ""
        await trio.sleep(20)
        assert (bench.decider.node, bench.change._retiring) == (bench, None)
        nursery.cancel_scope.cancel()


async def test_a_configuration_that_would_change_what_a_container_keeps_is_rejected(nursery: trio.Nursery) -> None:
    bench = bench_with(nursery)
    state = bench.engine.state
    (key,) = state.adjustments
    pod = state.workload.pod_of(state.workload.containers[key])
    for value, rejected in (("cpus", True), ("memory", False)):
        keeping = attrs.evolve(pod, annotations={f"keep.{NS}": value})
        pods = {**state.workload.pods, pod.id: keeping}
        bench.engine.state = attrs.evolve(state, workload=attrs.evolve(state.workload, pods=pods))
        refusal = proposal(bench, Elsewhere(8), {}, SETTINGS)[0].refusal
        assert bool(refusal) is rejected
        if rejected:
            assert "it would change what running containers keep (annotation keep): shop/web/a (CPUs)" in refusal
