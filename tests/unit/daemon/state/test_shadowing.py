"""The shadow of a running node: it gets all events, ends with a reason, and never touches the policy in force."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing

from crirm.daemon.placement.engine import Engine
from crirm.daemon.state import shadowing
from crirm.daemon.state.shadowing import RECONFIGURED, Beginning, ShadowError, Shadowing
from crirm.model.decision import Adjustment
from crirm.model.events import ContainerCreated, ContainerRequested, ContainerStarted, PodAdded
from crirm.model.quantity import MilliCPU
from crirm.model.resources import Requirements
from crirm.model.workload import ContainerId, ContainerKey
from crirm.policy import pipeline
from crirm.policy.activation import plan
from crirm.policy.readjust import plan_requirements
from crirm.policy.registry import make_policy
from crirm.replay.shadow import Shadow
from tests.unit.policy.counting import Counting
from tests.unit.replay.scenes import STATIC, Scene, container, pod

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = ContainerKey("a")


class Broken(Counting):
    """A policy with a bug."""

    def allocate(self, *_: Any) -> Any:
        raise KeyError("x")


BEGINNING = Beginning("new.yaml", "static", 0, ())


class Bench:
    """An engine with a shadow of the same policy."""

    def __init__(self, nursery: trio.Nursery, begin: Callable[[Bench], None] | None = None) -> None:
        self.topology = Scene().topology
        self.engine = Engine(make_policy(STATIC, self.topology), STATIC, clock=lambda: 100.0)
        self.shadowing = Shadowing(self.engine, clock=lambda: 100.0)
        self.engine.listen((self.shadowing,))
        self.shadow = Shadow(make_policy(STATIC, self.topology), STATIC, self.topology, self.engine.state, 100.0)
        if begin is not None:
            begin(self)
        self.shadowing.begin(BEGINNING, self.shadow)
        nursery.start_soon(self.shadowing.run)

    def run(self, cpus: float = 2, key: str = KEY, pod_name: str = "p") -> None:
        one = container(key, cpus, pod_name=pod_name)
        self.engine.apply(PodAdded(pod(pod_name)))
        self.engine.apply(ContainerRequested(one))
        self.engine.apply(ContainerCreated(one.key, ContainerId(f"id-{key}")))
        self.engine.apply(ContainerStarted(one.key))

    async def figures(self) -> dict[str, tuple[int, int]]:
        report = await self.shadowing.report()
        return {one["what"].strip(): (one["in_force"], one["shadow"]) for one in report["figures"]}


async def test_both_are_compared_at_the_same_event(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    bench.run()
    figures = await bench.figures()
    assert (figures["containers placed now"], figures["exclusive CPUs"]) == ((1, 1), (2, 2))
    report = await bench.shadowing.report()
    assert (report["status"], report["events"], report["waiting"], report["same"]) == ("running", 4, 0, 1)


async def at_once(work: Callable[..., Any], *args: Any, **_: Any) -> Any:
    """Work without a thread, for which a virtual clock would not wait."""
    return work(*args)


async def test_it_waits_for_a_creation_in_flight(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)
    bench = Bench(nursery)
    bench.engine.apply(PodAdded(pod()))
    bench.engine.apply(ContainerRequested(container(KEY, 2)))
    await trio.sleep(0.5)
    one: Any = bench.shadowing._one
    assert len(one.waiting) == 2, "nothing is decided beside a call"
    bench.engine.apply(ContainerCreated(KEY, ContainerId("id")))
    await trio.sleep(0.5)
    assert one.caught_up


async def test_a_bug_in_it_breaks_it_and_nothing_else(
    nursery: trio.Nursery,
) -> None:
    def use(bench: Bench) -> None:
        bad = Broken(8)
        bench.shadow = attrs.evolve(bench.shadow, policy=bad, state=pipeline.initial(bad))

    bench = Bench(nursery, use)
    bench.run()
    report = await bench.shadowing.report()
    assert (report["status"], report["reason"]) == ("broken", "bug in the policy: KeyError: 'x'")
    assert bench.engine.state.adjustments
    assert not bench.engine.refusals
    bench.run(1, "b", "q")
    assert len(bench.engine.state.adjustments) == 2


async def test_one_that_falls_behind_ends_and_says_so(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadowing, "WAITING", 3)
    bench = Bench(nursery)
    bench.run()
    report = await bench.shadowing.report()
    assert report["status"] == "broken"
    assert report["reason"].startswith("it fell behind")
    assert report["differences"] == []


async def test_another_configuration_ends_it_with_the_last_figures(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    bench.run()
    other = make_policy(STATIC, bench.topology)
    bench.engine.activate(other, plan(other, {}, bench.engine.state, Adjustment()), STATIC)
    bench.run(1, "b", "q")
    report = await bench.shadowing.report()
    assert (report["status"], report["reason"]) == ("ended", RECONFIGURED)
    assert (await bench.figures())["containers placed now"] == (1, 1), "what came later is not compared"


async def test_another_machine_ends_it(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    found = attrs.evolve(plan(bench.engine.policy, {}, bench.engine.state, Adjustment()), machine="CPUs 7 gone")
    bench.engine.activate(bench.engine.policy, found)
    assert "CPUs 7 gone" in (await bench.shadowing.report())["reason"]


async def test_an_override_is_followed(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    bench.run()
    wanted = {KEY: Requirements(MilliCPU(3000), MilliCPU(3000))}
    bench.engine.activate(
        bench.engine.policy, plan_requirements(bench.engine.policy, bench.engine.state, wanted, "override", 0.0)
    )
    assert (await bench.figures())["exclusive CPUs"] == (3, 3)


async def test_one_at_a_time_and_none_is_said(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    with pytest.raises(ShadowError, match="running already"):
        bench.shadowing.begin(BEGINNING, bench.shadow)
    bench.shadowing.stop()
    bench.run()
    with pytest.raises(ShadowError, match="no shadow policy is running"):
        bench.shadowing.stop()
    with pytest.raises(ShadowError, match="no shadow policy is running"):
        await bench.shadowing.report()
    bench.shadowing.begin(BEGINNING, attrs.evolve(bench.shadow, state=bench.engine.state))
