"""The link to a runtime, in virtual time and over a pool without a socket."""

from __future__ import annotations

import socket
import threading
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import pytest
import trio
import trio.testing
from grpclib.const import Status
from structlog.testing import capture_logs

from crirm.daemon.relay import link as link_module
from crirm.daemon.relay.link import Link, RuntimeUnusableError, doubling, identify
from crirm.daemon.relay.runtime_info import RuntimeInfo
from crirm.rpc.client import NotGrpcError
from crirm.rpc.grpc_wire import RpcError
from tests.unit.daemon.fake_pool import IMAGE_FS, SOCKET, VERSION, FakePool, runtime

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trio.testing import MockClock

    from crirm.rpc.client import Pool

REFUSED = ConnectionRefusedError(111, "Connection refused")
NOT_YET = {VERSION.format("v1"): RpcError(Status.UNAVAILABLE, "not initialized yet")}
_IS_OTHER_FILE = link_module.is_other_file
GARBAGE = {VERSION.format("v1"): b"\x12\x01\xff"}
NAMELESS = {VERSION.format("v1"): b""}


@pytest.fixture(autouse=True)
def _no_file_system(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that jumps does not wait for the thread that looks at files."""

    async def is_other_file(_path: str) -> bool:
        return False

    monkeypatch.setattr(link_module, "is_other_file", is_other_file)


def link_to(pool: FakePool, service: str = "RuntimeService", *, allow_untested: bool = False) -> Link:
    return Link(service, cast("Pool", pool), allow_untested)


async def ask(pool: FakePool, service: str) -> RuntimeInfo:
    await pool.connect()
    return await identify(cast("Pool", pool), service)


def test_pauses_double_up_to_the_longest() -> None:
    pauses = doubling(0.1, 0.5)
    assert [next(pauses) for _ in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]


@pytest.mark.parametrize(
    ("kind", "other"), [("nothing", False), ("socket", False), ("regular file", True), ("directory", True)]
)
def test_only_sockets_and_nothing_at_all_are_connected_to(short_path: Path, kind: str, other: bool) -> None:
    path = short_path / "c.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        match kind:
            case "socket":
                sock.bind(str(path))
            case "regular file":
                path.touch()
            case "directory":
                path.mkdir()
        assert other is trio.run(_IS_OTHER_FILE, str(path))


def test_a_socket_that_is_being_made_is_never_taken_for_something_else(short_path: Path) -> None:
    path, stop = short_path / "c.sock", threading.Event()

    def make_and_remove() -> None:
        while not stop.is_set():
            with socket.socket(socket.AF_UNIX) as sock:
                sock.bind(str(path))
            path.unlink()

    async def look_often() -> list[bool]:
        return [await _IS_OTHER_FILE(str(path)) for _ in range(500)]

    thread = threading.Thread(target=make_and_remove)
    thread.start()
    try:
        assert set(trio.run(look_often)) == {False}
    finally:
        stop.set()
        thread.join()


# --- who is there ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("versions", [("v1",), ("v1alpha2",), ("v1", "v1alpha2")])
async def test_a_runtime_is_asked_in_every_version(versions: tuple[str, ...], autojump_clock: MockClock) -> None:
    info = await ask(FakePool([runtime(*versions)]), "RuntimeService")
    assert info == RuntimeInfo("containerd", "v1.7", versions)


@pytest.mark.parametrize(
    ("answers", "versions"),
    [
        pytest.param(runtime("v1", path=IMAGE_FS), ("v1",), id="answered"),
        pytest.param({IMAGE_FS.format("v1"): RpcError(Status.UNKNOWN, "no disk")}, ("v1",), id="failed: it is there"),
    ],
)
async def test_an_image_service_need_not_say_who_it_is(
    answers: Mapping[str, bytes | RpcError], versions: tuple[str, ...], autojump_clock: MockClock
) -> None:
    info = await ask(FakePool([answers]), "ImageService")
    assert info == RuntimeInfo(None, None, versions)


@pytest.mark.parametrize(
    ("service", "answers", "status"),
    [
        pytest.param("RuntimeService", {}, Status.UNIMPLEMENTED, id="no CRI at all"),
        pytest.param("ImageService", {}, Status.UNIMPLEMENTED, id="no images at all"),
        pytest.param("RuntimeService", NOT_YET, Status.UNAVAILABLE, id="not ready"),
        pytest.param(
            "ImageService", {IMAGE_FS.format("v1"): RpcError(Status.UNAVAILABLE, "")}, Status.UNAVAILABLE, id="nobody"
        ),
    ],
)
async def test_nobody_usable_is_an_error(
    service: str, answers: Mapping[str, bytes | RpcError], status: Status, autojump_clock: MockClock
) -> None:
    with pytest.raises(RpcError) as caught:
        await ask(FakePool([answers]), service)
    assert caught.value.status is status


# --- the start ------------------------------------------------------------------------------------------------------


async def test_an_absent_runtime_is_tried_at_growing_pauses(autojump_clock: MockClock) -> None:
    pool = FakePool([REFUSED])
    with trio.move_on_after(60):
        await link_to(pool).maintain()
    pauses = [later - earlier for earlier, later in pairwise(pool.attempts_s)]
    assert pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]) == pauses[:8]
    assert max(pauses) == pytest.approx(5.0)


async def test_an_absent_runtime_is_told_of_at_growing_pauses(autojump_clock: MockClock) -> None:
    told_s: list[float] = []
    with capture_logs() as records, trio.move_on_after(2000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(link_to(FakePool([REFUSED])).maintain)
            seen = 0
            while True:
                await trio.sleep(1)
                told_s += [trio.current_time()] * (len(records) - seen)
                seen = len(records)
    assert {(record["event"], record["socket"], record["reason"]) for record in records} == {
        ("waiting for the runtime", SOCKET, str(REFUSED))
    }
    pauses = [later - earlier for earlier, later in pairwise(told_s)]
    assert pytest.approx([10, 20, 40, 80, 160, 320, 600, 600], abs=6) == pauses


@pytest.mark.parametrize(
    ("met", "words"),
    [
        pytest.param(PermissionError(13, "Permission denied"), "no permission to connect", id="not permitted"),
        pytest.param(NotGrpcError(f"{SOCKET}: does not speak gRPC"), "does not speak gRPC", id="not gRPC"),
        pytest.param(GARBAGE, "Version failed: invalid VersionResponse", id="garbage"),
        pytest.param(NAMELESS, "Version failed: VersionResponse without runtime_name", id="nameless"),
        pytest.param(runtime("v1", name="dockershim"), "--allow-untested-runtimes", id="untested"),
    ],
)
async def test_what_waiting_cannot_change_ends_the_start(
    met: Exception | Mapping[str, bytes], words: str, autojump_clock: MockClock
) -> None:
    pool = FakePool([REFUSED, met])
    with pytest.raises(RuntimeUnusableError, match=words) as caught:
        await link_to(pool).maintain()
    assert SOCKET in str(caught.value)
    assert len(pool.attempts_s) == 2
    assert isinstance(met, Exception) or pool.closed, "the connection is not kept"


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        pytest.param("containerd", False, id="containerd"),
        pytest.param("cri-o", False, id="CRI-O"),
        pytest.param("crirm-sim", False, id="the embedded runtime"),
        pytest.param("containerd-fork", False, id="a name that goes on"),
        pytest.param("dockershim", True, id="another that is allowed"),
    ],
)
async def test_known_and_allowed_names_pass_the_gate(name: str, allowed: bool, autojump_clock: MockClock) -> None:
    link = link_to(FakePool([runtime("v1", name=name)]), allow_untested=allowed)
    async with trio.open_nursery() as nursery:
        info = await nursery.start(link.maintain)
        assert info.name == name
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("name", ["dockershim", "my-containerd", "Containerd"])
async def test_other_names_do_not_pass_the_gate(name: str, autojump_clock: MockClock) -> None:
    with pytest.raises(RuntimeUnusableError, match=repr(name)):
        await link_to(FakePool([runtime("v1", name=name)])).maintain()


# --- later ----------------------------------------------------------------------------------------------------------


async def test_a_lost_runtime_is_unknown_until_it_is_back_and_may_be_another_then(autojump_clock: MockClock) -> None:
    pool = FakePool([runtime("v1alpha2"), runtime("v1", name="cri-o")])
    link = link_to(pool)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.maintain)
        assert link.info == RuntimeInfo("containerd", "v1.7", ("v1alpha2",))
        pool.close("lost")
        await trio.testing.wait_all_tasks_blocked()
        assert link.info == RuntimeInfo("cri-o", "v1.7", ("v1",))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "met",
    [
        pytest.param(GARBAGE, id="garbage"),
        pytest.param(PermissionError(13, "Permission denied"), id="not permitted"),
        pytest.param(runtime("v1", name="dockershim"), id="untested"),
        pytest.param(NOT_YET, id="not ready"),
    ],
)
async def test_a_link_that_was_up_goes_on_trying_whatever_it_meets(
    met: Exception | Mapping[str, bytes], autojump_clock: MockClock
) -> None:
    pool = FakePool([runtime("v1"), REFUSED, met, met, runtime("v1")])
    link = link_to(pool)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.maintain)
        pool.close("lost")
        await trio.sleep(0.25)  # two tries
        assert link.info is None
        await trio.sleep(10)
        assert link.info is not None
        nursery.cancel_scope.cancel()


async def test_a_reason_that_needs_a_hand_is_told_at_once_and_once(autojump_clock: MockClock) -> None:
    pool = FakePool([runtime("v1"), REFUSED, *[runtime("v1", name="dockershim")] * 4, runtime("v1")])
    with capture_logs() as records:
        async with trio.open_nursery() as nursery:
            await nursery.start(link_to(pool).maintain)
            pool.close("lost")
            await trio.sleep(9)  # the next reminder is due after ten seconds
            nursery.cancel_scope.cancel()
    reasons = [record["reason"] for record in records if record["event"] == "waiting for the runtime"]
    assert ["refused" in reasons[0], "dockershim" in reasons[1], len(reasons)] == [True, True, 2]


async def test_a_caller_who_waits_shortens_the_pause(autojump_clock: MockClock) -> None:
    pool = FakePool([REFUSED])
    link = link_to(pool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.maintain)
        await trio.sleep(60.5)
        before = len(pool.attempts_s)
        link.kick()
        await trio.sleep(0.01)
        assert len(pool.attempts_s) == before + 1
        for _ in range(100):  # callers that do not give up
            link.kick()
            await trio.sleep(0.01)
        assert before + 5 <= len(pool.attempts_s) <= before + 1 + 10
        nursery.cancel_scope.cancel()


async def test_calls_pass_only_after_whoever_waits_for_the_runtime_has_seen_it(autojump_clock: MockClock) -> None:
    pool = FakePool([runtime("v1")])
    link = link_to(pool)
    seen: list[RuntimeInfo | None] = []
    failures = [RpcError(Status.UNAVAILABLE, "gone again")]

    async def on_up(info: RuntimeInfo) -> None:
        seen.append(link.info)
        if failures:
            raise failures.pop()
        assert info.name == "containerd"

    link.on_up = on_up
    async with trio.open_nursery() as nursery:
        await nursery.start(link.maintain)
        assert seen == [None, None], "before the calls, and again when it failed"
        assert link.info is not None
        nursery.cancel_scope.cancel()
    assert len(pool.closed) == 1
