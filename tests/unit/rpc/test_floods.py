"""Peers that make work for nothing lose their connection, and nobody else does."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from grpclib.const import Status
from h2.settings import SettingCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    HeadersFrame,
    PingFrame,
    PriorityFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from crirm.rpc import bridge
from crirm.rpc.calls import Refusal
from crirm.rpc.floods import Allowances, Kind
from crirm.rpc.frame_reader import MAX_BLOCK_BYTES
from crirm.rpc.grpc_wire import find
from crirm.rpc.held import CALL_BYTES
from tests.unit.rpc.rig import OK, REPLY, in_guest_mode, open_rig, request
from tests.unit.rpc.test_held import Part

if TYPE_CHECKING:
    from tests.unit.rpc.rig import Half, Rig

_MOST_FRAMES = 200_000
_AT_ONCE = 2000  # frames in one read


def wire(kind: type[Frame], stream_id: int, flags: tuple[str, ...] = (), **fields: object) -> bytes:
    made = kind(stream_id)
    for flag in flags:
        made.flags.add(flag)
    for name, value in fields.items():
        setattr(made, name, value)
    return made.serialize()


async def feed(rig: Rig, connection: Half, data: bytes) -> None:
    """Have crirm read *data*, and give it the turns of the loop that it wants."""
    connection.data_received(data)
    splice = rig.downstream.splice
    while not rig.downstream.lost and (splice.caller.reader.unread or splice.runtime.reader.unread):
        await bridge.call_asyncio(asyncio.sleep, 0)


FLOODS = [
    pytest.param(wire(PingFrame, 0, opaque_data=b"01234567"), id="pings"),
    pytest.param(wire(PingFrame, 0, ("ACK",), opaque_data=b"01234567"), id="answers to pings that nobody sent"),
    pytest.param(wire(SettingsFrame, 0, settings={4: 70_000}), id="settings"),
    pytest.param(wire(SettingsFrame, 0), id="empty settings"),
    pytest.param(wire(DataFrame, 1), id="empty data"),
    pytest.param(wire(PriorityFrame, 5, depends_on=3), id="priorities"),
    pytest.param(wire(RstStreamFrame, 1, error_code=8), id="resets of what has closed"),
    pytest.param(wire(WindowUpdateFrame, 1, window_increment=1), id="windows of what has closed"),
    pytest.param(b"\0\0\0\x77\0\0\0\0\1", id="frames that nobody knows"),
]


@pytest.mark.parametrize("flood", FLOODS)
@in_guest_mode
async def test_a_flood_ends_the_connection_of_the_caller(flood: bytes) -> None:
    async with open_rig() as rig:
        stream = await rig.call()
        if flood != b"\0\0\0\0\0\0\0\0\1":
            await rig.answer(stream)
        else:
            await rig.call(body=None)  # its stream has to be open
            flood = wire(DataFrame, 3)
        for _ in range(_MOST_FRAMES // _AT_ONCE):
            await feed(rig, rig.downstream, flood * _AT_ONCE)
            if rig.downstream.lost:
                break
        assert rig.downstream.lost
        assert b"\0\0\0\x0b" in rig.kubelet.transport.written[-50:], "GOAWAY says ENHANCE_YOUR_CALM"
        assert len(rig.kubelet.transport.written) < 1 << 20
        assert rig.beyond.transport.closed
        other = await rig.another_kubelet()
        call = await rig.call(peer=other)
        await rig.answer(call, peer=rig.others[-1])
        assert other.streams[call].headers == [REPLY, OK]


@in_guest_mode
async def test_calls_that_are_cancelled_at_once_end_the_connection() -> None:
    async with open_rig() as rig:
        for _ in range(_MOST_FRAMES):
            stream = rig.kubelet.h2.get_next_available_stream_id()
            rig.kubelet.h2.send_headers(stream, request())
            rig.kubelet.h2.reset_stream(stream, 8)
            if not stream % 501:
                await feed(rig, rig.downstream, rig.kubelet.h2.data_to_send())
            if rig.downstream.lost:
                break
        assert rig.downstream.lost
        await rig.settle()
        assert not rig.pool_runtime.other.lost
        assert rig.idle


@in_guest_mode
async def test_a_header_block_without_end_ends_the_connection() -> None:
    async with open_rig() as rig:
        await feed(rig, rig.downstream, wire(HeadersFrame, 1, data=b""))
        while not rig.downstream.lost:
            await feed(rig, rig.downstream, wire(ContinuationFrame, 1, data=b"") * 1000)
        assert rig.downstream.splice.caller.reader.block_bytes == 0
        assert rig.kubelet.transport.closed


@pytest.mark.parametrize("of_runtime", [pytest.param(False, id="of a caller"), pytest.param(True, id="of the runtime")])
@in_guest_mode
async def test_a_header_block_of_megabytes_ends_the_connection(*, of_runtime: bool) -> None:
    async with open_rig() as rig:
        stream = await rig.call()
        peer = rig.beyond if of_runtime else rig.kubelet
        await feed(rig, peer.other, wire(HeadersFrame, stream + (0 if of_runtime else 2), data=b""))
        piece = wire(ContinuationFrame, stream + (0 if of_runtime else 2), data=b"x" * (1 << 14)) * 64
        for _ in range(MAX_BLOCK_BYTES // (1 << 20) + 1):
            await feed(rig, peer.other, piece)
        assert peer.transport.closed
        assert rig.idle


@in_guest_mode
async def test_a_runtime_that_floods_is_left() -> None:
    async with open_rig() as rig:
        stream = await rig.call()
        while not rig.beyond.transport.closed:
            await feed(rig, rig.beyond.other, wire(PingFrame, 0, opaque_data=b"01234567") * _AT_ONCE)
        rig.kubelet.exchange(1 << 16)
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"14"
        assert rig.idle


@in_guest_mode
async def test_a_runtime_that_floods_the_pool_is_left() -> None:
    async with open_rig() as rig:
        while not rig.pool_runtime.other.lost:
            await feed(rig, rig.pool_runtime.other, wire(PingFrame, 0, opaque_data=b"01234567") * _AT_ONCE)
        assert rig.pool.lost.is_set()


@in_guest_mode
async def test_calls_do_not_pile_up_for_a_caller_that_does_not_read() -> None:
    async with open_rig() as rig:
        rig.refusal = Refusal(Status.UNAVAILABLE, "stopping")
        rig.beyond.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 10_000})
        await rig.settle()
        rig.downstream.pause_writing()
        for _ in range(2 * Kind.UNREAD.most):
            stream = rig.kubelet.h2.get_next_available_stream_id()
            rig.kubelet.h2.send_headers(stream, request(), end_stream=True)
            await feed(rig, rig.downstream, rig.kubelet.h2.data_to_send())
            if rig.downstream.lost:
                break
        assert rig.downstream.lost
        assert not rig.pool_runtime.other.lost


@in_guest_mode
async def test_a_reply_waits_for_a_caller_that_does_not_read() -> None:
    async with open_rig() as rig:
        stream = await rig.call()
        rig.downstream.pause_writing()
        await rig.answer(stream)
        assert not rig.kubelet.streams[stream].headers
        assert not rig.beyond.transport.reading
        rig.downstream.resume_writing()
        await rig.settle()
        assert rig.kubelet.streams[stream].headers == [REPLY, OK]
        assert rig.idle


@in_guest_mode
async def test_a_request_waits_for_a_runtime_that_does_not_read() -> None:
    async with open_rig() as rig:
        rig.beyond.other.pause_writing()
        assert not rig.kubelet.transport.reading
        stream = await rig.call()
        assert not rig.beyond.streams
        rig.beyond.other.resume_writing()
        await rig.settle()
        assert rig.beyond.streams[stream].ended


@in_guest_mode
async def test_very_many_held_calls_at_once_are_bounded() -> None:
    async with open_rig() as rig:
        rig.handler = Part(patient=True)
        rig.beyond.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1000})
        rig.limit(most_bytes=1 << 30, most_of_one_bytes=200 * CALL_BYTES)
        await rig.settle()
        streams = [await rig.call() for _ in range(400)]
        refused = [find(rig.kubelet.streams[stream].headers[0], b"grpc-status") for stream in streams[200:]]
        assert refused == [b"8"] * 200
        assert 190 < len(rig.server.calls) <= 200
        assert not rig.downstream.lost


@in_guest_mode
async def test_very_many_calls_at_once_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crirm.rpc.server.MOST_CALLS", 20)
    async with open_rig() as rig:
        streams = [await rig.call() for _ in range(30)]
        assert [find(rig.kubelet.streams[stream].headers[0], b"grpc-status") for stream in streams[20:]] == [b"8"] * 10
        assert rig.beyond.order == streams[:20]
        assert not rig.downstream.lost


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.called)
def test_an_allowance_comes_back_with_time(kind: Kind) -> None:
    allowances = Allowances()
    assert all(allowances.spend(kind, 0.0) for _ in range(kind.most))
    assert not allowances.spend(kind, 0.0)
    assert allowances.spend(kind, 10.0)
