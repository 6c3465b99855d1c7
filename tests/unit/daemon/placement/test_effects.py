"""Effects performed: updates in order, the last one wins, failures told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
import trio
import trio.testing
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.daemon.placement.effects import EffectsWorker
from crirm.model.cpuset import CPUSet
from crirm.model.decision import Adjustment, UpdateContainer
from crirm.model.events import ContainerRemoved, ContainerStarted, ResizeDone, Timer, TimerExpired, UpdateDone
from crirm.model.workload import ContainerId, ContainerKey
from tests.unit.daemon.listeners import hear_events
from tests.unit.daemon.nodes import FakeNode, FakeRuntime, create_request, good, pod_request
from tests.unit.policy.test_pipeline import resize

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.model.events import Event

ID = "c" * 64
OK = v1.UpdateContainerResourcesResponse()


class Bench:
    """A node with one container, and a worker in front of a runtime that answers as told."""

    def __init__(self, nursery: trio.Nursery, answer: v1.UpdateContainerResourcesResponse | Status) -> None:
        self.node = FakeNode(nursery)
        pod = pod_request(annotations={})
        self.node.call("RunPodSandbox", pod, good(v1.RunPodSandboxResponse(pod_sandbox_id="p1")))
        self.node.call("CreateContainer", create_request(cpus=0), good(v1.CreateContainerResponse(container_id=ID)))
        (self.key,) = self.node.engine.state.workload.containers
        self.runtime = FakeRuntime({"UpdateContainerResources": answer})
        self.updated: list[ContainerKey] = []
        self.now_s = 1000.0
        self.worker = EffectsWorker(self.node.engine, self.runtime, self.updated.append, clock=lambda: self.now_s)
        self.node.engine.listen((self.worker,))

    def sent(self) -> list[str]:
        requests = [v1.UpdateContainerResourcesRequest().parse(message) for _, message in self.runtime.calls]
        return [request.linux.cpuset_cpus for request in requests]

    def update(self, cpus: str) -> UpdateContainer:
        return UpdateContainer(self.key, ContainerId(ID), Adjustment(cpus=CPUSet.parse(cpus)))


async def test_an_update_goes_to_the_runtime_with_all_that_was_asked(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, OK)
    bench.worker.perform(bench.update("2-3"))
    nursery.start_soon(bench.worker.run)
    await trio.testing.wait_all_tasks_blocked()
    (request,) = [v1.UpdateContainerResourcesRequest().parse(message) for _, message in bench.runtime.calls]
    assert (request.container_id, request.linux.cpuset_cpus, request.linux.memory_limit_in_bytes) == (
        ID,
        "2-3",
        1 << 30,
    )
    assert ([bench.key], frozenset()) == (bench.updated, bench.worker.pending())


async def test_of_several_updates_that_wait_only_the_last_is_sent(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, OK)
    for cpus in ("1", "1-2", "1-3"):
        bench.worker.perform(bench.update(cpus))
    nursery.start_soon(bench.worker.run)
    await trio.testing.wait_all_tasks_blocked()
    assert bench.sent() == ["1-3"]


async def test_an_update_goes_out_when_its_decision_is_kept(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, OK)
    keeps: list[Callable[[], None]] = []
    bench.worker.when_kept = keeps.append
    nursery.start_soon(bench.worker.run)
    bench.worker.perform(bench.update("1"))
    bench.worker.perform(bench.update("1-2"))
    for kept, sent in ((0, []), (1, ["1-2"])):  # the first has been replaced
        await trio.testing.wait_all_tasks_blocked()
        assert bench.sent() == []
        assert bench.worker.pending() == {bench.key}
        keeps[kept]()
        await trio.testing.wait_all_tasks_blocked()
        assert bench.sent() == sent


async def test_an_update_during_another_comes_after_it(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, OK)
    nursery.start_soon(bench.worker.run)
    bench.worker.perform(bench.update("1"))
    while not bench.runtime.calls:
        await trio.lowlevel.checkpoint()
    bench.worker.perform(bench.update("2"))
    await trio.testing.wait_all_tasks_blocked()
    assert bench.sent() == ["1", "2"]


async def test_a_resize_is_not_undone_by_an_update_that_waited(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, OK)
    keeps: list[Callable[[], None]] = []
    bench.worker.when_kept = keeps.append
    nursery.start_soon(bench.worker.run)
    bench.worker.perform(bench.update("1"))
    bench.node.engine.apply(resize(bench.key, 2000))
    keeps[0]()
    await trio.testing.wait_all_tasks_blocked()
    assert bench.sent() == []
    assert not bench.worker.pending()


async def test_an_update_waits_for_a_resize_of_the_same_container(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, OK)
    nursery.start_soon(bench.worker.run)
    bench.node.engine.apply(resize(bench.key, 2000))
    bench.worker.perform(bench.update("1"))
    await trio.testing.wait_all_tasks_blocked()
    assert bench.sent() == []
    bench.node.engine.apply(ResizeDone(bench.key))
    await trio.testing.wait_all_tasks_blocked()
    assert bench.sent() == ["1"]


async def test_what_a_resize_has_overtaken_is_told_again_after_it(nursery: trio.Nursery) -> None:
    """Nobody knows which of the two came last."""
    bench = Bench(nursery, OK)
    bench.runtime.answering = trio.Event()
    nursery.start_soon(bench.worker.run)
    bench.worker.perform(bench.update("1"))
    await trio.testing.wait_all_tasks_blocked()
    bench.node.engine.apply(resize(bench.key, 2000))
    bench.runtime.answering.set()
    await trio.testing.wait_all_tasks_blocked()
    assert bench.sent() == ["1"]
    bench.node.engine.apply(ResizeDone(bench.key))
    await trio.testing.wait_all_tasks_blocked()
    assert bench.sent() == ["1", "0-1"]


async def test_a_refused_update_is_told_to_the_engine(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, Status.UNKNOWN)
    assert bench.key in bench.node.engine.state.told
    nursery.start_soon(bench.worker.run)
    bench.worker.perform(bench.update("1"))
    await trio.testing.wait_all_tasks_blocked()
    assert bench.key not in bench.node.engine.state.told
    assert not bench.updated


async def test_a_container_that_is_gone_is_no_failure(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, Status.NOT_FOUND)
    before = bench.node.engine.state
    nursery.start_soon(bench.worker.run)
    bench.worker.perform(bench.update("1"))
    await trio.testing.wait_all_tasks_blocked()
    assert before is bench.node.engine.state


async def test_a_timer_runs_out_at_its_time(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, OK)
    engine = bench.node.engine
    container = attrs.evolve(engine.state.workload.containers[bench.key], annotations={"cold": "yes"})
    workload = attrs.evolve(engine.state.workload, containers={bench.key: container})
    engine.state = attrs.evolve(engine.state, workload=workload)
    nursery.start_soon(bench.worker.run)
    engine.apply(ContainerStarted(bench.key))
    await trio.testing.wait_all_tasks_blocked()
    assert list(engine.state.timers.values()) == [1060.0]
    bench.now_s = 1060.0
    bench.worker.perform(bench.update("5"))
    await trio.testing.wait_all_tasks_blocked()
    assert not engine.state.timers
    assert "0" in bench.sent()


def test_a_timer_does_not_wait_for_a_clock_that_was_set_back() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            bench = Bench(nursery, OK)
            engine = bench.node.engine
            engine.state = attrs.evolve(engine.state, timers={(bench.key, Timer.COLD_START): bench.now_s + 60})
            nursery.start_soon(bench.worker.run)
            await trio.sleep(1)
            bench.now_s -= 3600
            await trio.sleep(58)
            assert engine.state.timers
            await trio.sleep(2)
            assert not engine.state.timers
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_a_timer_that_another_has_stopped_does_not_run_out(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, OK)
    engine, due_s = bench.node.engine, bench.now_s
    other = ContainerKey("other")
    timers = {(bench.key, Timer.COLD_START): due_s, (other, Timer.COLD_START): due_s}
    engine.state = attrs.evolve(engine.state, timers=timers)
    expired: list[ContainerKey] = []

    def stop_all(event: Event) -> None:
        assert isinstance(event, TimerExpired)
        expired.append(event.key)
        engine.state = attrs.evolve(engine.state, timers={})

    hear_events(engine, stop_all)
    nursery.start_soon(bench.worker.run)
    await trio.testing.wait_all_tasks_blocked()
    assert len(expired) == 1


async def test_others_have_their_turn_between_timers_that_are_due_at_once(nursery: trio.Nursery) -> None:
    bench, turns = Bench(nursery, OK), list[str]()
    engine = bench.node.engine
    engine.state = attrs.evolve(
        engine.state, timers={(ContainerKey(f"{n}"), Timer.COLD_START): bench.now_s for n in range(9)}
    )
    hear_events(engine, lambda _event: turns.append("timer"))
    nursery.start_soon(bench.worker.run)
    for _ in range(20):
        await trio.lowlevel.checkpoint()
        turns.append("other")
    assert turns.count("timer") == 9
    assert "timer timer timer" not in " ".join(turns)


@pytest.mark.parametrize(
    ("connected", "refused"),
    [
        pytest.param(True, True, id="what the runtime refuses is told"),
        pytest.param(False, False, id="a runtime that is away refuses nothing"),
    ],
)
async def test_what_was_refused_of_a_plan(nursery: trio.Nursery, connected: bool, refused: bool) -> None:
    bench = Bench(nursery, Status.UNAVAILABLE)
    bench.runtime.connected = connected
    nursery.start_soon(bench.worker.run)
    bench.worker.perform(bench.update("2-3"))
    assert list(await bench.worker.refused([bench.key])) == ([bench.key] if refused else [])


def test_a_refused_update_is_tried_again_until_the_runtime_takes_it() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            bench = Bench(nursery, Status.UNKNOWN)
            nursery.start_soon(bench.worker.run)
            wanted = bench.node.engine.state.adjustments[bench.key].cpus
            bench.worker.tell_again(bench.key)
            await trio.sleep(40)  # after 5 s, 10 s and 20 s
            assert bench.sent() == [str(wanted)] * 4
            assert bench.worker.failures
            assert bench.key not in bench.node.engine.state.told
            bench.runtime.answers["UpdateContainerResources"] = OK
            await trio.sleep(100)
            assert bench.sent() == [str(wanted)] * 5
            assert not bench.worker.failures
            assert bench.node.engine.state.told[bench.key].cpus == wanted
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_what_is_refused_for_the_same_reason_again_does_not_count_as_told() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            bench = Bench(nursery, Status.UNKNOWN)
            nursery.start_soon(bench.worker.run)
            for _ in range(2):
                bench.node.engine.apply(UpdateDone(bench.key))  # as a decision does that has it told
                bench.worker.tell_again(bench.key)
                await trio.sleep(1)
                assert bench.key not in bench.node.engine.state.told
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_a_refused_update_is_not_tried_again_for_a_container_that_is_gone() -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            bench = Bench(nursery, Status.UNKNOWN)
            nursery.start_soon(bench.worker.run)
            bench.worker.tell_again(bench.key)
            await trio.sleep(1)
            bench.node.engine.apply(ContainerRemoved(bench.key))
            await trio.sleep(1000)
            assert len(bench.sent()) == 1
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def test_what_is_refused_twice_for_one_reason_was_told_neither_time(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, Status.UNKNOWN)
    engine = bench.node.engine
    nursery.start_soon(bench.worker.run)
    for cpus in ("2-3", "4-5"):
        engine.state = attrs.evolve(engine.state, told={bench.key: Adjustment(cpus=CPUSet.parse(cpus))})
        bench.worker.perform(bench.update(cpus))
        await trio.testing.wait_all_tasks_blocked()
        assert bench.key not in engine.state.told
