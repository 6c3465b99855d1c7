"""Calls that somebody takes part in."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

import pytest
from grpclib.const import Status

from crirm.rpc.client import Pool
from crirm.rpc.grpc_wire import find, frame
from crirm.rpc.held import Answer
from tests.unit.rpc.part import Part, rig_with
from tests.unit.rpc.rig import OK, REPLY, on_loop

if TYPE_CHECKING:
    from crirm.rpc.held import Held


@pytest.mark.parametrize("piece_bytes", [pytest.param(1, id="byte by byte"), pytest.param(1 << 16, id="whole")])
@on_loop
async def test_both_messages_may_be_edited_and_all_else_passes(piece_bytes: int) -> None:
    part = Part(forwarded=b"edited request", replied=b"edited reply")
    rig = rig_with(part, piece_bytes)
    stream = rig.call((b"traceparent", b"00-1"))
    assert frame(b"edited request") == rig.runtime.streams[1].body
    assert find(rig.runtime.streams[1].headers[0], b"traceparent") == b"00-1"
    trailers = [*OK, (b"x-cost", b"3")]
    rig.answer(1, trailers=trailers)
    assert [b"hi", Answer(0, b"yo")] == part.seen
    assert ([REPLY, trailers], frame(b"edited reply")) == (
        rig.kubelet.streams[stream].headers,
        rig.kubelet.streams[stream].body,
    )
    assert rig.idle


@on_loop
async def test_an_unedited_reply_passes_byte_for_byte() -> None:
    packed = gzip.compress(b"yo")
    body = b"\1" + len(packed).to_bytes(4, "big") + packed
    part = Part()
    rig = rig_with(part)
    stream = rig.call()
    rig.runtime.h2.send_headers(1, [*REPLY, (b"grpc-encoding", b"gzip")])
    rig.runtime.h2.send_data(1, body)
    rig.runtime.h2.send_headers(1, OK, end_stream=True)
    rig.settle()
    assert Answer(0, b"yo") == part.seen[-1]
    assert body == rig.kubelet.streams[stream].body


@on_loop
async def test_a_decision_may_come_later() -> None:
    part = Part(patient=True)
    rig = rig_with(part)
    stream = rig.call()
    assert not rig.runtime.streams
    assert part.held is not None
    part.held.forward(b"late")
    rig.settle()
    rig.answer(1)
    assert rig.kubelet.streams[stream].ended


@on_loop
async def test_a_refusal_never_reaches_the_runtime() -> None:
    part = Part(patient=True)
    rig = rig_with(part)
    stream = rig.call()
    assert part.held is not None
    part.held.refuse(Status.RESOURCE_EXHAUSTED, "no room for 4 CPUs")
    part.held.forward(b"too late")
    rig.settle()
    assert find(rig.kubelet.streams[stream].headers[0], b"grpc-status") == b"8"
    assert not rig.runtime.streams
    assert part.seen == [b"hi"]
    assert rig.idle


@on_loop
async def test_a_refusal_of_the_runtime_is_seen_and_passes() -> None:
    part = Part()
    rig = rig_with(part)
    stream = rig.call()
    alone = [*REPLY, (b"grpc-status", b"5"), (b"grpc-message", b"gone"), (b"grpc-status-details-bin", b"CAUSAA")]
    rig.runtime.h2.send_headers(1, alone, end_stream=True)
    rig.settle()
    assert Answer(5, None) == part.seen[-1]
    assert [alone] == rig.kubelet.streams[stream].headers


@on_loop
async def test_a_caller_that_leaves_before_the_decision_abandons_the_call() -> None:
    part = Part(patient=True)
    rig = rig_with(part)
    stream = rig.call()
    rig.kubelet.h2.reset_stream(stream, 8)
    rig.settle()
    assert part.seen == [b"hi", "abandoned"]
    assert rig.idle


@on_loop
async def test_a_forwarded_call_is_seen_through_when_the_caller_leaves() -> None:
    part = Part()
    rig = rig_with(part)
    stream = rig.call()
    rig.kubelet.h2.reset_stream(stream, 8)
    rig.settle()
    assert rig.runtime.streams[1].reset is None, "the runtime goes on"
    rig.answer(1)
    assert Answer(0, b"yo") == part.seen[-1]
    assert rig.idle


@pytest.mark.parametrize("alone", [pytest.param(False, id="caller waits"), pytest.param(True, id="caller has left")])
@on_loop
async def test_a_runtime_that_vanishes_leaves_the_outcome_open(alone: bool) -> None:
    part = Part()
    rig = rig_with(part)
    stream = rig.call()
    if alone:
        rig.kubelet.h2.reset_stream(stream, 8)
        rig.settle()
    rig.upstream.connection_lost(None)
    rig.settle()
    assert Answer(14, None, certain=False) == part.seen[-1]
    assert part.seen.count(part.seen[-1]) == 1
    assert rig.idle


@on_loop
async def test_a_runtime_that_is_too_slow_leaves_the_outcome_open() -> None:
    part = Part()
    rig = rig_with(part)
    rig.call((b"grpc-timeout", b"1m"))
    await asyncio.wait_for(rig.finished.wait(), 5)
    rig.settle()
    assert Answer(4, None, certain=False) == part.seen[-1]
    assert rig.runtime.streams[1].reset == 8


@on_loop
async def test_a_unary_call_with_two_messages_is_refused() -> None:
    part = Part()
    rig = rig_with(part)
    stream = rig.call(body=frame(b"one") + frame(b"two"))
    assert find(rig.kubelet.streams[stream].headers[0], b"grpc-status") == b"13"
    assert not part.seen


@on_loop
async def test_a_fault_in_deciding_refuses_the_call_and_no_other() -> None:
    class Broken(Part):
        def request(self, message: bytes, held: Held) -> None:
            raise ZeroDivisionError(message, held)

    rig = rig_with(Broken())
    stream = rig.call()
    assert find(rig.kubelet.streams[stream].headers[0], b"grpc-status") == b"13"
    rig.interceptor = None
    other = rig.call()
    rig.answer(1)
    assert rig.kubelet.streams[other].ended
    assert rig.idle


@on_loop
async def test_a_broken_interceptor_does_not_break_the_reply() -> None:
    class Broken(Part):
        def reply(self, answer: Answer, _then: object) -> None:
            raise ZeroDivisionError(answer)

    rig = rig_with(Broken())
    stream = rig.call()
    rig.answer(1)
    assert frame(b"yo") == rig.kubelet.streams[stream].body
    assert rig.idle


@on_loop
async def test_a_call_that_cannot_be_sent_on_ends_and_what_was_decided_is_undone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    part = Part(patient=True)
    rig = rig_with(part)
    stream = rig.call()
    assert part.held is not None

    def start(*_args: object, **_more: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Pool, "start", start)
    part.held.forward(b"late")
    rig.settle()
    assert find(rig.kubelet.streams[stream].headers[0], b"grpc-status") == b"13"
    assert part.seen[-1] == Answer(Status.INTERNAL.value, None)
    assert rig.idle
