"""External adjustments on a node with a runtime: all or none, undone when refused, and known after a restart."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
import trio.testing
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.daemon.configuration.change import Reconfiguration
from crirm.daemon.configuration.overrides import Overrides
from crirm.daemon.decider import Decider
from crirm.daemon.placement.effects import EffectsWorker
from crirm.daemon.settings import Settings
from crirm.model.cpuset import CPUSet
from crirm.model.decision import Adjustment
from crirm.system.config_cache import adjustments_in
from tests.unit.daemon.nodes import FakeNode, FakeRuntime, create_request, good, pod_request

if TYPE_CHECKING:
    from pathlib import Path

    import betterproto

    from crirm.daemon.node import DecidingNode

TOLD = v1.UpdateContainerResourcesResponse()
MORE = {"more": {"scope": [{"containers": [{"key": "name", "operator": "Equals", "values": ["a"]}]}]}}
MORE["more"]["resources"] = {"limits": {"cpu": "4"}}  # type: ignore[assignment]


class Bench(FakeNode):
    """A node of 8 CPUs with container ``a`` of 2 CPUs, whose runtime answers updates as told."""

    def __init__(self, nursery: trio.Nursery, state_dir: str = "", answer: betterproto.Message | Status = TOLD) -> None:
        super().__init__(nursery)
        self.runtime = FakeRuntime({"UpdateContainerResources": answer})
        self.effects = EffectsWorker(self.engine, self.runtime, lambda _: None, clock=lambda: 1000.0)
        self.engine.listen((self.effects,))
        self.machine = Adjustment(cpus=CPUSet(range(8)))
        nursery.start_soon(self.effects.run)
        self.decider = Decider(cast("DecidingNode", self))
        self.overrides = Overrides.kept_in(state_dir, self.decider)
        link = cast("Any", SimpleNamespace(info=object()))
        self.change = Reconfiguration(
            self.decider, link, cast("Any", None), nursery, Settings(), self.overrides.override
        )
        self.intake.override = self.overrides.override
        self.call("RunPodSandbox", pod_request(), good(v1.RunPodSandboxResponse(pod_sandbox_id="p1")))
        self.create("a")

    def create(self, name: str, cpus: int = 2) -> None:
        self.call(
            "CreateContainer", create_request(name, cpus), good(v1.CreateContainerResponse(container_id=f"id-{name}"))
        )

    async def set(self, document: dict[str, Any], node_name: str = "n1") -> dict[str, str]:
        return dict(await self.overrides.set_adjustment(node_name, document))

    def cpus(self) -> dict[str, int]:
        containers = self.engine.state.workload.containers.values()
        return {one.name: len(self.engine.state.policy[one.key]) for one in containers}

    def sent(self) -> dict[str, str]:
        """The CPUs that the runtime was told last, by id."""
        requests = [v1.UpdateContainerResourcesRequest().parse(message) for _, message in self.runtime.calls]
        return {request.container_id: request.linux.cpuset_cpus for request in requests}


async def test_a_container_gets_what_its_adjustment_says_and_its_own_again_without_it(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    assert await bench.set(MORE) == {}
    assert (bench.cpus(), bench.sent()) == ({"a": 4}, {"id-a": "0-3"})
    assert await bench.set({}) == {}
    assert (bench.cpus(), bench.sent()) == ({"a": 2}, {"id-a": "0-1"})


async def test_the_same_once_more_changes_nothing(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    await bench.set(MORE)
    before, calls = bench.engine.state, len(bench.runtime.calls)
    assert await bench.set(MORE) == {}
    assert (before, calls) == (bench.engine.state, len(bench.runtime.calls))


async def test_a_container_that_comes_later_is_adjusted_too(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    anybody = {"more": {"resources": {"limits": {"cpu": "3"}}}}
    await bench.set(anybody)
    bench.create("b")
    assert bench.cpus() == {"a": 3, "b": 3}


async def test_the_kubelets_own_resize_does_not_end_an_adjustment(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    await bench.set(MORE)
    request = v1.UpdateContainerResourcesRequest(container_id="id-a", linux=v1.LinuxContainerResources(cpu_shares=1024))
    bench.call("UpdateContainerResources", request, good(TOLD))
    assert bench.cpus() == {"a": 4}
    assert await bench.set({}) == {}
    assert bench.cpus() == {"a": 1}


@pytest.mark.parametrize(
    ("document", "errors"),
    [
        pytest.param({**MORE, "bad": 5}, {"bad": "$: is not a mapping"}, id="a spec that is none"),
        pytest.param(
            {**MORE, "rdt": {"classes": {"rdt": "gold"}}}, {"rdt": "$.classes.rdt: "}, id="what cannot be done"
        ),
        pytest.param(
            {**MORE, "other": {}}, {"id-a": "shop/web/a: several overrides are for it: more, other"}, id="two for one"
        ),
        pytest.param(
            {"much": {"resources": {"limits": {"cpu": "8"}}}},
            {"id-a": "shop/web/a: wants 8 CPUs, 8 are free and one must stay"},
            id="no room",
        ),
    ],
)
async def test_one_that_is_wrong_refuses_them_all(
    nursery: trio.Nursery, document: dict[str, Any], errors: dict[str, str]
) -> None:
    bench = Bench(nursery)
    before = bench.engine.state
    found = await bench.set(document)
    assert found.keys() == errors.keys()
    assert all(found[name].startswith(text) for name, text in errors.items())
    assert (before, {}) == (bench.engine.state, bench.sent())
    bench.create("b")
    assert bench.cpus() == {"a": 2, "b": 2}


async def test_what_the_runtime_refuses_is_undone_and_said(nursery: trio.Nursery) -> None:
    bench = Bench(nursery, answer=Status.INTERNAL)
    assert await bench.set(MORE) == {"id-a": "shop/web/a: runtime refused the update: INTERNAL: as told"}
    assert bench.cpus() == {"a": 2}
    assert bench.overrides.in_force == ()
    (container,) = bench.engine.state.workload.containers.values()
    assert container.requirements.cpu_request == 2000


async def test_adjustments_for_other_nodes_are_none_of_ours(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    elsewhere = {"more": {"scope": [{"nodes": ["n2"]}], "resources": {"limits": {"cpu": "4"}}}}
    assert await bench.set(elsewhere) == {}
    assert bench.cpus() == {"a": 2}
    assert await bench.set(elsewhere, "n2") == {}
    assert bench.cpus() == {"a": 4}


async def test_a_resize_in_flight_is_waited_for(nursery: trio.Nursery) -> None:
    bench, done = Bench(nursery), trio.Event()
    request = v1.UpdateContainerResourcesRequest(container_id="id-a", linux=v1.LinuxContainerResources(cpu_shares=1024))
    resize, _ = bench.call("UpdateContainerResources", request)
    assert bench.engine.state.resizing

    async def readjust() -> None:
        assert await bench.set(MORE) == {}
        done.set()

    nursery.start_soon(readjust)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert not done.is_set()
    resize.answer(good(TOLD))
    await done.wait()
    assert bench.cpus() == {"a": 4}


async def test_a_restart_knows_them_before_the_agent_comes(nursery: trio.Nursery, short_path: Path) -> None:
    await Bench(nursery, str(short_path)).set(MORE)
    again = Bench(nursery, str(short_path))
    assert again.cpus() == {"a": 4}
    assert await again.set({}) == {}
    assert again.cpus() == {"a": 2}


async def test_what_was_refused_is_not_kept(nursery: trio.Nursery, short_path: Path) -> None:
    await Bench(nursery, str(short_path)).set({"bad": 5})
    assert not adjustments_in(str(short_path)).exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"node": "n1"}', json.dumps({"node": "n1", "adjustments": {"a": 5}})])
def test_a_damaged_file_is_never_a_reason_not_to_start(short_path: Path, content: str) -> None:
    adjustments_in(str(short_path)).write_text(content)
    assert Overrides.kept_in(str(short_path), Decider()).in_force == ()


async def test_a_disk_that_takes_nothing_refuses_nothing(nursery: trio.Nursery, short_path: Path) -> None:
    (short_path / "state").write_text("in the way")
    bench = Bench(nursery, str(short_path / "state"))
    assert await bench.set(MORE) == {}
    assert bench.cpus() == {"a": 4}


async def test_where_nothing_is_placed_they_are_kept_for_when_something_is(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    bench.decider.node = None
    assert await bench.set(MORE) == {}
    assert [one.name for one in bench.overrides.in_force] == ["more"]


async def test_it_can_be_told_which_containers_are_adjusted(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    anybody = {
        "resources": {"limits": {"cpu": "1"}},
        "scope": [{"containers": [{"key": "name", "operator": "Exists"}]}],
    }
    nobody = {"scope": [{"containers": [{"key": "name", "operator": "Equals", "values": ["nobody"]}]}]}
    late = {"scope": [{"containers": [{"key": "name", "operator": "Equals", "values": ["late"]}]}]}
    assert await bench.set({"any": anybody, "none": nobody, "late": late}) == {}
    bench.create("late")
    found = bench.overrides.containers(bench.engine.state.workload)
    assert found == {"any": ["shop/web/a"], "none": [], "late": []}, "two are for the one that came late"
