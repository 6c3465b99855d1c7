"""Calls that somebody takes part in."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
import pytest
from grpclib.const import Status
from h2.exceptions import StreamClosedError
from structlog.testing import capture_logs

from crirm.errors import CrirmError
from crirm.rpc.budget import Account, Budget
from crirm.rpc.client import Pool
from crirm.rpc.grpc_wire import find, frame
from crirm.rpc.held import Answer, _complaints
from tests.unit.rpc.rig import OK, REPLY, Peer, Rig, on_loop, request

if TYPE_CHECKING:
    from crirm.rpc.held import Held


@attrs.define
class Part:
    """An interceptor that does as it is told and notes what it is shown."""

    patient: bool = False
    forwarded: bytes | None = None
    replied: bytes | None = None
    held: Held | None = None
    seen: list[object] = attrs.field(factory=list)

    def request(self, message: bytes, held: Held) -> None:
        self.seen.append(message)
        self.held = held
        if not self.patient:
            held.forward(self.forwarded if self.forwarded is not None else message)

    def reply(self, answer: Answer) -> bytes | None:
        self.seen.append(answer)
        return self.replied

    def abandoned(self) -> None:
        self.seen.append("abandoned")


def rig_with(part: Part, piece_bytes: int = 1 << 16) -> Rig:
    rig = Rig(piece_bytes=piece_bytes)
    rig.interceptor = part
    return rig


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
        def reply(self, answer: Answer) -> bytes | None:
            raise ZeroDivisionError(answer)

    rig = rig_with(Broken())
    stream = rig.call()
    rig.answer(1)
    assert frame(b"yo") == rig.kubelet.streams[stream].body
    assert rig.idle


def packed(message: bytes) -> bytes:
    body = gzip.compress(message)
    return b"\1" + len(body).to_bytes(4, "big") + body


async def _turns() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


@on_loop
async def test_a_compressed_request_is_decided_about_unpacked() -> None:
    part = Part()
    rig = rig_with(part)
    message = b"x" * (5 << 20)
    rig.call((b"grpc-encoding", b"gzip"), body=packed(message))
    await _turns()
    rig.settle()
    assert part.seen == [message]
    assert rig.runtime.streams[1].body == frame(message)


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        pytest.param(b"gzip", packed(bytes(70 << 20)), b"8", id="gzip of more than may be"),
        pytest.param(b"gzip", b"\1\0\0\0\3abc", b"13", id="no gzip"),
        pytest.param(b"gzip", b"\1\0\0\0\x0c" + gzip.compress(b"whole")[:12], b"13", id="half a gzip"),
        pytest.param(b"snappy", b"\1\0\0\0\3abc", b"12", id="an encoding that crirm does not know"),
        pytest.param(b"identity", b"\0\xff\xff\xff\xff", b"8", id="what says to be gigabytes"),
    ],
)
@on_loop
async def test_a_request_that_cannot_be_read_never_reaches_the_runtime(
    encoding: bytes, body: bytes, status: bytes
) -> None:
    part = Part()
    rig = rig_with(part)
    stream = rig.call((b"grpc-encoding", encoding), body=body)
    await _turns()
    rig.settle()
    assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == status
    assert not part.seen
    assert not rig.runtime.streams
    assert rig.idle


@on_loop
async def test_a_reply_that_unpacks_to_gigabytes_passes_unread() -> None:
    part = Part()
    rig = rig_with(part)
    stream = rig.call()
    body = packed(bytes(70 << 20))
    rig.runtime.h2.send_headers(1, [*REPLY, (b"grpc-encoding", b"gzip")])
    rig.send(rig.runtime, 1, body)
    rig.runtime.h2.send_headers(1, OK, end_stream=True)
    rig.settle()
    assert body == rig.kubelet.streams[stream].body
    assert len(getattr(part.seen[-1], "message", b"") or b"") <= len(body)
    assert rig.idle


@on_loop
async def test_unfinished_requests_are_bounded_and_others_are_served() -> None:
    """300 of 1 MiB held 311 MB."""
    rig = rig_with(Part())
    rig.server.budget = Budget(most_bytes=6 << 20, most_of_one_bytes=4 << 20)
    rig.downstream.account = Account(rig.server.budget)
    streams = []
    for _ in range(8):
        streams.append(rig.call(body=None))
        with suppress(StreamClosedError):  # refused on the way
            rig.send(rig.kubelet, streams[-1], b"\0\1\0\0\0" + b"x" * (1 << 20))
        rig.settle()
        assert rig.server.budget.held_bytes <= 4 << 20
    refused = [stream for stream in streams if rig.kubelet.streams[stream].ended]
    assert 3 < len(refused) < 8
    assert {find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") for stream in refused} == {b"8"}
    another = Peer(connection := rig.server.new_connection(), client_side=True)
    connection.account = Account(rig.server.budget)
    for stream in (1, 3, 5):
        another.h2.send_headers(stream, request())
        another.h2.send_data(stream, frame(b"small"), end_stream=True)
    another.exchange(1 << 16)
    rig.settle()
    assert [rig.runtime.streams[stream].body for stream in (1, 3, 5)] == [frame(b"small")] * 3
    rig.downstream.connection_lost(None)
    for stream in (1, 3, 5):
        rig.answer(stream)
    assert rig.server.budget.held_bytes == 0


@pytest.mark.parametrize("where", ["request", "reply"])
@on_loop
async def test_bytes_that_are_no_message_are_told_in_a_sentence_now_and_then(where: str) -> None:
    class Picky(Part):
        def request(self, message: bytes, held: Held) -> None:
            if where == "request":
                raise CrirmError("no protobuf message: wire type 7 at byte 3")
            super().request(message, held)

        def reply(self, answer: Answer) -> bytes | None:  # noqa: ARG002 - it cannot be read
            raise CrirmError("no protobuf message: wire type 7 at byte 3")

    _complaints._seen.clear()
    rig = rig_with(Picky())
    with capture_logs() as logs:
        for number in range(20):
            stream = rig.call()
            if where == "reply":
                rig.answer(2 * number + 1, trailers=OK)
    (told,) = [record for record in logs if record["log_level"] in {"warning", "error"}]
    assert (told["log_level"], told["reason"]) == ("warning", "no protobuf message: wire type 7 at byte 3")
    assert "exc_info" not in told
    status = find(rig.kubelet.streams[stream].headers[-1], b"grpc-status")
    assert status == (b"3" if where == "request" else b"0")
    assert rig.idle


@on_loop
async def test_a_reply_that_ends_without_a_status_is_doubtful_and_ends_the_call() -> None:
    part = Part()
    rig = rig_with(part)
    stream = rig.call()
    rig.runtime.h2.send_headers(1, REPLY)
    rig.runtime.h2.send_data(1, frame(b"yo"), end_stream=True)
    rig.settle()
    assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"2"
    assert part.seen[-1] == Answer(2, None, certain=False)


PACKED = gzip.compress(b"yo")


def marked_packed(payload: bytes) -> bytes:
    return b"\1" + len(payload).to_bytes(4, "big") + payload


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        pytest.param(b"gzip", marked_packed(PACKED[:-6]), id="gzip that is cut off"),
        pytest.param(b"gzip", marked_packed(b"no gzip at all"), id="gzip that is none"),
        pytest.param(b"snappy", marked_packed(b"whatever"), id="a compression that crirm does not know"),
        pytest.param(b"identity", b"", id="no message"),
        pytest.param(b"identity", frame(b"yo") + frame(b"yo"), id="two messages"),
        pytest.param(b"identity", frame(b"yo")[:-1], id="a message that is cut off"),
        pytest.param(b"identity", frame(b"yo") + b"\0", id="a message and a rest"),
        pytest.param(b"identity", b"\0\0\0", id="less than the length of one"),
    ],
)
@on_loop
async def test_a_reply_that_is_no_message_leaves_the_outcome_open_and_passes_as_it_is(
    encoding: bytes, body: bytes
) -> None:
    part = Part(replied=None)
    rig = rig_with(part)
    stream = rig.call()
    rig.runtime.h2.send_headers(1, [*REPLY, (b"grpc-encoding", encoding)])
    if body:
        rig.runtime.h2.send_data(1, body)
    rig.runtime.h2.send_headers(1, OK, end_stream=True)
    rig.settle()
    assert Answer(0, None, certain=False) == part.seen[-1]
    assert body == rig.kubelet.streams[stream].body
    assert rig.kubelet.streams[stream].headers[-1] == OK
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
