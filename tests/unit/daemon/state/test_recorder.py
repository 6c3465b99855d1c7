from __future__ import annotations

import stat
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from structlog.testing import capture_logs

from crirm.daemon.control import QuestionError, recorded
from crirm.daemon.placement.engine import Engine
from crirm.daemon.state import recorder as module
from crirm.daemon.state.recorder import BROKEN, ENDED, FULL, STOPPED, TOO_SLOW, Recorder, RecordingError, open_trace
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.decision import Adjustment, Decision
from crirm.model.events import ContainerCreated, ContainerRequested, ContainerStarted, PodAdded, PodStopped
from crirm.model.workload import ContainerId, ContainerKey, PodId
from crirm.policy.activation import plan
from crirm.policy.registry import make_policy
from crirm.replay.decisions import canonical, decision_record, state_record
from crirm.replay.trace import TraceWriter
from tests.unit.daemon.listeners import hear_decisions
from tests.unit.replay.scenes import AWARE, BEGIN_S, STATIC, container, pod, replayed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from crirm.model.events import Event
    from crirm.model.workload import Container
    from crirm.policy.api import Choice


@pytest.fixture(autouse=True)
def _write_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GATHER_S", 0)


class Live:
    """An engine that is recorded; its clock goes on by a second each time that it is looked at."""

    def __init__(self, nursery: trio.Nursery, file: Path, limit_bytes: int = 1 << 20) -> None:
        self.nursery = nursery
        self.file = file
        self.topology = topology_of(parse_spec("2p.4c.1t mem=8Gi"))
        self.now_s = BEGIN_S
        self.engine = Engine(make_policy(AWARE, self.topology), AWARE, self.clock)
        self.recorder = Recorder(self.engine, self.topology, self.clock, limit_bytes)
        self.engine.listen((self.recorder,))
        self.decided: list[str] = []
        hear_decisions(self.engine, self._note)

    def clock(self) -> float:
        self.now_s += 1
        return self.now_s

    def _note(self, _event: Event, _before: object, decision: Decision) -> None:
        self.decided.append(canonical(decision_record(decision)))

    def run(self, one: Container) -> None:
        self.engine.apply(ContainerRequested(one))
        self.engine.apply(ContainerCreated(one.key, ContainerId(f"id-{one.key}")))
        self.engine.apply(ContainerStarted(one.key))

    def some_work(self) -> None:
        self.engine.apply(PodAdded(pod()))
        for name, cpus in (("a", 2), ("s", 0.5), ("b", 3)):
            self.run(container(name, cpus, 1))
        self.engine.apply(ContainerRequested(container("big", 8)))

    def activate(self, choice: Choice) -> None:
        policy = make_policy(choice, self.topology)
        everything = Adjustment(cpus=self.topology.online, mems=self.topology.node_ids)
        self.engine.activate(policy, plan(policy, {}, self.engine.state, everything), choice)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Have the recorder write while the block lasts."""
        scope, over = trio.CancelScope(), trio.Event()
        self.nursery.start_soon(self._write, scope, over)
        yield
        scope.cancel()
        await over.wait()

    async def _write(self, scope: trio.CancelScope, over: trio.Event) -> None:
        with scope:
            await self.recorder.run()
        over.set()

    async def wait_over(self) -> None:
        """Wait until recording stopped."""
        while self.recorder.file:  # noqa: ASYNC110 - whoever writes ends it
            await trio.sleep(0.001)


async def test_what_is_recorded_replays_to_what_was_decided(nursery: trio.Nursery, tmp_path: Path) -> None:
    live = Live(nursery, tmp_path / "t")
    async with live.writing():
        await live.recorder.start(str(live.file))
        live.some_work()
        live.activate(STATIC)
        live.run(container("late", 1))
        assert await live.recorder.stop() == str(live.file)
    found = replayed(live.file.read_text())
    made = [canonical(decision_record(step.decision)) for step in found.steps[1:]]
    changed = next(number for number, step in enumerate(found.steps[1:]) if step.policy.name == "static")
    assert [*made[:changed], *made[changed + 1 :]] == live.decided
    assert (found.report.not_as_made, found.report.events) == (0, len(live.decided) + 1)
    engine = live.engine
    assert state_record(engine.policy, engine.state) == state_record(found.replay.policy, found.replay.state)
    assert f"the trace is complete: {STOPPED}" in found.report.notes
    assert stat.S_IMODE(live.file.stat().st_mode) == 0o600


async def test_a_trace_may_begin_in_the_middle(nursery: trio.Nursery, tmp_path: Path) -> None:
    live = Live(nursery, tmp_path / "t")
    live.some_work()
    async with live.writing():
        await live.recorder.start(str(live.file))
        live.run(container("late", 1))
        await live.recorder.stop()
    report = replayed(live.file.read_text()).report
    assert report.not_as_made == 0
    assert [(one.name, one.pool) for one in report.outcomes] == [
        ("default/p/a", "socket #1"),
        ("default/p/s", "socket #0"),
        ("default/p/b", "root"),
        ("default/p/late", "socket #1"),
    ]


async def test_the_end_of_crirm_ends_the_trace_with_all_that_happened(nursery: trio.Nursery, tmp_path: Path) -> None:
    live = Live(nursery, tmp_path / "t")
    async with live.writing():
        await live.recorder.start(str(live.file))
        live.some_work()
    found = replayed(live.file.read_text())
    assert found.report.events == len(live.decided)
    assert f"the trace is complete: {ENDED}" in found.report.notes


async def test_only_one_trace_is_recorded_at_a_time(nursery: trio.Nursery, tmp_path: Path) -> None:
    live = Live(nursery, tmp_path / "t")
    async with live.writing():
        with pytest.raises(RecordingError, match="no recording is active"):
            await live.recorder.stop()
        await live.recorder.start(str(live.file))
        with pytest.raises(RecordingError, match="already recording to this file"):
            await live.recorder.start(str(tmp_path / "other"))
        await live.recorder.stop()
        await live.recorder.start(str(tmp_path / "other"))
        assert live.recorder.file == str(tmp_path / "other")


async def test_a_trace_that_has_become_too_large_ends(nursery: trio.Nursery, tmp_path: Path) -> None:
    live = Live(nursery, tmp_path / "t", limit_bytes=3000)
    with capture_logs() as logs:
        async with live.writing():
            await live.recorder.start(str(live.file))
            live.some_work()
            await live.wait_over()
            live.run(container("late", 0.1))
    assert live.file.stat().st_size < 3200
    found = replayed(live.file.read_text())
    assert 0 < found.report.events < len(live.decided)
    assert f"the trace is complete: {FULL}" in found.report.notes
    assert [(log["log_level"], log["reason"]) for log in logs if log["event"] == "recording ended"] == [
        ("warning", FULL)
    ]
    assert ContainerKey("late") in live.engine.state.adjustments, "the node goes on"


async def test_a_disk_that_is_too_slow_ends_the_trace(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WAITING", 3)
    live = Live(nursery, tmp_path / "t")
    await live.recorder.start(str(live.file))
    live.some_work()
    async with live.writing():
        await live.wait_over()
    found = replayed(live.file.read_text())
    assert (found.report.events, found.report.not_as_made) == (3, 0)
    assert f"the trace is complete: {TOO_SLOW}" in found.report.notes


async def test_a_full_disk_ends_the_trace_and_nothing_else(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "open_trace", lambda _path: open("/dev/full", "wb"))  # noqa: PTH123, SIM115
    live = Live(nursery, tmp_path / "t")
    with capture_logs() as logs:
        async with live.writing():
            await live.recorder.start(str(live.file))
            live.some_work()
            await live.wait_over()
    (record,) = [log for log in logs if log["event"] == "cannot write the trace; recording stopped"]
    assert record["reason"] == "No space left on device"
    assert len(live.engine.state.adjustments) == 3


async def test_what_cannot_be_told_ends_the_trace_and_nothing_else(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TraceWriter, "entry", lambda *_: 1 / 0)
    live = Live(nursery, tmp_path / "t")
    with capture_logs() as logs:
        async with live.writing():
            await live.recorder.start(str(live.file))
            live.some_work()
            await live.wait_over()
    assert [log["reason"] for log in logs if log["event"] == "recording ended"] == [BROKEN]
    assert len(live.engine.state.adjustments) == 3


def test_a_trace_is_set_aside_but_no_other_file(tmp_path: Path) -> None:
    file, before = tmp_path / "t", tmp_path / "t.before"
    for text in (b"", b'{"trace":"crirm","format":1}\n'):
        file.write_bytes(text)
        open_trace(str(file)).close()
        assert (file.read_bytes(), before.read_bytes()) == (b"", text)
    file.write_bytes(b"something that somebody needs")
    with pytest.raises(RecordingError, match="file exists and is not a trace"):
        open_trace(str(file))
    assert file.read_bytes() == b"something that somebody needs"


def test_where_no_trace_can_be_made(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for path, said in (
        ("t", "t: not an absolute path; write the full path"),
        (str(tmp_path / "no" / "t"), "cannot create a trace: No such file or directory"),
        (str(tmp_path / "link"), "cannot create a trace: Too many levels of symbolic links"),
        (str(tmp_path), "cannot create a trace: Is a directory"),
    ):
        with pytest.raises(RecordingError, match=said):
            open_trace(path)
    assert not (tmp_path / "elsewhere").exists()


async def test_the_control_socket_begins_and_ends_traces(nursery: trio.Nursery, tmp_path: Path) -> None:
    with pytest.raises(QuestionError, match="policy none decides nothing"):
        await recorded(str(tmp_path / "t"), None)
    live = Live(nursery, tmp_path / "t")
    observed = Seen(live.engine, live.recorder)
    async with live.writing():
        assert await recorded(str(live.file), observed) == {"file": str(live.file)}
        live.engine.apply(PodStopped(PodId("p")))
        assert await recorded("", observed) == {"file": str(live.file)}
    assert replayed(live.file.read_text()).report.events == 1


@attrs.define
class Seen:
    engine: Engine
    recorder: Recorder
    state_failure: str = ""
    findings: tuple[str, ...] = ()

    def machine_status(self) -> dict[str, Any]:
        return {}

    def drift(self) -> dict[ContainerKey, str]:
        return {}

    async def analysed(self, key: ContainerKey) -> dict[str, Any]:
        return {"key": key}
