"""Calls whose reader is slower than their sender: flow control, and what waits in crirm meanwhile."""

from __future__ import annotations

import pytest

from crirm.rpc.budget import Account, Budget
from crirm.rpc.grpc_wire import find
from crirm.rpc.http2 import STREAM_WINDOW_BYTES
from tests.unit.rpc.rig import OK, REPLY, VERSION, Rig, on_loop


@on_loop
async def test_a_slow_reader_stops_the_sender_at_one_window() -> None:
    rig = Rig(kubelet_acknowledges=False)
    stream = rig.call()
    window = rig.kubelet.h2.remote_flow_control_window(stream)
    rig.runtime.h2.send_headers(1, REPLY)
    rig.settle()
    big = bytes(range(256)) * 4096 * 3
    sent = 0
    while (room := rig.runtime.h2.local_flow_control_window(1)) > 0:
        piece = big[sent : sent + min(room, rig.runtime.h2.max_outbound_frame_size)]
        rig.runtime.h2.send_data(1, piece)
        sent += len(piece)
        rig.settle()
    assert sent <= STREAM_WINDOW_BYTES + window
    assert rig.kubelet.streams[stream].body == big[:window]
    other = rig.call()
    rig.answer(3)
    assert not rig.kubelet.streams[other].body, "the kubelet's own connection window is shut"
    assert find(rig.runtime.streams[3].headers[0], b":path") == VERSION, "but calls still reach the runtime"
    while len(rig.kubelet.streams[stream].body) < sent:
        rig.kubelet.h2.acknowledge_received_data(window, stream)
        rig.settle()
    assert big[:sent] == rig.kubelet.streams[stream].body


@on_loop
async def test_trailers_wait_for_the_bytes_before_them() -> None:
    rig = Rig(kubelet_acknowledges=False)
    stream = rig.call()
    window = rig.kubelet.h2.remote_flow_control_window(stream)
    rig.answer(1, body=b"x" * (window + 10))
    assert not rig.kubelet.streams[stream].ended
    rig.kubelet.h2.acknowledge_received_data(window, stream)
    rig.settle()
    assert (window + 10, True) == (len(rig.kubelet.streams[stream].body), rig.kubelet.streams[stream].ended)
    assert rig.idle


@pytest.mark.parametrize("vanishes", [pytest.param(False, id="resets the stream"), pytest.param(True, id="vanishes")])
@on_loop
async def test_a_whole_reply_reaches_a_slow_caller_whatever_the_runtime_does_next(vanishes: bool) -> None:
    rig = Rig(kubelet_acknowledges=False)
    stream = rig.call(body=None)
    window = rig.kubelet.h2.remote_flow_control_window(stream)
    rig.answer(1, body=b"x" * (window + 10))
    if vanishes:
        rig.upstream.connection_lost(None)
    else:
        rig.runtime.h2.reset_stream(1, 0)
    rig.settle()
    rig.kubelet.h2.acknowledge_received_data(window, stream)
    rig.settle()
    seen = rig.kubelet.streams[stream]
    assert (window + 10, OK) == (len(seen.body), seen.headers[-1])
    assert rig.idle


@pytest.mark.parametrize("big", [pytest.param("request", id="request"), pytest.param("reply", id="reply")])
@on_loop
async def test_what_is_larger_than_a_window_passes_to_its_end(big: str) -> None:
    """Window is given back for what was sent on; without that, the sender stops after the first."""
    rig = Rig()
    body = bytes(range(256)) * (3 << 12)
    stream = rig.call(body=body if big == "request" else b"ask")
    rig.answer(1, body=body if big == "reply" else b"told")
    seen = rig.runtime.streams[1].body if big == "request" else rig.kubelet.streams[stream].body
    assert body == seen
    assert rig.idle


@on_loop
async def test_what_waits_for_a_slow_caller_is_bounded_and_others_keep_theirs() -> None:
    rig = Rig(kubelet_acknowledges=False)
    rig.server.budget = Budget(most_bytes=4 << 20, most_of_one_bytes=3 << 20)
    rig.downstream.account = Account(rig.server.budget)
    streams = [rig.call() for _ in range(6)]
    for number in range(len(streams)):
        rig.answer(2 * number + 1, body=b"x" * (1 << 20))
    assert rig.server.budget.held_bytes <= 3 << 20
    ends = [rig.kubelet.streams[stream] for stream in streams]
    refused = [find(end.headers[-1], b"grpc-status") for end in ends if end.ended]
    assert refused
    assert set(refused) == {b"8"}
    rig.downstream.connection_lost(None)
    rig.settle()
    assert rig.server.budget.held_bytes == 0
    assert not rig.server.budget.accounts
