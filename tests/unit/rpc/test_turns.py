"""A read that holds very many frames takes several turns of the loop."""

from __future__ import annotations

import asyncio

import pytest

from crirm.rpc.grpc_wire import frame
from crirm.rpc.http2 import EVENTS_PER_TURN
from tests.unit.rpc.rig import VERSION, Rig, on_loop, request

CALLS = EVENTS_PER_TURN  # of two frames each


def begin_many(rig: Rig) -> None:
    """Let the kubelet begin many calls, and crirm read them all at once."""
    for _ in range(CALLS):
        stream_id = rig.kubelet.h2.get_next_available_stream_id()
        rig.kubelet.h2.send_headers(stream_id, request(VERSION))
        rig.kubelet.h2.send_data(stream_id, frame(b"hi"), end_stream=True)
    rig.downstream.data_received(rig.kubelet.h2.data_to_send())


@on_loop
async def test_the_first_calls_go_out_before_the_last_are_looked_at() -> None:
    rig = Rig()
    begin_many(rig)
    rig.runtime.exchange(1 << 16)
    assert 0 < len(rig.runtime.order) < CALLS
    assert not rig.kubelet.transport.reading


@on_loop
async def test_all_of_it_is_handled_in_later_turns() -> None:
    rig = Rig()
    begin_many(rig)
    for _ in range(CALLS):
        await asyncio.sleep(0)
    assert not rig.downstream.behind
    rig.runtime.exchange(1 << 16)
    assert len(rig.runtime.order) == CALLS
    assert rig.kubelet.transport.reading


@on_loop
async def test_a_connection_that_is_lost_meanwhile_is_left_alone() -> None:
    rig = Rig()
    begin_many(rig)
    rig.downstream.connection_lost(None)
    await asyncio.sleep(0)
    rig.settle()
    assert rig.idle


@on_loop
async def test_a_fault_of_ours_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a later turn nobody but us would: the connection would stay, its reading paused."""
    rig = Rig()
    begin_many(rig)

    def fail(*_args: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(rig.server, "begin", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        rig.downstream.handle_some()
    assert rig.downstream.lost
    assert rig.kubelet.transport.closed
