"""Calls that pass from a caller to the runtime and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.rpc.calls import Answer
from crirm.rpc.grpc_wire import find, frame
from tests.unit.rpc.rig import OK, REPLY, VERSION, in_guest_mode, open_rig, request

if TYPE_CHECKING:
    from crirm.rpc.calls import HeldCall

PIECES = pytest.mark.parametrize(
    "piece_bytes", [pytest.param(1, id="byte by byte"), pytest.param(1 << 16, id="in one read")]
)


@PIECES
@in_guest_mode
async def test_request_and_reply_pass_as_they_are(piece_bytes: int) -> None:
    async with open_rig(piece_bytes=piece_bytes) as rig:
        stream = await rig.call((b"traceparent", b"00-1"), (b"x-bin-bin", b"AAE="))
        assert rig.runtime is not None
        assert sorted(rig.runtime.streams[stream].headers[0]) == sorted(
            request(VERSION, (b"traceparent", b"00-1"), (b"x-bin-bin", b"AAE="))
        )
        assert rig.runtime.streams[stream].body == frame(b"hi")
        assert rig.runtime.streams[stream].ended
        trailers = [*OK, (b"x-cost", b"3")]
        await rig.answer(stream, trailers=trailers)
        assert rig.kubelet.streams[stream].headers == [REPLY, trailers]
        assert rig.kubelet.streams[stream].body == frame(b"yo")
        assert rig.kubelet.streams[stream].ended
        assert [(path, outcome.status) for path, outcome in rig.outcomes] == [(VERSION, 0)]
        assert rig.idle


@PIECES
@in_guest_mode
async def test_a_held_call_may_be_edited_both_ways_and_all_else_passes(piece_bytes: int) -> None:
    seen: list[bytes | Answer] = []

    async def handler(call: HeldCall) -> bytes:
        seen.append(call.message)
        seen.append(await call.forward(b"edited request"))
        return b"edited reply"

    async with open_rig(piece_bytes=piece_bytes) as rig:
        rig.handler = handler
        stream = await rig.call((b"traceparent", b"00-1"))
        assert frame(b"edited request") == rig.pool_runtime.streams[1].body
        assert find(rig.pool_runtime.streams[1].headers[0], b"traceparent") == b"00-1"
        trailers = [*OK, (b"x-cost", b"3")]
        await rig.answer(1, trailers=trailers, peer=rig.pool_runtime)
        assert seen == [b"hi", Answer(0, b"yo")]
        assert rig.kubelet.streams[stream].headers == [REPLY, trailers]
        assert rig.kubelet.streams[stream].body == frame(b"edited reply")
        assert [outcome.status for _, outcome in rig.outcomes] == [0]
        assert rig.idle
