"""Headers, metadata and statuses in any length."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
from crirm.rpc.header_cache import MAX_HEADERS
from grpclib.const import Status
from h2.settings import SettingCodes

from crirm.rpc.grpc_wire import find
from tests.unit.rpc.rig import OK, REPLY, Rig, on_loop


@pytest.mark.parametrize("trailers", [pytest.param(False, id="alone"), pytest.param(True, id="as trailers")])
@on_loop
async def test_headers_beyond_the_limit_cost_that_call_only(*, trailers: bool) -> None:
    rig = Rig()
    stream, other = rig.call(), rig.call()
    if trailers:
        rig.runtime.h2.send_headers(1, REPLY)
    flood = [(b"x-%d" % number, b"") for number in range(MAX_HEADERS + 1)]
    rig.runtime.h2.send_headers(1, [*([] if trailers else REPLY), *flood], end_stream=True)
    rig.settle()
    await _turns(rig)
    assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"13"
    assert b"headers" in (find(rig.kubelet.streams[stream].headers[-1], b"grpc-message") or b"")
    rig.answer(3)
    assert rig.kubelet.streams[other].headers == [REPLY, OK]
    assert rig.idle


@on_loop
async def test_metadata_beyond_the_limit_costs_that_call_only() -> None:
    rig = Rig()
    stream = rig.call(*((b"x-%d" % number, b"") for number in range(MAX_HEADERS + 1)))
    assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"8"
    other = rig.call()
    assert rig.runtime.order == [1]
    rig.answer(1)
    assert rig.kubelet.streams[other].headers == [REPLY, OK]
    assert rig.idle


@on_loop
async def test_a_long_message_arrives_whole_and_is_quoted_in_part() -> None:
    rig = Rig()
    stream = rig.call()
    message = b"m" * 2_000_000
    rig.kubelet.h2.decoder.max_header_list_size = 1 << 24
    rig.runtime.h2.encoder.encode = partial(rig.runtime.h2.encoder.encode, huffman=False)  # type: ignore[method-assign]
    rig.runtime.h2.send_headers(1, [*REPLY, (b"grpc-status", b"2"), (b"grpc-message", message)], end_stream=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("h2.frame_buffer.CONTINUATION_BACKLOG", 1000)  # of the kubelet, which is h2 here
        rig.settle()
    assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-message") == message
    assert len(rig.outcomes[0][1].message) < 250


@on_loop
async def test_a_status_that_is_no_number_passes_and_breaks_nothing() -> None:
    rig = Rig()
    stream, other = rig.call(), rig.call()
    odd = [(b"grpc-status", b"1" * 5000)]
    rig.answer(1, trailers=odd)
    assert odd == rig.kubelet.streams[stream].headers[-1]
    assert rig.outcomes[0][1].status == Status.UNKNOWN.value
    rig.answer(3)
    assert rig.kubelet.streams[other].headers[-1] == OK


async def _turns(rig: Rig) -> None:
    for _ in range(100):
        await asyncio.sleep(0)
    assert (rig.upstream.behind, rig.downstream.behind) == (False, False)
    rig.settle()


@on_loop
async def test_metadata_that_the_runtime_does_not_take_costs_that_call_only() -> None:
    rig = Rig()
    rig.runtime.h2.update_settings({SettingCodes.MAX_HEADER_LIST_SIZE: 10_000})
    rig.settle()
    stream, other = rig.call((b"x", b"y" * 20_000)), rig.call()
    assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"8"
    rig.answer(1)
    assert rig.kubelet.streams[other].headers == [REPLY, OK]
    assert rig.idle
