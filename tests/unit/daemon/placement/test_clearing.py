"""Calls that wait until CPUs are clear, and what they wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from grpclib.const import Status
from trio.testing import MockClock, wait_all_tasks_blocked

from crirm.cri.proto.runtime import v1
from crirm.daemon.placement.clearing import Clearing
from crirm.daemon.placement.effects import EffectsWorker
from crirm.daemon.placement.handover import CLEAR_WITHIN_S
from crirm.model.cpuset import CPUSet
from crirm.model.events import Event, UpdateFailed
from crirm.model.workload import ContainerState
from crirm.rpc.calls import Answer
from tests.unit.daemon.listeners import hear_events
from tests.unit.daemon.nodes import FakeNode, FakeRuntime, create_request, good, pod_request, states, with_container
from tests.unit.policy.test_pipeline import resize

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.model.workload import ContainerKey

OK = v1.UpdateContainerResourcesResponse()


class Bench:
    """A node whose runtime answers updates when it is told to."""

    def __init__(self, nursery: trio.Nursery, answer: v1.UpdateContainerResourcesResponse | Status = OK) -> None:
        self.nursery, self.node = nursery, FakeNode(nursery)
        self.node.call("RunPodSandbox", pod_request(), good(v1.RunPodSandboxResponse(pod_sandbox_id="p1")))
        self.runtime = FakeRuntime({"UpdateContainerResources": answer})
        self.runtime.answering = trio.Event()
        self.effects = EffectsWorker(self.node.engine, self.runtime, lambda _key: None, clock=lambda: 1000.0)
        self.node.engine.listen((self.effects,))
        self.checked: list[ContainerKey] = []
        self.clearing = Clearing(self.node.engine, self.effects, self.checked.append)
        self.told: list[Event] = []
        hear_events(self.node.engine, self.told.append)
        self.done: list[str] = []
        nursery.start_soon(self.effects.run)

    def create(self, name: str, cpus: int, *, started: bool = False) -> ContainerKey:
        create = create_request(name, cpus)
        self.node.call("CreateContainer", create, good(v1.CreateContainerResponse(container_id=f"id-{name}")))
        if started:
            self.node.call("StartContainer", v1.StartContainerRequest(f"id-{name}"), good(v1.StartContainerResponse()))
        key = self.node.intake.key_of(f"id-{name}")
        assert key is not None
        return key

    async def start(self, key: ContainerKey) -> None:
        """Begin to start a container, which may have to wait."""
        self.nursery.start_soon(self._go_on, key, self.effects.begin_start)
        await wait_all_tasks_blocked()

    async def resize(self, key: ContainerKey) -> None:
        self.nursery.start_soon(self._go_on, key, self.effects.begin_resize)
        await wait_all_tasks_blocked()

    async def _go_on(self, key: ContainerKey, begin: Callable[[ContainerKey], None]) -> None:
        await self.clearing.clear(key)
        begin(key)
        self.done.append(key)

    def sent(self) -> list[tuple[str, str]]:
        requests = [v1.UpdateContainerResourcesRequest().parse(message) for _, message in self.runtime.calls]
        return [(one.container_id, one.linux.cpuset_cpus) for one in requests]

    async def answers(self) -> None:
        answering, self.runtime.answering = self.runtime.answering, trio.Event()
        answering.set()
        await wait_all_tasks_blocked()


async def test_an_owner_starts_when_the_runtime_has_taken_its_cpus_from_others(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    bench.create("s", 0, started=True)
    owner = bench.create("o", 2)
    await bench.start(owner)
    await wait_all_tasks_blocked()
    assert (bench.sent(), bench.done) == ([("id-s", "2-7")], [])
    await bench.answers()
    assert bench.done == [owner]


async def test_who_takes_from_nobody_waits_for_nobody(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    sharing = bench.create("s", 0)
    first = bench.create("o", 2)  # the other is created, but does not run, so it is on no CPU
    await bench.start(first)
    assert bench.done == [first]
    await bench.start(sharing)
    assert bench.done == [first], "it is being updated itself"
    await wait_all_tasks_blocked()
    await bench.answers()
    assert bench.done == [first, sharing]


async def test_nobody_is_updated_while_it_starts(nursery: trio.Nursery) -> None:
    """containerd has taken the specification by then, and would answer well and do nothing."""
    bench = Bench(nursery)
    sharing = bench.create("s", 0)
    await bench.start(sharing)
    bench.create("o", 2)
    await wait_all_tasks_blocked()
    assert bench.sent() == []
    bench.clearing.started(sharing)
    await wait_all_tasks_blocked()
    assert (bench.sent(), bench.checked) == ([("id-s", "2-7")], [sharing])


async def test_an_owner_waits_for_one_that_is_being_started_with_what_was_decided_before(
    nursery: trio.Nursery,
) -> None:
    bench = Bench(nursery)
    sharing = bench.create("s", 0)
    await bench.start(sharing)
    owner = bench.create("o", 2)
    await bench.start(owner)
    await wait_all_tasks_blocked()
    assert bench.done == [sharing]
    bench.clearing.started(sharing)
    await wait_all_tasks_blocked()
    await bench.answers()
    assert bench.done == [sharing, owner]


async def test_a_runtime_that_does_not_answer_keeps_nobody_from_starting_for_ever_and_is_told_of(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    bench = Bench(nursery)
    sharing = bench.create("s", 0, started=True)
    owner = bench.create("o", 2)
    begun_s = trio.current_time()
    await bench.start(owner)
    await trio.sleep(CLEAR_WITHIN_S + 1)
    assert bench.done == [owner]
    (failed,) = [event for event in bench.told if isinstance(event, UpdateFailed)]
    assert failed.key == sharing
    assert "shop/web/o was waiting to start or grow" in failed.reason
    assert bench.effects.handover.overdue == {sharing: failed.reason}
    assert trio.current_time() - begun_s == CLEAR_WITHIN_S + 1
    await bench.answers()
    assert bench.effects.handover.overdue == {}


async def test_an_update_that_may_have_had_no_effect_is_told_again_after_the_start(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    bench = Bench(nursery)
    sharing = bench.create("s", 0)
    bench.create("o", 2)
    await bench.start(sharing)
    await trio.sleep(CLEAR_WITHIN_S + 1)
    assert bench.done == [sharing]
    bench.clearing.started(sharing)
    await bench.answers()
    assert bench.sent() == [("id-s", "2-7"), ("id-s", "2-7")]


async def test_after_an_update_that_was_refused_the_kernels_word_clears_the_way(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    bench = Bench(nursery, Status.UNKNOWN)
    sharing = bench.create("s", 0, started=True)
    owner = bench.create("o", 2)
    await wait_all_tasks_blocked()
    await bench.answers()
    await bench.start(owner)
    await wait_all_tasks_blocked()
    assert bench.done == []
    bench.effects.handover.confirm(sharing, CPUSet.parse("2-7"))
    await wait_all_tasks_blocked()
    assert bench.done == [owner]


async def test_nobody_gets_cpus_that_their_last_owner_may_still_have(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    bench = Bench(nursery)
    owner = bench.create("o", 3, started=True)
    bench.create("s", 0, started=True)
    bench.node.engine.apply(resize(owner, 1000))
    await bench.resize(owner)
    assert (bench.done, bench.sent()) == ([owner], [])
    bench.effects.handover.resized(owner, surely=True)
    bench.effects._wake()
    await wait_all_tasks_blocked()
    assert bench.sent() == [("id-s", "1-7")]


START = v1.StartContainerRequest(container_id="c" * 64)


async def test_a_start_waits_and_is_heard_of_when_it_is_over(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    (key,) = node.engine.state.workload.containers
    node.clears = []
    held = await node.begin("StartContainer", START)
    assert held.forwarded is None
    node.clears.pop().set()
    await held.decided.wait()
    assert held.forwarded == bytes(START)
    assert node.starts == [f"may {key} go on?", f"{key} starts"]
    await held.reply(good(v1.StartContainerResponse()))
    assert node.starts == [f"may {key} go on?", f"{key} starts", f"{key} was started"]
    assert states(node) == [ContainerState.RUNNING]


async def test_a_start_whose_caller_has_left_never_began(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    (key,) = node.engine.state.workload.containers
    node.clears = []
    held = await node.begin("StartContainer", START)
    await held.leave()
    node.clears.pop().set()
    await wait_all_tasks_blocked()
    assert held.forwarded is None
    assert node.starts == [f"may {key} go on?"]


async def test_a_start_passes_where_all_is_settled_and_keeps_updates_back_all_the_same(nursery: trio.Nursery) -> None:
    node = with_container(nursery)
    (key,) = node.engine.state.workload.containers
    call, _ = node.call("StartContainer", START)
    assert node.starts == [f"{key} starts"]
    call.answer(good(v1.StartContainerResponse()))
    assert node.starts == [f"{key} starts", f"{key} was started"]
    assert states(node) == [ContainerState.RUNNING]


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("request_", [b"\x0a\xff", bytes(v1.StartContainerRequest(container_id="unknown"))])
async def test_a_start_of_what_crirm_does_not_know_passes(
    nursery: trio.Nursery, request_: bytes, settled: bool
) -> None:
    node = with_container(nursery)
    node.clears = None if settled else []
    held, _ = node.call("StartContainer", request_)
    assert (held.forwarded, node.starts) == (request_, [])


@pytest.mark.parametrize(
    ("answer", "doubts"),
    [
        pytest.param(good(v1.StartContainerResponse()), 1, id="it runs without a place"),
        pytest.param(Answer(Status.NOT_FOUND.value, None), 0, id="nor does the runtime know it"),
    ],
)
async def test_who_starts_and_is_not_known_is_doubted(nursery: trio.Nursery, answer: Answer, doubts: int) -> None:
    node = with_container(nursery)
    node.call("StartContainer", v1.StartContainerRequest(container_id="unknown"), answer)
    assert node.doubts == doubts
