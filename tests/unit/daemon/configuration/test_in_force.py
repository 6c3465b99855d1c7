"""Which configuration is in force: files cut off or changed unseen, changes at once, faults of crirm's own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, cast

import attrs
import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from crirm.config.faults import Fault
from crirm.config.load import load
from crirm.daemon.configuration.grammars import GRAMMARS
from crirm.daemon.configuration.in_force import EMPTY, Configurations, InForce, Source, _tell_warnings, begin
from crirm.daemon.configuration.overrides import Overrides
from crirm.daemon.decider import Decider
from crirm.daemon.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

STATIC = "policy: {Active: static, ReservedResources: {CPU: 1}}\n"
OTHER = STATIC.replace("1", "2")
NONE = "policy: {Active: none}\n"
STATIC_MAP = {"policy": "Active: static\nReservedResources: {CPU: 1}\n"}


@attrs.define
class FakeChange:
    """Takes everything into use once it may, or fails."""

    may: trio.Event = attrs.field(factory=trio.Event)
    fault: Exception | None = None
    taken: list[Settings] = attrs.field(factory=list)
    decider: Decider = attrs.field(factory=Decider)

    async def activate(self, settings: Settings) -> None:
        await self.may.wait()
        if self.fault is not None:
            raise self.fault
        self.taken.append(settings)


def configurations(change: FakeChange, in_force: InForce | None = None, **base: Any) -> Configurations:
    settings = Settings(state_dir="", **base)
    return Configurations(settings, in_force or begin(settings), cast("Any", change), Overrides(change.decider, ""))


def allowed(fault: Exception | None = None) -> FakeChange:
    change = FakeChange(fault=fault)
    change.may.set()
    return change


async def look(times: int, clock: trio.testing.MockClock) -> None:
    """Let the watcher look at its file."""
    for _ in range(times):
        await trio.testing.wait_all_tasks_blocked(0.01)
        clock.jump(1.0)
        await trio.testing.wait_all_tasks_blocked(0.01)


def watching(path: Path, meanwhile: Callable[[], object]) -> list[str]:
    """Return what comes into force of the forced file *path*, that holds STATIC, when *meanwhile* has happened."""
    clock, change = trio.testing.MockClock(), allowed()
    path.write_text(STATIC)

    async def main() -> None:
        found = configurations(change, forced_config=str(path))
        meanwhile()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(found.follow_file)
            await look(4, clock)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=clock)
    return [str(settings.policy.constraints.reserved.millicpu) for settings in change.taken]


def test_a_forced_file_that_changed_before_it_was_watched_is_read_again(tmp_path: Path) -> None:
    """A start may wait for the runtime for hours."""
    path = tmp_path / "f"
    assert watching(path, lambda: None) == []
    assert watching(path, lambda: path.write_text(OTHER)) == ["2000"]


@pytest.mark.parametrize(
    "break_it",
    [
        pytest.param(lambda path: path.write_text(" \n"), id="cut off"),
        pytest.param(lambda path: path.unlink(), id="gone"),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), id="a directory"),
        pytest.param(lambda path: path.write_bytes(b"\xff"), id="no text"),
    ],
)
def test_a_file_that_cannot_be_meant_changes_nothing(break_it: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "f"
    assert watching(path, lambda: break_it(path)) == []


def test_a_pipe_is_not_watched(tmp_path: Path) -> None:
    """Nothing would end the look at one that nobody writes to."""
    path, settings = tmp_path / "f", Settings(state_dir="", forced_config=str(tmp_path / "f"))
    clock, change = trio.testing.MockClock(), allowed()

    async def main() -> None:
        found = configurations(change, InForce(Source.FORCED, str(path), settings), forced_config=str(path))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(found.follow_file)
            await look(3, clock)
            nursery.cancel_scope.cancel()

    os.mkfifo(path)
    trio.run(main, clock=clock)
    assert change.taken == []


def test_a_file_that_is_empty_when_the_signal_comes_is_rejected(tmp_path: Path) -> None:
    path, change = tmp_path / "f", allowed()
    path.write_text(STATIC)
    found = configurations(change, forced_config=str(path))
    path.write_text("")
    trio.run(found.reload)
    assert found.rejected is not None
    assert (change.taken, found.rejected.reason) == ([], EMPTY)


def test_a_fault_of_crirms_own_rejects_the_configuration_and_ends_nothing(tmp_path: Path) -> None:
    path, change = tmp_path / "f", allowed(KeyError("x"))
    path.write_text(STATIC)
    found = configurations(change, forced_config=str(path))
    trio.run(found.reload)
    assert found.rejected is not None
    assert "internal error" in found.rejected.reason
    assert "internal error" in trio.run(found.activate, "x", STATIC)


async def test_a_change_is_judged_by_the_configuration_in_force_when_its_turn_comes(nursery: trio.Nursery) -> None:
    """The agent may choose the first policy, not a second one while the first is on its way."""
    change = FakeChange()
    found = configurations(change)
    answers: dict[str, str] = {}

    async def send(name: str) -> None:
        data = {"policy": STATIC_MAP["policy"].replace("static", name)}
        answers[name] = await found.set_config("n", data)

    nursery.start_soon(send, "static")
    await trio.testing.wait_all_tasks_blocked(0.01)
    nursery.start_soon(send, "topology-aware")
    await trio.testing.wait_all_tasks_blocked(0.01)
    change.may.set()
    with trio.fail_after(5):
        while len(answers) < 2:
            await trio.testing.wait_all_tasks_blocked(0.01)
    assert answers["static"] == ""
    assert "cannot switch from policy " in answers["topology-aware"]
    assert [settings.policy.name for settings in change.taken] == ["static"]


@pytest.mark.parametrize(
    ("fallback", "refused"),
    [
        pytest.param("logger: {Debug: relay}\n", False, id="a fallback about logs only"),
        pytest.param(NONE, False, id="a fallback that places nothing"),
        pytest.param(STATIC.replace("static", "topology-aware"), True, id="a fallback with a policy"),
    ],
)
def test_the_agent_may_choose_the_policy_where_nothing_is_placed(fallback: str, refused: bool, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text(fallback)

    async def main() -> str:
        return await configurations(allowed(), fallback_config=str(path)).set_config("n", STATIC_MAP)

    assert bool(trio.run(main)) is refused


def test_all_remarks_on_a_configuration_are_one_record() -> None:
    data = b"policy: {Active: none}\nrdt: {Enable: true}\nblockio: {Classes: {}}\ninstrumentation: {Trace: on}\n"
    loaded = load(data, "sample.yaml", GRAMMARS)
    loaded = attrs.evolve(loaded, warnings=(*loaded.warnings, Fault("one more"), Fault("and another", line=7)))
    with capture_logs() as logs:
        _tell_warnings("sample.yaml", loaded)
    (told,) = logs
    assert (told["log_level"], told["remarks"]) == ("warning", len(loaded.warnings))
    assert all(str(one) in told["what"] for one in loaded.warnings)
