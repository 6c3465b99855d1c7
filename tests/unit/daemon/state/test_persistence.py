"""What is written is what is found again, whatever happened before, and whatever happens to the disk."""

from __future__ import annotations

import sqlite3
import tempfile
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing
from grpclib.const import Status
from hypothesis.stateful import invariant, run_state_machine_as_test

from crirm.cri.proto.runtime import v1
from crirm.daemon.observation.settle import settle_creations
from crirm.daemon.placement.effects import EffectsWorker
from crirm.daemon.placement.engine import Engine
from crirm.daemon.state import persistence as module
from crirm.daemon.state.persistence import Persistence
from crirm.daemon.state.stored import read
from crirm.model.events import (
    ContainerRemoved,
    ContainerRequested,
    Synchronised,
    Timer,
)
from crirm.model.workload import ContainerState
from crirm.policy.registry import POLICIES
from crirm.policy.restore import revive
from crirm.system.store import Store
from crirm.system.store_file import InUseError
from tests.unit.daemon.lives import FACTS, NOW_S, Process, ignore
from tests.unit.daemon.nodes import FakeRuntime
from tests.unit.policy.counting import Counting
from tests.unit.policy.test_pipeline import cpus, resize, wanted
from tests.unit.policy.test_policies import HOLDING, SETTINGS, PolicyMachine

if TYPE_CHECKING:
    from crirm.model.decision import State


STILL = trio.testing.MockClock()
"""Time does not pass: a disk is never slow, however busy the machine is."""


class KeptMachine(PolicyMachine):
    """A node whose state is written after every step, and read back each time."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.persistence: Persistence | None = None

    @invariant()
    def what_was_written_is_found(self) -> None:
        if not hasattr(self, "state"):
            return
        if self.persistence is None:
            engine = Engine(self.policy)
            effects = EffectsWorker(engine, FakeRuntime(), ignore)
            self.store = Store.open(f"{self.place.name}/s")
            self.persistence = Persistence(self.place.name, engine, effects, FACTS, store=self.store)
        self.persistence.engine.state = self.state
        trio.run(self.persistence._write, clock=STILL)
        saved, damaged = read(self.store.load())
        assert damaged == 0
        self.compare(saved.grants.keys(), revive(self.policy, saved).state)

    def compare(self, granted: Any, found: State) -> None:
        assert self.state.workload == found.workload
        assert (self.state.told, self.state.timers) == (found.told, found.timers)
        holding = {key for key, one in self.state.workload.containers.items() if one.state in HOLDING}
        if granted == holding:
            assert attrs.evolve(self.state, tries={}, unsure=True) == found  # whoever tried is gone with the process
        else:  # those that run without a grant may have got one
            exclusive = self.policy.exclusive(self.state.policy)
            assert exclusive.items() <= self.policy.exclusive(found.policy).items()

    def teardown(self) -> None:
        super().teardown()
        if self.persistence is not None:
            self.store.close()
        self.place.cleanup()


@pytest.mark.parametrize("name", ["static", "topology-aware"])
def test_any_state_is_found_again(name: str) -> None:
    class Machine(KeptMachine):
        kind = POLICIES[name]

    run_state_machine_as_test(Machine, settings=SETTINGS)


def test_only_the_change_is_written(first: Process) -> None:
    first.run("a", 1000)
    first.write()
    batches = []
    store, write = first.store, first.store.write

    class Watched:
        def write(self, batch: Any) -> None:
            batches.append({table: sorted(rows) for table, rows in batch.put.items() if rows})
            write(batch)

        def close(self) -> None:
            store.close()

    first.persistence.store = Watched()  # type: ignore[assignment] # all that is called
    key = first.run("b", 1000)
    first.write()
    first.write()
    assert batches == [{table: [key] for table in ("containers", "told", "grants", "trails")}]
    first.kill()


def test_another_order_of_creation_does_not_matter(home: str, first: Process) -> None:
    """Begun anew, the second container would get the first CPU."""
    gone, kept = first.run("a", 1000), first.run("b", 1000)
    first.engine.apply(ContainerRemoved(gone))
    first.end()
    second = Process(home)
    assert second.engine.state == first.engine.state
    assert second.engine.state.adjustments == {kept: cpus("1")}
    assert list(second.engine.trails) == [gone, kept]
    second.kill()


def test_names_are_not_used_twice(home: str, first: Process) -> None:
    used = first.run("a", 0)
    started = first.engine._started
    first.end()
    second = Process(home)
    second.engine._started = "1"  # as if the clock had been set back
    second.engine.resume(second.engine.state, [])
    assert second.engine.new_key() > used
    assert int(second.engine._started, 16) == int(started, 16) + 1
    second.kill()


def test_what_the_runtime_has_not_confirmed_is_told_again(home: str, first: Process) -> None:
    shared = first.run("s", 0)
    resized = first.run("r", 1000)
    first.run("x", 1000)
    assert first.effects.in_flight(shared)
    first.engine.apply(resize(resized, 2000))
    first.end()
    second = Process(home)
    assert {shared, resized}.isdisjoint(second.engine.state.told)
    lists = Synchronised(
        tuple(second.engine.state.workload.pods.values()), tuple(second.engine.state.workload.containers.values())
    )
    assert {shared, resized} == {effect.key for effect in second.engine.apply(lists).effects}
    second.kill()


@pytest.mark.parametrize(
    ("name", "grants"),
    [pytest.param("a", 1, id="the runtime has made it"), pytest.param("other", 0, id="the runtime has not made it")],
)
def test_a_container_in_the_middle_of_its_creation_is_settled(
    home: str, first: Process, name: str, grants: int
) -> None:
    first.engine.apply(ContainerRequested(wanted("a", 1000)))
    first.end()
    listed = v1.Container(id="id-9", pod_sandbox_id="p1", metadata=v1.ContainerMetadata(name=name))
    runtime = FakeRuntime({"ListContainers": v1.ListContainersResponse(containers=[listed])})
    second = Process(home, runtime=runtime)
    trio.run(settle_creations, runtime, second.engine)
    assert len(second.engine.state.policy) == grants
    containers = second.engine.state.workload.containers
    assert [(c.id, c.state) for c in containers.values()] == [("id-9", ContainerState.CREATED)] * grants
    second.kill()


def test_settling_asks_nobody_where_nothing_was_being_created(first: Process) -> None:
    runtime = FakeRuntime({"ListContainers": Status.UNAVAILABLE})
    trio.run(settle_creations, runtime, first.engine)
    assert runtime.calls == []
    first.kill()


def test_damaged_rows_cost_only_themselves(home: str, first: Process) -> None:
    kept, broken = first.run("a", 1000), first.run("b", 1000)
    first.write()
    for table, text in (("containers", '{"key": 5}'), ("told", "{"), ("pods", "null")):
        with sqlite3.connect(f"{home}/state.db") as connection:
            connection.execute(f"INSERT OR REPLACE INTO {table} VALUES ('strange', ?)", (text,))
            connection.execute("UPDATE grants SET value = '\"77\"' WHERE key = ?", (broken,))
        connection.close()
    first.kill()
    second = Process(home)
    assert {kept: cpus("0"), broken: cpus("1")} == second.engine.state.adjustments
    second.kill()


def test_grants_of_another_policy_are_not_looked_at(home: str, first: Process) -> None:
    kept = first.run("a", 1000)
    first.engine.apply(ContainerRemoved(kept))
    anew = first.run("b", 1000)
    second_cpu = first.run("c", 1000)
    first.engine.apply(ContainerRemoved(anew))
    first.end()
    second = Process(home, Counting(8, name="another"))
    assert {second_cpu: cpus("0")} == second.engine.state.adjustments
    second.kill()


def test_requests_go_on_once_their_decision_is_written(first: Process) -> None:
    key, called = first.run("a", 1000), []
    first.persistence.when_kept(lambda: called.append(read(first.store.load())[0].grants))
    assert called == []
    first.write()
    assert called == [{key: "0"}]
    first.kill()


def test_beside_another_daemon_nothing_is_decided(home: str, first: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PREDECESSOR_S", 0.0)
    with pytest.raises(InUseError, match="another crirm"):
        Process(home)
    first.kill()


@pytest.mark.parametrize(
    ("now_s", "left_s"),
    [
        pytest.param(NOW_S + 10, 50.0, id="time has passed"),
        pytest.param(NOW_S + 100, -40.0, id="it has run out meanwhile"),
        pytest.param(NOW_S - 3600, 60.0, id="the clock was set back"),
    ],
)
def test_a_timer_goes_on_where_it_was(home: str, first: Process, now_s: float, left_s: float) -> None:
    key = first.run("a", 1000, annotations={"cold": "yes"})
    assert first.engine.state.timers == {(key, Timer.COLD_START): NOW_S + 60}
    first.end()
    second = Process(home, now_s=now_s)
    assert second.engine.state.timers == {(key, Timer.COLD_START): now_s + left_s}
    second.kill()
