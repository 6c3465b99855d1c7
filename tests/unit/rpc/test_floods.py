"""Peers that make work for nothing lose their connection, and nobody else does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
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

from crirm.rpc.budget import Account, Budget
from crirm.rpc.floods import Allowances, Kind
from crirm.rpc.grpc_wire import find, frame
from crirm.rpc.server import CALL_BYTES
from tests.unit.rpc.rig import OK, REPLY, VERSION, Peer, Rig, on_loop, request

if TYPE_CHECKING:
    from crirm.rpc.http2 import Http2Connection

_MOST_FRAMES = 200_000
_AT_ONCE = 2000  # frames in one read


def wire(kind: type[Frame], stream_id: int, flags: tuple[str, ...] = (), **fields: object) -> bytes:
    made = kind(stream_id)
    for flag in flags:
        made.flags.add(flag)
    for name, value in fields.items():
        setattr(made, name, value)
    return made.serialize()


def feed(connection: Http2Connection, data: bytes) -> None:
    connection.data_received(data)
    while connection.behind and not connection.lost:
        connection.handle_some()


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
@on_loop
async def test_a_flood_ends_the_connection_of_the_caller(flood: bytes) -> None:
    rig = Rig()
    rig.call()
    if flood != b"\0\0\0\0\0\0\0\0\1":
        rig.answer(1)
    else:
        rig.kubelet.h2.send_headers(3, request())  # its stream has to be open
        rig.settle()
        flood = wire(DataFrame, 3)
    for _ in range(_MOST_FRAMES // _AT_ONCE):
        feed(rig.downstream, flood * _AT_ONCE)
        if rig.downstream.lost:
            break
    assert rig.downstream.lost
    assert b"\0\0\0\x0b" in rig.kubelet.transport.written[-50:], "GOAWAY says ENHANCE_YOUR_CALM"
    assert len(rig.kubelet.transport.written) < 1 << 20
    assert not rig.upstream.lost
    other = Peer(rig.server.new_connection(), client_side=True)
    other.h2.send_headers(1, request())
    other.h2.send_data(1, frame(b"hi"), end_stream=True)
    other.exchange(1 << 16)
    rig.settle()
    rig.answer(rig.runtime.order[-1])
    other.exchange(1 << 16)
    assert other.streams[1].headers == [REPLY, OK]


@on_loop
async def test_calls_that_are_cancelled_at_once_end_the_connection() -> None:
    rig = Rig()
    for _ in range(_MOST_FRAMES):
        stream = rig.kubelet.h2.get_next_available_stream_id()
        rig.kubelet.h2.send_headers(stream, request(VERSION))
        rig.kubelet.h2.reset_stream(stream, 8)
        if not stream % 501:
            feed(rig.downstream, rig.kubelet.h2.data_to_send())
            rig.runtime.exchange(1 << 16)
        if rig.downstream.lost:
            break
    assert rig.downstream.lost
    rig.settle()
    assert not rig.upstream.lost
    assert rig.idle


@on_loop
async def test_a_header_block_without_end_ends_the_connection() -> None:
    rig = Rig()
    feed(rig.downstream, rig.kubelet.h2.data_to_send() + wire(HeadersFrame, 1, data=b""))
    feed(rig.downstream, wire(ContinuationFrame, 1, data=b"") * 1000)
    assert rig.downstream.lost
    assert not rig.upstream.lost


@on_loop
async def test_a_runtime_that_floods_is_left() -> None:
    rig = Rig()
    rig.call()
    while not rig.upstream.lost:
        feed(rig.upstream, wire(PingFrame, 0, opaque_data=b"01234567") * _AT_ONCE)
    assert rig.pool.lost.is_set()
    assert rig.idle or not rig.upstream.legs


@on_loop
async def test_answers_do_not_pile_up_for_a_caller_that_does_not_read() -> None:
    rig = Rig()
    rig.downstream.pause_writing()
    written = 0
    for _ in range(1000):
        rig.kubelet.h2.ping(b"01234567")
        rig.call()
        written = max(written, len(rig.kubelet.transport.written))
        if rig.downstream.lost:
            break
    assert rig.downstream.lost
    assert not rig.upstream.lost


@on_loop
async def test_a_reply_waits_for_a_caller_that_does_not_read() -> None:
    rig = Rig()
    stream = rig.call()
    rig.downstream.pause_writing()
    rig.answer(1)
    assert not rig.kubelet.streams[stream].headers
    rig.downstream.resume_writing()
    rig.settle()
    assert rig.kubelet.streams[stream].headers == [REPLY, OK]
    assert rig.idle


@on_loop
async def test_very_many_calls_at_once_are_bounded() -> None:
    rig = Rig()
    rig.server.budget = Budget(most_of_one_bytes=200 * CALL_BYTES)
    rig.downstream.account = Account(rig.server.budget)
    streams = [rig.call() for _ in range(400)]
    refused = [find(rig.kubelet.streams[stream].headers[0], b"grpc-status") for stream in streams[200:]]
    assert refused == [b"8"] * 200
    assert 190 < len(rig.server.calls) <= 200
    assert not rig.downstream.lost


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.called)
def test_an_allowance_comes_back_with_time(kind: Kind) -> None:
    allowances = Allowances()
    assert all(allowances.spend(kind, 0.0) for _ in range(kind.most))
    assert not allowances.spend(kind, 0.0)
    assert allowances.spend(kind, 10.0)
