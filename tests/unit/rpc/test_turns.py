"""A read that holds very many frames takes several turns of the loop."""

from __future__ import annotations

import asyncio

import pytest

from crirm.rpc import bridge
from crirm.rpc.frame_reader import FRAMES_PER_TURN
from crirm.rpc.grpc_wire import frame
from tests.unit.rpc.rig import Rig, in_guest_mode, open_rig, request

CALLS = FRAMES_PER_TURN  # of two frames each


async def begin_many(rig: Rig) -> None:
    """Let the kubelet begin many calls, and crirm read them all at once."""
    rig.kubelet.h2.remote_settings[3] = rig.beyond.h2.local_settings[3] = CALLS  # of streams
    for _ in range(CALLS):
        stream_id = rig.kubelet.h2.get_next_available_stream_id()
        rig.kubelet.h2.send_headers(stream_id, request())
        rig.kubelet.h2.send_data(stream_id, frame(b"hi"), end_stream=True)
    rig.downstream.data_received(rig.kubelet.h2.data_to_send())


@in_guest_mode
async def test_the_first_calls_go_out_before_the_last_are_looked_at() -> None:
    async with open_rig() as rig:
        await begin_many(rig)
        rig.beyond.exchange(1 << 16)
        assert 0 < len(rig.beyond.order) < CALLS
        assert not rig.kubelet.transport.reading


@in_guest_mode
async def test_all_of_it_is_looked_at_in_later_turns() -> None:
    async with open_rig() as rig:
        await begin_many(rig)
        for _ in range(CALLS):
            await bridge.call_asyncio(asyncio.sleep, 0)
        assert not rig.downstream.splice.caller.reader.unread
        rig.beyond.exchange(1 << 16)
        assert len(rig.beyond.order) == CALLS
        assert rig.kubelet.transport.reading


@in_guest_mode
async def test_a_connection_that_is_lost_meanwhile_is_left_alone() -> None:
    async with open_rig() as rig:
        await begin_many(rig)
        rig.kubelet.vanish()
        await rig.settle()
        assert rig.idle


@in_guest_mode
async def test_a_fault_of_ours_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a later turn nobody but us would: the connection would stay, its reading paused."""
    async with open_rig() as rig:
        await begin_many(rig)

        def fail(*_args: object) -> None:
            raise RuntimeError("a bug")

        monkeypatch.setattr(rig.server, "begin", fail)
        with pytest.raises(RuntimeError, match="a bug"):
            rig.downstream.work()
        assert rig.downstream.lost
        assert rig.kubelet.transport.closed
        assert rig.beyond.transport.closed
