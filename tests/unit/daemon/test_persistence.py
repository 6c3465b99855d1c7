"""What is written is what is found again, whatever happened before, and whatever happens to the disk."""

from __future__ import annotations

import sqlite3
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from grpclib.const import Status
from hypothesis.stateful import invariant, run_state_machine_as_test

from crirm.cri.proto.runtime import v1
from crirm.daemon import persistence as module
from crirm.daemon.effects import EffectsWorker
from crirm.daemon.engine import Engine
from crirm.daemon.persistence import Persistence, open_persistence, settle_creations
from crirm.daemon.stored import read
from crirm.model.events import (
    ContainerCreated,
    ContainerRemoved,
    ContainerRequested,
    ContainerStarted,
    PodAdded,
    ResizeDone,
    Synchronised,
    Timer,
)
from crirm.model.workload import ContainerId, ContainerKey, ContainerState
from crirm.policy.activation import plan
from crirm.policy.registry import KINDS
from crirm.policy.restore import revive
from crirm.system.store import Entry, Store, read_journal
from crirm.system.store_file import InUseError
from tests.unit.daemon.nodes import FakeRuntime
from tests.unit.policy.counting import Counting
from tests.unit.policy.test_pipeline import cpus, pod, resize, wanted
from tests.unit.policy.test_policies import HOLDING, SETTINGS, PolicyMachine

if TYPE_CHECKING:
    from crirm.model.decision import State
    from crirm.policy.api import Policy

NOW_S = 1000.0
FACTS = {"machine": "0123456789abcdef"}


def ignore(_key: ContainerKey) -> None:
    """Nobody looks."""


@attrs.define
class Process:
    """One life of the deciding half over a state directory."""

    home: str
    policy: Policy = attrs.field(factory=lambda: Counting(8))
    runtime: FakeRuntime = attrs.field(factory=FakeRuntime)
    facts: dict[str, str] = attrs.field(factory=lambda: dict(FACTS))
    fail_closed: bool = False
    now_s: float = NOW_S
    engine: Engine = attrs.field(init=False)
    effects: EffectsWorker = attrs.field(init=False)
    persistence: Persistence = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.engine = Engine(self.policy, clock=lambda: self.now_s)
        self.effects = EffectsWorker(self.engine, self.runtime, ignore)
        self.engine.on_effect(self.effects.perform)
        self.persistence = open_persistence(
            self.home,
            self.engine,
            self.effects,
            self.facts,
            fail_closed=self.fail_closed,
            clock=lambda: self.now_s,
        )

    def write(self) -> None:
        trio.run(self.persistence._write)

    def end(self) -> None:
        """Write, and die."""
        self.write()
        self.kill()

    @property
    def store(self) -> Store:
        assert self.persistence.store is not None
        return self.persistence.store

    def kill(self) -> None:
        self.store.close()

    def run(self, name: str, millicpu: int, **more: Any) -> ContainerKey:
        container = attrs.evolve(wanted(name, millicpu, **more), key=self.engine.new_key())
        assert self.engine.apply(ContainerRequested(container)).refusal is None
        self.engine.apply(ContainerCreated(container.key, ContainerId(f"id-{name}")))
        self.engine.apply(ContainerStarted(container.key))
        return container.key


@pytest.fixture
def home(tmp_path: Path) -> str:
    return str(tmp_path / "state")


@pytest.fixture
def first(home: str) -> Process:
    process = Process(home)
    process.engine.apply(PodAdded(pod("p1")))
    return process


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
        trio.run(self.persistence._write)
        saved, damaged = read(self.store.load())
        assert damaged == 0
        self.compare(saved.grants.keys(), revive(self.policy, saved).state)

    def compare(self, granted: Any, found: State) -> None:
        assert self.state.workload == found.workload
        assert (self.state.told, self.state.timers) == (found.told, found.timers)
        holding = {key for key, one in self.state.workload.containers.items() if one.state in HOLDING}
        if granted == holding:
            assert self.state == found
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
        kind = KINDS[name]

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


def test_a_disk_that_fails_is_written_to_when_it_works_again(
    first: Process, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_S", 0.01)
    works, tried, written = False, trio.Event(), trio.Event()
    write = Store.write

    def fickle(store: Store, batch: Any) -> None:
        trio.from_thread.run_sync((written if works else tried).set)
        if not works:
            raise sqlite3.OperationalError("database or disk is full")
        write(store, batch)

    async def main() -> None:
        nonlocal works
        with trio.fail_after(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(first.persistence.run)
                await tried.wait()
                first.run("a", 1000)
                works = True
                await written.wait()
                nursery.cancel_scope.cancel()

    monkeypatch.setattr(Store, "write", fickle)
    trio.run(main)
    kinds = [entry.kind for _, entry in read_journal(home)]
    assert kinds == ["crirm started", "pod added", "asked for", "created", "started"]
    second = Process(home)
    assert second.engine.state == first.engine.state
    second.kill()


def test_the_journal_forgets_the_oldest_while_the_disk_takes_nothing(
    first: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "JOURNAL_WAITING", 3)

    def failing(_store: Store, _batch: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Store, "write", failing)
    first.run("a", 1000)
    first.write()
    assert [entry.kind for entry in first.persistence._waiting] == ["asked for", "created", "started"]
    first.kill()


def test_looking_at_the_lists_is_written_down_only_where_it_brings_something(first: Process) -> None:
    first.persistence._waiting.clear()
    workload = first.engine.state.workload
    first.engine.apply(Synchronised(tuple(workload.pods.values()), ()))
    assert list(first.persistence._waiting) == []
    found = wanted("s", 1000, id=ContainerId("id-s"), state=ContainerState.RUNNING)
    first.engine.apply(Synchronised(tuple(workload.pods.values()), (found,)))
    first.engine.apply(ResizeDone(found.key))
    first.engine.apply(Synchronised(tuple(workload.pods.values()), ()))
    described = [(entry.kind, entry.container, entry.outcome) for entry in first.persistence._waiting]
    assert described == [
        ("synchronised", "s", "found, CPUs 0"),
        ("resized", "s", ""),
        ("synchronised", "s", "it is gone"),
    ]
    assert isinstance(first.persistence._waiting[0], Entry)
    first.kill()


def test_requests_go_on_once_their_decision_is_written(first: Process) -> None:
    key, called = first.run("a", 1000), []
    first.persistence.when_kept(lambda: called.append(read(first.store.load())[0].grants))
    assert called == []
    first.write()
    assert called == [{key: "0"}]
    first.kill()


def test_requests_do_not_wait_for_a_disk_that_fails(first: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_store: Store, _batch: Any) -> None:
        first.persistence.when_kept(lambda: called.append("while it is being tried"))
        raise sqlite3.OperationalError("disk I/O error")

    called: list[str] = []
    monkeypatch.setattr(Store, "write", failing)
    first.persistence.when_kept(lambda: called.append("before"))
    first.write()
    first.persistence.when_kept(lambda: called.append("after"))
    assert called == ["before", "while it is being tried", "after"]
    first.kill()


@pytest.mark.parametrize(
    ("fail_closed", "expected"),
    [
        pytest.param(False, ["then", "then, of an update", "then", "then, of an update"], id="open"),
        pytest.param(True, ["otherwise", "then, of an update", "otherwise", "then, of an update"], id="closed"),
    ],
)
def test_what_waits_for_a_disk_that_fails_goes_on_or_is_refused_as_configured(
    first: Process, monkeypatch: pytest.MonkeyPatch, fail_closed: bool, expected: list[str]
) -> None:
    def failing(_store: Store, _batch: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    called: list[str] = []
    persistence = first.persistence
    persistence.fail_closed = fail_closed
    monkeypatch.setattr(Store, "write", failing)
    for _ in ("before it has failed", "after"):
        persistence.when_kept(lambda: called.append("then"), lambda _why: called.append("otherwise"))
        persistence.when_kept(lambda: called.append("then, of an update"))
        first.write()
    assert called == expected
    assert ("database or disk is full" in persistence.refusal) is fail_closed
    monkeypatch.undo()
    first.write()
    assert persistence.refusal == ""
    persistence.when_kept(lambda: called.append("kept"))
    first.write()
    assert called[-1] == "kept"
    first.kill()


def test_a_disk_that_fails_is_told_once_and_then_now_and_again(
    first: Process, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for remind_s, told in ((3600.0, 1), (0.0, 2)):
        monkeypatch.setattr(module, "REMIND_S", remind_s)
        first.persistence.fail(OSError("the disk is gone"))
        first.persistence.fail(OSError("the disk is gone"))
        first.persistence._failure = ""
        assert capsys.readouterr().err.count(module.FAILED_OPEN) == told
    first.kill()


def test_a_place_that_is_refused_is_tried_again(home: str) -> None:
    Path(home).mkdir(mode=0o777)
    Path(home).chmod(0o777)
    process = Process(home, fail_closed=True)
    assert "others may write" in process.persistence.refusal
    process.write()
    assert "others may write" in process.persistence.refusal
    Path(home).chmod(0o755)
    process.engine.apply(PodAdded(pod("p1")))
    kept = process.run("a", 1000)
    process.end()
    assert process.persistence.refusal == ""
    second = Process(home)
    assert second.engine.state.adjustments == {kept: cpus("0")}
    second.kill()


def test_a_disk_that_takes_nothing_still_tells_what_was(
    home: str, first: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone, kept = first.run("a", 1000), first.run("b", 1000)
    first.engine.apply(ContainerRemoved(gone))
    first.write()

    def full(*_: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    first.kill()
    with monkeypatch.context() as patched:
        patched.setattr("crirm.system.store.opened", full)
        second = Process(home)
        assert second.engine.state.adjustments == {kept: cpus("1")}
        second.write()
    second.end()
    third = Process(home)
    assert third.engine.state == second.engine.state
    third.kill()


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


def test_entries_say_under_which_configuration_on_which_machine_and_which_cpus(home: str, first: Process) -> None:
    key = first.run("a", 1000)
    first.engine.apply(resize(key, 3000))
    first.engine.apply(ContainerRemoved(key))
    first.end()
    second = Process(home)
    second.end()
    entries = [entry for _, entry in read_journal(home)]
    assert [(entry.kind, entry.generation, entry.machine, entry.cpus) for entry in entries] == [
        ("crirm started", 1, "0123456789ab", ""),
        ("pod added", 1, "0123456789ab", ""),
        ("asked for", 1, "0123456789ab", "0"),
        ("created", 1, "0123456789ab", ""),
        ("started", 1, "0123456789ab", ""),
        ("resize asked for", 1, "0123456789ab", "1-2"),
        ("removed", 1, "0123456789ab", "0-2"),
        ("crirm started", 2, "0123456789ab", ""),
    ]


def test_a_configuration_that_is_taken_into_use_is_written_down(home: str, first: Process) -> None:
    kept, moved = first.run("a", 1000), first.run("b", 2000)
    engine, policy = first.engine, Counting(8, name="another")
    change = plan(policy, {kept: "0", moved: "5-6"}, engine.state, cpus("0-7"))
    engine.activate(policy, change, overflow=False)
    first.end()
    told = [(e.kind, e.generation, e.container, e.cpus, e.outcome) for _, e in read_journal(home) if e.generation == 2]
    assert told == [
        ("configured", 2, "", "1-2,5-6", "policy another, 1 containers changed, 0 without room"),
        ("configured", 2, "b", "1-2,5-6", "CPUs 1-2 -> CPUs 5-6, since the configuration has changed"),
    ]
    second = Process(home, policy)
    assert second.engine.state.adjustments == {kept: cpus("0"), moved: cpus("5-6")}
    second.kill()


def test_requests_do_not_wait_for_a_disk_that_hangs(first: Process, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    goes_on = threading.Event()

    def hanging(_store: Store, _batch: Any) -> None:
        assert goes_on.wait(30)

    monkeypatch.setattr(Store, "write", hanging)
    first.persistence.when_kept(goes_on.set)
    first.write()
    first.kill()
