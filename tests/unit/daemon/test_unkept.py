"""What happens while the disk takes nothing."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest
import trio

from crirm.daemon.state import persistence as module
from crirm.model.events import (
    ContainerRemoved,
    PodAdded,
)
from crirm.system.journal_file import read_journal
from crirm.system.store import Store
from tests.unit.daemon.lives import Process
from tests.unit.policy.test_pipeline import cpus, pod


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
    assert kinds == ["crirm started", "pod added", "requested", "created", "started"]
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
    assert [entry.kind for entry in first.persistence._waiting] == ["requested", "created", "started"]
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
    assert "writable by other users" in process.persistence.refusal
    process.write()
    assert "writable by other users" in process.persistence.refusal
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


@pytest.mark.parametrize("fail_closed", [pytest.param(False, id="open"), pytest.param(True, id="closed")])
def test_requests_do_not_wait_for_a_disk_that_hangs(
    first: Process, monkeypatch: pytest.MonkeyPatch, fail_closed: bool
) -> None:
    monkeypatch.setattr(module, "PATIENCE_S", 0.01)
    goes_on, called = threading.Event(), []

    def hanging(_store: Store, _batch: Any) -> None:
        assert goes_on.wait(30)

    def then() -> None:
        called.append("it goes on")
        goes_on.set()

    def otherwise(why: str) -> None:
        called.append(why)
        goes_on.set()

    monkeypatch.setattr(Store, "write", hanging)
    first.persistence.fail_closed = fail_closed
    first.persistence.when_kept(then, otherwise)
    first.write()
    (answer,) = called
    assert ("disk does not respond" in answer) is fail_closed
    assert first.persistence.refusal == ""
    first.kill()


def test_after_a_failed_write_the_next_one_takes_nothing_for_written(
    first: Process, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was written before may have gone with the file; only all of it makes the new file whole."""
    first.run("a", 1000)
    first.write()

    def full(_store: Store, _batch: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(Store, "write", full)
        first.run("b", 1000)
        first.write()
    for path in Path(home).glob("state.db*"):
        path.unlink()
    first.end()
    second = Process(home)
    assert second.engine.state == first.engine.state
    second.kill()
