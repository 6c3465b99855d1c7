"""A change that the runtime refuses leaves nothing behind, whatever has happened since it was planned."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.daemon.placement.ladder import Listener
from crirm.daemon.placement.transaction import Transaction
from crirm.policy.activation import plan
from tests.unit.daemon.configuration.test_overrides import MORE, TOLD, Bench
from tests.unit.daemon.nodes import good
from tests.unit.policy.counting import Counting

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.model.decision import State
    from crirm.policy.activation import Plan


class Decided(Listener):
    """Tells when a plan was taken into use."""

    def __init__(self) -> None:
        self.once = trio.Event()

    def activated(self, before: State, plan: Plan) -> None:  # noqa: ARG002 - the interface
        self.once.set()


def nothing(_bench: Bench) -> None:
    """Nothing happens."""


def another_comes(bench: Bench) -> None:
    bench.create("c", 1)


def another_is_resized(bench: Bench) -> None:
    resources = v1.LinuxContainerResources(cpu_shares=2 * 1024)
    request = v1.UpdateContainerResourcesRequest(container_id="id-b", linux=resources)
    bench.call("UpdateContainerResources", request, good(TOLD))


@pytest.mark.parametrize(
    ("meanwhile", "left"),
    [
        pytest.param(nothing, {"a": 2, "b": 1}, id="all is as it was"),
        pytest.param(another_comes, {"a": 2, "b": 1, "c": 1}, id="who came meanwhile stays"),
        pytest.param(
            another_is_resized, {"a": 2, "b": 2}, id="whom the kubelet has resized meanwhile keeps its new size"
        ),
    ],
)
async def test_overrides_that_the_runtime_refuses_are_undone(
    nursery: trio.Nursery, meanwhile: Callable[[Bench], None], left: dict[str, int]
) -> None:
    bench = Bench(nursery, answer=Status.INTERNAL)
    bench.create("b", 1)
    bench.runtime.answering = trio.Event()
    decided = Decided()
    bench.engine.listen((*bench.engine.listeners, decided))

    async def go_on() -> None:
        await decided.once.wait()
        assert bench.cpus()["a"] == 4, "it is decided while the runtime is asked"
        meanwhile(bench)
        bench.runtime.answering.set()

    nursery.start_soon(go_on)
    refused = await bench.set(MORE)
    assert "runtime refused the update" in refused["id-a"]
    assert (bench.cpus(), bench.overrides.in_force) == (left, ())


async def test_whoever_asked_hears_of_it_before_anything_goes_back(nursery: trio.Nursery) -> None:
    bench, heard = Bench(nursery, answer=Status.INTERNAL), list[str]()
    state, other = bench.engine.state, Counting(8, "other")
    found = plan(other, {bench.intake.key_of("id-a"): "4-5"}, state, bench.machine)  # type: ignore[dict-item]
    change = Transaction("test", other, state, found)
    refused = await change.take(bench, lambda: heard.append(bench.engine.policy.name))
    assert (list(refused.values()), heard) == (["INTERNAL: as told"], ["other"])
    assert (bench.engine.policy, bench.cpus()) == (Counting(8), {"a": 2})
