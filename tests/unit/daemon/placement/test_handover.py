"""Very many CPUs that change hands at once, and what is left of it when they have."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from grpclib.const import Status
from trio.testing import wait_all_tasks_blocked

from crirm.cri.proto.runtime import v1
from crirm.daemon.placement.effects import AT_ONCE
from crirm.daemon.placement.handover import CLEAR_WITHIN_S, Handover, Hold
from crirm.model.cpuset import NO_CPUS, CPUSet
from tests.unit.daemon.nodes import good
from tests.unit.daemon.placement.test_clearing import Bench

if TYPE_CHECKING:
    import pytest
    from trio.testing import MockClock

    from crirm.model.workload import ContainerKey

MANY = 200


def remove(bench: Bench, name: str) -> None:
    bench.node.call("RemoveContainer", v1.RemoveContainerRequest(f"id-{name}"), good(v1.RemoveContainerResponse()))


async def test_looking_who_is_in_the_way_takes_no_longer_than_there_are_updates(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, looks, plain = Bench(nursery), list[str](), Handover._runs

    def counted(self: Handover, key: ContainerKey) -> bool:
        looks.append(key)
        return plain(self, key)

    for number in range(MANY):
        bench.create(f"s{number}", 0, started=True)
    owner = bench.create("o", 2, started=True)
    monkeypatch.setattr(Handover, "_runs", counted)
    bench.effects.tell_again(owner)
    bench.runtime.answering.set()
    await bench.effects.finish(bench.node.engine.state.workload.containers)
    assert bench.sent()[-1] == ("id-o", "0-1")
    assert len(looks) < 5 * MANY


async def test_who_is_late_does_not_keep_the_event_loop_busy_until_there_is_room(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    bench = Bench(nursery)
    for number in range(AT_ONCE):
        bench.create(f"s{number}", 0, started=True)
    owner = bench.create("o", 2, started=True)
    bench.effects.tell_again(owner)
    await trio.sleep(2 * CLEAR_WITHIN_S)  # this clock only moves on when nobody has anything to do
    assert len(bench.sent()) == AT_ONCE


async def test_an_update_that_took_nothing_from_anybody_is_late_only_until_it_is_confirmed(
    nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    bench = Bench(nursery)
    key = bench.create("a", 2)
    bench.effects.tell_again(key)
    await bench.start(key)
    await trio.sleep(2 * CLEAR_WITHIN_S)
    assert list(bench.effects.handover.overdue) == [key]
    await bench.answers()
    bench.effects.end_start(key)
    await wait_all_tasks_blocked()
    await bench.answers()
    assert bench.effects.handover.overdue == {}


async def test_who_waits_for_one_another_is_not_updated_again_and_again_at_once(nursery: trio.Nursery) -> None:
    bench = Bench(nursery)
    sharing, owner = bench.create("s", 0, started=True), bench.create("o", 2, started=True)
    await wait_all_tasks_blocked()
    await bench.answers()
    bench.runtime.answers["UpdateContainerResources"], before = Status.UNAVAILABLE, len(bench.sent())
    bench.runtime.answering.set()
    holds = {sharing: Hold(CPUSet.parse("0-5"), NO_CPUS), owner: Hold(CPUSet.parse("6-7"), CPUSet.parse("6-7"))}
    bench.effects.handover._holds.update(holds)
    for key in holds:
        bench.effects.tell_again(key)
    for _ in range(200):
        await trio.lowlevel.checkpoint()
    assert 1 <= len(bench.sent()) - before <= len(holds) + 1


async def test_nothing_is_kept_about_a_container_that_is_gone(nursery: trio.Nursery, autojump_clock: MockClock) -> None:
    bench = Bench(nursery, Status.UNKNOWN)
    key = bench.create("a", 2)
    bench.effects.tell_again(key)
    await bench.start(key)
    await trio.sleep(2 * CLEAR_WITHIN_S)
    await bench.answers()
    assert list(bench.effects.failures) == [key]
    remove(bench, "a")
    assert (bench.effects.failures, bench.effects.handover.overdue) == ({}, {})
