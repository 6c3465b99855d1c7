"""The pool of connections to the runtime."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest
import trio
from grpclib.const import Status
from h2.settings import SettingCodes
from hpack.hpack import Encoder
from hyperframe.frame import GoAwayFrame, HeadersFrame, PushPromiseFrame

from crirm.rpc import bridge, client
from crirm.rpc.client import NotGrpcError, Pool
from crirm.rpc.grpc_wire import RpcError, find, frame
from crirm.rpc.own_leg import OwnCall
from tests.integration.pretenders import HTTP1, NOISE, pretender
from tests.unit.rpc.rig import OK, REPLY, forwarding, in_guest_mode, open_rig, request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.rpc.rig import Rig


async def _limit(rig: Rig, streams: int) -> None:
    """Hold all calls, so that they go over the pool, and let the runtime take no more than *streams* at once."""
    rig.handler = forwarding
    rig.pool_runtime.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: streams})
    await rig.settle()


@in_guest_mode
async def test_calls_beyond_the_runtimes_limit_wait_their_turn() -> None:
    async with open_rig() as rig:
        await _limit(rig, 1)
        paths = [b"/a.B/%d" % n for n in range(3)]
        for path in paths:
            await rig.call(path=path)
        assert rig.pool_runtime.order == [1]
        for number in range(3):
            await rig.answer(2 * number + 1, peer=rig.pool_runtime)
        assert paths == [find(rig.pool_runtime.streams[n].headers[0], b":path") for n in rig.pool_runtime.order]
        assert rig.idle


@in_guest_mode
async def test_a_raised_limit_lets_waiting_calls_go() -> None:
    async with open_rig() as rig:
        await _limit(rig, 1)
        await rig.call()
        await rig.call()
        await _limit(rig, 2)
        assert rig.pool_runtime.order == [1, 3]


@in_guest_mode
async def test_waiting_calls_fail_when_the_runtime_goes_and_are_certain() -> None:
    async with open_rig() as rig:
        await _limit(rig, 1)
        await rig.call()
        waiting = await rig.call()
        rig.pool_runtime.vanish()
        await rig.settle()
        assert find(rig.kubelet.streams[waiting].headers[0], b"grpc-status") == b"14"
        assert sorted((outcome.status, outcome.certain) for _, outcome in rig.outcomes) == [(14, False), (14, True)]
        assert rig.idle


@in_guest_mode
async def test_a_request_body_waits_with_its_call() -> None:
    async with open_rig() as rig:
        await _limit(rig, 1)
        await rig.call()
        await rig.call(body=frame(b"x" * 50_000))
        await rig.answer(1, peer=rig.pool_runtime)
        assert (len(rig.pool_runtime.streams[3].body), rig.pool_runtime.streams[3].ended) == (50_005, True)


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
        pool = Pool(str(path))
        with pytest.raises(error, match=str(path)):
            await pool.connect()
        assert not pool.connected

    with pretender(path, greeting):
        bridge.run(connect)


def test_a_connection_that_nobody_waits_for_any_more_is_closed(short_path: Path) -> None:
    async def connect(accepted: list[socket.socket]) -> None:
        with trio.move_on_after(0.05):
            await Pool(str(short_path / "mute.sock")).connect()
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


async def _ask(rig: Rig, answers: list[bytes], timeout_s: float = 30.0) -> None:
    answers.append(await rig.pool.unary("/a.B/Own", b"ask", timeout_s=timeout_s))


@in_guest_mode
async def test_a_call_of_our_own_waits_its_turn() -> None:
    async with open_rig() as rig:
        await _limit(rig, 1)
        answers: list[bytes] = []
        stream = await rig.call()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask, rig, answers)
            await rig.settle()
            assert rig.pool_runtime.order == [1]
            await rig.answer(1, peer=rig.pool_runtime)
            assert rig.kubelet.streams[stream].headers[-1] == OK
            assert rig.pool_runtime.order == [1, 3]
            assert rig.pool_runtime.streams[3].body == frame(b"ask")
            await rig.answer(3, body=frame(b"told"), peer=rig.pool_runtime)
        assert answers == [b"told"]
        assert rig.idle


@in_guest_mode
async def test_a_call_of_our_own_that_runs_out_of_time_in_the_queue_ends_nobody_elses() -> None:
    """Its stream number was never opened, and the next call has it."""
    async with open_rig() as rig:
        await _limit(rig, 1)
        first = await rig.call()
        with pytest.raises(RpcError, match="DEADLINE_EXCEEDED"):
            await rig.pool.unary("/a.B/Own", b"ask", timeout_s=0.01)
        second = await rig.call()
        await rig.answer(1, peer=rig.pool_runtime)
        await rig.answer(3, peer=rig.pool_runtime)
        assert [rig.kubelet.streams[stream].headers[-1] for stream in (first, second)] == [OK, OK]
        assert rig.pool_runtime.order == [1, 3]
        assert [rig.pool_runtime.streams[stream].reset for stream in (1, 3)] == [None, None]
        assert rig.idle


@pytest.mark.parametrize("waits", [pytest.param(True, id="in the queue"), pytest.param(False, id="at the runtime")])
@in_guest_mode
async def test_a_call_of_our_own_that_nobody_waits_for_any_more_is_withdrawn(*, waits: bool) -> None:
    async with open_rig() as rig:
        await _limit(rig, 1)
        if waits:
            await rig.call()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask, rig, [])
            await rig.settle()
            nursery.cancel_scope.cancel()
        await rig.settle()
        if waits:
            await rig.answer(1, peer=rig.pool_runtime)
        else:
            assert rig.pool_runtime.streams[1].reset == 8
        assert rig.pool_runtime.order == [1]
        assert rig.idle


async def _ask_in_vain(rig: Rig, failures: list[Status]) -> None:
    with pytest.raises(RpcError) as failure:
        await rig.pool.unary("/a.B/Own", b"ask", timeout_s=30.0)
    failures.append(failure.value.status)


@in_guest_mode
async def test_a_call_of_our_own_fails_with_the_runtime() -> None:
    async with open_rig() as rig:
        await _limit(rig, 1)
        await rig.call()
        failures: list[Status] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask_in_vain, rig, failures)
            await rig.settle()
            rig.pool_runtime.vanish()
        assert failures == [Status.UNAVAILABLE]


@in_guest_mode
async def test_calls_that_nobody_wants_any_more_do_not_pile_up() -> None:
    async with open_rig() as rig:
        await _limit(rig, 1)
        await rig.call()
        for _ in range(500):
            call = OwnCall(b"", None, lambda _message: None)
            rig.pool.start(call, b"/a.B/Own")
            call.cancel()
        assert rig.pool.waiting < 200


@in_guest_mode
async def test_a_connection_without_stream_numbers_left_is_replaced() -> None:
    async with open_rig() as rig:
        await _limit(rig, 10)
        first = await rig.call()
        rig.pool_runtime.other.h2.highest_outbound_stream_id = (1 << 31) - 1  # type: ignore[attr-defined]
        second = await rig.call()
        assert find(rig.kubelet.streams[second].headers[-1], b"grpc-status") == b"14"
        assert rig.pool.lost.is_set()
        await rig.answer(1, peer=rig.pool_runtime)
        assert rig.kubelet.streams[first].headers[-1] == OK


@in_guest_mode
async def test_a_runtime_that_says_goodbye_to_the_pool_may_finish_what_it_has_begun() -> None:
    async with open_rig() as rig:
        await _limit(rig, 10)
        first, second = await rig.call(), await rig.call()
        rig.pool_runtime.raw += GoAwayFrame(last_stream_id=1).serialize()
        await rig.settle()
        assert not rig.pool.connected, "new calls go elsewhere"
        assert find(rig.kubelet.streams[second].headers[-1], b"grpc-status") == b"14", "and so do those it has not seen"
        assert not rig.pool_runtime.other.lost
        await rig.answer(1, peer=rig.pool_runtime)
        assert rig.kubelet.streams[first].headers == [REPLY, OK]
        assert rig.pool_runtime.other.lost, "nothing is left to wait for"
        assert rig.idle


@in_guest_mode
async def test_a_runtime_that_says_goodbye_in_anger_ends_calls_with_unavailable() -> None:
    async with open_rig() as rig:
        await _limit(rig, 10)
        stream = await rig.call()
        rig.pool_runtime.raw += GoAwayFrame(last_stream_id=1, error_code=1).serialize()
        await rig.settle()
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"14"
        assert not rig.pool.connected
        assert rig.idle


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n\r\n", id="noise"),
        pytest.param(
            HeadersFrame(2, data=Encoder().encode(REPLY), flags=("END_HEADERS",)).serialize(), id="a call of its own"
        ),
        pytest.param(
            PushPromiseFrame(
                1, promised_stream_id=2, data=Encoder().encode(request()), flags=("END_HEADERS",)
            ).serialize(),
            id="a push",
        ),
    ],
)
@in_guest_mode
async def test_a_runtime_that_does_not_speak_http2_as_it_should_is_left(said: bytes) -> None:
    async with open_rig() as rig:
        await _limit(rig, 10)
        stream = await rig.call()
        rig.pool_runtime.raw += said
        await rig.settle()
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"14"
        assert rig.pool.lost.is_set()


@in_guest_mode
async def test_an_answer_that_reads_as_gigabytes_is_refused_at_once() -> None:
    async with open_rig() as rig:
        failures: list[Status] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_ask_in_vain, rig, failures)
            await rig.settle()
            rig.pool_runtime.h2.send_headers(1, REPLY)
            rig.pool_runtime.h2.send_data(1, b"\0\xff\xff\xff\xff" + b"x" * 1000)
            await rig.settle()
        assert failures == [Status.RESOURCE_EXHAUSTED]
        assert rig.pool_runtime.streams[1].reset == 8
        assert rig.idle


@in_guest_mode
async def test_a_call_of_our_own_that_is_answered_with_very_many_messages_ends_at_the_second() -> None:
    async with open_rig() as rig:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_fail, rig, "INTERNAL.*more than one reply")
            await rig.settle()
            rig.pool_runtime.h2.send_headers(1, REPLY)
            rig.pool_runtime.h2.send_data(1, frame(b"told") * 3)
            await rig.settle()
        assert rig.pool_runtime.streams[1].reset == 8
        assert rig.idle


async def _fail(rig: Rig, words: str) -> None:
    with pytest.raises(RpcError, match=words):
        await rig.pool.unary("/a.B/Own", b"ask", timeout_s=30)
