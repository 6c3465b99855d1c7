"""Headers, metadata and statuses in any length."""

from __future__ import annotations

from functools import partial

import pytest
from grpclib.const import Status
from h2.settings import SettingCodes

from crirm.rpc.grpc_wire import find
from crirm.rpc.header_blocks import MAX_HEADERS
from tests.unit.rpc.rig import OK, REPLY, Rig, forwarding, in_guest_mode, open_rig


@in_guest_mode
async def test_metadata_beyond_the_limit_costs_that_call_only() -> None:
    async with open_rig() as rig:
        stream = await rig.call(*((b"x-%d" % number, b"") for number in range(MAX_HEADERS + 1)))
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"8"
        other = await rig.call()
        assert rig.beyond.order == [other]
        await rig.answer(other)
        assert rig.kubelet.streams[other].headers == [REPLY, OK]
        assert rig.idle


@in_guest_mode
async def test_long_metadata_passes_and_what_comes_behind_keeps_its_order() -> None:
    async with open_rig() as rig:
        first = await rig.call(*((b"x-%d" % number, b"v" * 20) for number in range(1000)), body=None)
        await rig.send(rig.kubelet, first, b"body", end=True)
        second = await rig.call()
        assert rig.beyond.order == [first, second]
        assert find(rig.beyond.streams[first].headers[0], b"x-999") == b"v" * 20
        assert rig.beyond.streams[first].body == b"body"


def long_message(rig: Rig) -> bytes:
    """Let all h2 connections take, and send, a message of 2 MB, and return it."""
    rig.kubelet.h2.decoder.max_header_list_size = 1 << 24
    for peer in (rig.beyond, *rig.others):
        peer.h2.encoder.encode = partial(peer.h2.encoder.encode, huffman=False)  # type: ignore[method-assign]
    return b"m" * 2_000_000


@in_guest_mode
async def test_a_long_message_arrives_whole_and_is_quoted_in_part() -> None:
    async with open_rig() as rig:
        stream, message = await rig.call(), long_message(rig)
        alone = [*REPLY, (b"grpc-status", b"2"), (b"grpc-message", message)]
        rig.beyond.h2.send_headers(stream, alone, end_stream=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("h2.frame_buffer.CONTINUATION_BACKLOG", 1000)  # of the kubelet, which is h2 here
            await rig.settle()
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-message") == message
        assert len(rig.outcomes[0][1].message) < 250
        assert rig.idle


@in_guest_mode
async def test_a_long_message_to_a_held_call_arrives_whole() -> None:
    """h2's own encoder takes quadratic time for it."""
    async with open_rig() as rig:
        rig.handler = forwarding
        stream, message = await rig.call(), long_message(rig)[:900_000]
        alone = [*REPLY, (b"grpc-status", b"2"), (b"grpc-message", message)]
        rig.pool_runtime.h2.send_headers(1, alone, end_stream=True)
        await rig.settle()
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-message") == message
        assert rig.idle


@in_guest_mode
async def test_a_reply_to_a_held_call_with_too_many_headers_costs_that_call_only() -> None:
    async with open_rig() as rig:
        rig.handler = forwarding
        stream, other = await rig.call(), await rig.call()
        flood = [(b"x-%d" % number, b"") for number in range(MAX_HEADERS + 1)]
        rig.pool_runtime.h2.send_headers(1, [*REPLY, *flood], end_stream=True)
        await rig.settle()
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"13"
        assert b"headers" in (find(rig.kubelet.streams[stream].headers[-1], b"grpc-message") or b"")
        await rig.answer(3, peer=rig.pool_runtime)
        assert rig.kubelet.streams[other].headers == [REPLY, OK]
        assert rig.idle


@in_guest_mode
async def test_a_status_that_is_no_number_passes_and_breaks_nothing() -> None:
    async with open_rig() as rig:
        stream, other = await rig.call(), await rig.call()
        odd = [(b"grpc-status", b"1" * 5000)]
        await rig.answer(stream, trailers=odd)
        assert odd == rig.kubelet.streams[stream].headers[-1]
        assert rig.outcomes[0][1].status == Status.UNKNOWN.value
        await rig.answer(other)
        assert rig.kubelet.streams[other].headers[-1] == OK


@in_guest_mode
async def test_metadata_that_the_runtime_does_not_take_costs_that_held_call_only() -> None:
    async with open_rig() as rig:
        rig.handler = forwarding
        rig.pool_runtime.h2.update_settings({SettingCodes.MAX_HEADER_LIST_SIZE: 10_000})
        await rig.settle()
        stream, other = await rig.call((b"x", b"y" * 20_000)), await rig.call()
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"8"
        await rig.answer(1, peer=rig.pool_runtime)
        assert rig.kubelet.streams[other].headers == [REPLY, OK]
        assert rig.idle
