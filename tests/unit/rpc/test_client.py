"""The pool of connections to the runtime."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio
from h2.settings import SettingCodes

from crirm.rpc import bridge, client
from crirm.rpc.client import NotGrpcError, Pool
from crirm.rpc.grpc_wire import find
from crirm.rpc.http2 import Flusher
from tests.integration.pretenders import HTTP1, NOISE, pretender
from tests.unit.rpc.rig import Rig, on_loop

if TYPE_CHECKING:
    from pathlib import Path


def _limit(rig: Rig, streams: int) -> None:
    rig.runtime.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: streams})
    rig.settle()


@on_loop
async def test_calls_beyond_the_runtimes_limit_wait_their_turn() -> None:
    rig = Rig()
    _limit(rig, 1)
    paths = [b"/a.B/%d" % n for n in range(3)]
    for path in paths:
        rig.call(path=path)
    assert rig.runtime.order == [1]
    for number in range(3):
        rig.answer(2 * number + 1)
    assert paths == [find(rig.runtime.streams[n].headers[0], b":path") for n in rig.runtime.order]
    assert rig.idle


@on_loop
async def test_a_raised_limit_lets_waiting_calls_go() -> None:
    rig = Rig()
    _limit(rig, 1)
    rig.call()
    rig.call()
    _limit(rig, 2)
    assert rig.runtime.order == [1, 3]


@on_loop
async def test_a_call_that_gave_up_while_waiting_is_never_made() -> None:
    rig = Rig()
    _limit(rig, 1)
    rig.call()
    waiting = rig.call(path=b"/a.B/Dropped")
    rig.kubelet.h2.reset_stream(waiting, 8)
    rig.settle()
    rig.answer(1)
    assert rig.runtime.order == [1]
    assert rig.idle


@on_loop
async def test_waiting_calls_fail_when_the_runtime_goes() -> None:
    rig = Rig()
    _limit(rig, 1)
    rig.call()
    waiting = rig.call()
    rig.upstream.connection_lost(None)
    rig.settle()
    assert find(rig.kubelet.streams[waiting].headers[0], b"grpc-status") == b"14"
    assert rig.idle


@on_loop
async def test_a_request_body_waits_with_its_call() -> None:
    rig = Rig()
    _limit(rig, 1)
    rig.call()
    rig.call(body=b"x" * 50_000)
    rig.answer(1)
    assert (len(rig.runtime.streams[3].body), rig.runtime.streams[3].ended) == (50_000, True)


@pytest.mark.parametrize(
    ("greeting", "error"),
    [
        pytest.param(NOISE, NotGrpcError, id="noise: will not get better"),
        pytest.param(HTTP1, NotGrpcError, id="HTTP/1: will not get better"),
        pytest.param(b"\0\0", NotGrpcError, id="a beginning of something: will not get better"),
        pytest.param(b"", ConnectionError, id="hangs up without a word: may be on its way out"),
        pytest.param(None, ConnectionError, id="silence: may be on its way up"),
    ],
)
def test_what_cannot_be_used_is_told_from_what_may_come_yet(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, greeting: bytes | None, error: type[Exception]
) -> None:
    monkeypatch.setattr(client, "GREETING_TIMEOUT_S", 0.05)
    path = short_path / "c.sock"

    async def connect() -> None:
        pool = Pool(str(path), Flusher())
        with pytest.raises(error, match=str(path)):
            await pool.connect()
        assert not pool.connected

    with pretender(path, greeting):
        bridge.run(connect)


def test_a_connection_that_nobody_waits_for_any_more_is_closed(short_path: Path) -> None:
    async def connect(accepted: list[socket.socket]) -> None:
        with trio.move_on_after(0.05):
            await Pool(str(short_path / "mute.sock"), Flusher()).connect()
        accepted.append(listener.accept()[0])
        accepted[0].settimeout(10)
        await trio.to_thread.run_sync(_read_to_the_end, accepted[0])

    connections: list[socket.socket] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(short_path / "mute.sock"))
        listener.listen()
        try:
            bridge.run(connect, connections)
        finally:
            for connection in connections:
                connection.close()


def _read_to_the_end(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass
