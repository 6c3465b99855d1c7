"""Pings of a caller: grpc-go sends one for each reply that it gets, and grpc-go servers count those that they get."""

from __future__ import annotations

import pytest

from crirm.rpc import frames as h2
from tests.unit.rpc.rig import Rig, forwarding, in_guest_mode, open_rig

DATA = b"measures"
ANSWER = h2.frame(h2.PING, h2.ACK, 0, DATA)


async def ping(rig: Rig, data: bytes = DATA) -> tuple[bytes, bytes]:
    """Let the kubelet send a ping, and return what that makes crirm say to it and to the runtime."""
    rig.downstream.data_received(h2.frame(h2.PING, 0, 0, data))
    return rig.kubelet.transport.take(), rig.beyond.transport.take()


@in_guest_mode
async def test_a_ping_after_the_reply_to_a_held_call_does_not_reach_the_runtime_which_would_take_offence() -> None:
    async with open_rig() as rig:
        rig.handler = forwarding
        stream = await rig.call()
        await rig.answer(1, peer=rig.pool_runtime)
        assert rig.kubelet.streams[stream].ended
        assert await ping(rig) == (ANSWER, b"")


@in_guest_mode
async def test_the_answer_to_a_ping_does_not_interrupt_a_header_block() -> None:
    async with open_rig() as rig:
        stream = await rig.call()
        begun = h2.frame(h2.HEADERS, h2.END_STREAM, stream, b"\x88")
        rig.beyond.other.data_received(begun)
        assert await ping(rig) == (begun, b"")
        ended = h2.frame(h2.CONTINUATION, h2.END_HEADERS, stream, b"")
        rig.beyond.other.data_received(ended)
        assert rig.kubelet.transport.take() == ended + ANSWER


@in_guest_mode
async def test_a_ping_of_the_runtime_and_its_answer_pass() -> None:
    async with open_rig() as rig:
        rig.beyond.h2.ping(DATA)
        rig.beyond.exchange(1 << 16)
        asked = rig.kubelet.transport.take()
        assert asked == h2.frame(h2.PING, 0, 0, DATA)
        rig.downstream.data_received(ANSWER)
        assert rig.beyond.transport.take() == ANSWER


@pytest.mark.parametrize("data", [pytest.param(b"", id="nothing"), pytest.param(b"measure", id="7 bytes")])
@in_guest_mode
async def test_a_ping_of_another_size_than_8_bytes_ends_the_connection(data: bytes) -> None:
    async with open_rig() as rig:
        said, _ = await ping(rig, data)
        assert said.endswith(b"\0\0\0\x06"), "GOAWAY says FRAME_SIZE_ERROR"
        assert rig.downstream.lost
