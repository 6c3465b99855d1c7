"""The pool of connections to the runtime."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from grpclib.const import Status
from h2.settings import SettingCodes

from crirm.rpc import bridge, client
from crirm.rpc.client import MAX_CONNECTIONS, NotGrpcError, Pool, RuntimeConnection
from crirm.rpc.flusher import Flusher
from crirm.rpc.grpc_wire import RpcError, find, frame
from tests.integration.pretenders import HTTP1, NOISE, pretender
from tests.unit.rpc.rig import OK, REPLY, Peer, Rig, on_loop

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
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


def in_guest(test: Callable[[], Awaitable[None]]) -> Callable[[], None]:
    """Run *test* as the daemon runs: Trio on asyncio."""

    def run() -> None:
        bridge.run(test)

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


async def _ask(rig: Rig, answers: list[bytes], timeout_s: float = 30.0) -> None:
    answers.append(await rig.pool.unary("/a.B/Own", b"ask", timeout_s=timeout_s))


@in_guest
async def test_a_call_of_our_own_waits_its_turn() -> None:
    rig = Rig()
    _limit(rig, 1)
    answers: list[bytes] = []
    stream = rig.call()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ask, rig, answers)
        await trio.testing.wait_all_tasks_blocked()
        rig.settle()
        assert rig.runtime.order == [1]
        rig.answer(1)
        assert rig.kubelet.streams[stream].headers[-1] == OK
        assert rig.runtime.order == [1, 3]
        assert rig.runtime.streams[3].body == frame(b"ask")
        rig.answer(3, body=frame(b"told"))
    assert answers == [b"told"]
    assert rig.idle


@in_guest
async def test_a_call_of_our_own_that_runs_out_of_time_in_the_queue_ends_nobody_elses() -> None:
    """Its stream number was never opened, and the next call has it."""
    rig = Rig()
    _limit(rig, 1)
    first = rig.call()
    with pytest.raises(RpcError, match="DEADLINE_EXCEEDED"):
        await rig.pool.unary("/a.B/Own", b"ask", timeout_s=0.01)
    second = rig.call()
    rig.answer(1)
    rig.answer(3)
    assert [rig.kubelet.streams[stream].headers[-1] for stream in (first, second)] == [OK, OK]
    assert rig.runtime.order == [1, 3]
    assert [rig.runtime.streams[stream].reset for stream in (1, 3)] == [None, None]
    assert rig.idle


@pytest.mark.parametrize("waits", [pytest.param(True, id="in the queue"), pytest.param(False, id="at the runtime")])
def test_a_call_of_our_own_that_nobody_waits_for_any_more_is_withdrawn(*, waits: bool) -> None:
    async def give_up() -> None:
        rig = Rig()
        _limit(rig, 1)
        if waits:
            rig.call()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask, rig, [])
            await trio.testing.wait_all_tasks_blocked()
            rig.settle()
            nursery.cancel_scope.cancel()
        rig.settle()
        if waits:
            rig.answer(1)
        else:
            assert rig.runtime.streams[1].reset == 8
        assert rig.runtime.order == [1]
        assert rig.idle

    bridge.run(give_up)


async def _ask_in_vain(rig: Rig, failures: list[Status]) -> None:
    with pytest.raises(RpcError) as failure:
        await rig.pool.unary("/a.B/Own", b"ask", timeout_s=30.0)
    failures.append(failure.value.status)


@in_guest
async def test_a_call_of_our_own_fails_with_the_runtime() -> None:
    rig = Rig()
    _limit(rig, 1)
    rig.call()
    failures: list[Status] = []

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ask_in_vain, rig, failures)
        await trio.testing.wait_all_tasks_blocked()
        rig.upstream.connection_lost(None)
    assert failures == [Status.UNAVAILABLE]


@on_loop
async def test_endless_calls_leave_room_for_those_that_end() -> None:
    """With one stream per connection, the last connection is not for one more subscriber to events."""
    rig = Rig()
    _limit(rig, 1)
    peers = [rig.runtime]
    for _ in range(MAX_CONNECTIONS - 1):
        connection = RuntimeConnection(rig.pool, rig.flusher)
        peer = Peer(connection, client_side=False)
        peer.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1})
        while peer.exchange(1 << 16):
            pass
        rig.pool.add(connection)
        peers.append(peer)
    rig.endless = True
    subscribers = [rig.call(path=b"/a.B/Events") for _ in range(MAX_CONNECTIONS + 2)]
    rig.endless = False
    rig.call(path=b"/a.B/Ends")
    for peer in peers[1:]:
        peer.exchange(1 << 16)
    begun = [find(peer.streams[1].headers[0], b":path") for peer in peers]
    assert begun == [b"/a.B/Events"] * (MAX_CONNECTIONS - 1) + [b"/a.B/Ends"]
    rig.kubelet.h2.reset_stream(subscribers[0], 8)
    rig.settle()
    assert find(rig.runtime.streams[3].headers[0], b":path") == b"/a.B/Events", "the next has its turn"


@on_loop
async def test_calls_that_nobody_wants_any_more_do_not_pile_up() -> None:
    rig = Rig()
    _limit(rig, 1)
    rig.call()
    for _ in range(500):
        rig.kubelet.h2.reset_stream(rig.call(), 8)
    rig.settle()
    assert rig.pool.waiting < 200


@on_loop
async def test_a_connection_without_stream_numbers_left_is_replaced() -> None:
    rig = Rig()
    first = rig.call()
    rig.upstream.h2.highest_outbound_stream_id = (1 << 31) - 1
    second = rig.call()
    assert find(rig.kubelet.streams[second].headers[-1], b"grpc-status") == b"14"
    assert rig.pool.lost.is_set()
    rig.answer(1)
    assert rig.kubelet.streams[first].headers[-1] == OK


@in_guest
async def test_an_answer_that_reads_as_gigabytes_is_refused_at_once() -> None:
    rig = Rig()
    failures: list[Status] = []

    async with trio.open_nursery() as nursery:
        nursery.start_soon(_ask_in_vain, rig, failures)
        await trio.testing.wait_all_tasks_blocked()
        rig.settle()
        rig.runtime.h2.send_headers(1, REPLY)
        rig.runtime.h2.send_data(1, b"\0\xff\xff\xff\xff" + b"x" * 1000)
        rig.settle()
    assert failures == [Status.RESOURCE_EXHAUSTED]
    assert rig.runtime.streams[1].reset == 8
    assert rig.idle


@in_guest
async def test_a_call_of_our_own_that_is_answered_with_very_many_messages_ends_at_the_second() -> None:
    rig = Rig()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_fail, rig, "INTERNAL.*more than one message")
        await trio.testing.wait_all_tasks_blocked()
        rig.settle()
        rig.runtime.h2.send_headers(1, REPLY)
        rig.runtime.h2.send_data(1, frame(b"told") * 3)
        rig.settle()
    assert rig.runtime.streams[1].reset == 8
    assert rig.idle


async def _fail(rig: Rig, words: str) -> None:
    with pytest.raises(RpcError, match=words):
        await rig.pool.unary("/a.B/Own", b"ask", timeout_s=30)
