"""Held calls whose bytes are compressed, too many, or no message."""

from __future__ import annotations

import asyncio
import gzip
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from h2.exceptions import StreamClosedError
from structlog.testing import capture_logs

from crirm.errors import CrirmError
from crirm.rpc.budget import Account, Budget
from crirm.rpc.grpc_wire import find, frame
from crirm.rpc.held import Answer, _complaints
from tests.unit.rpc.part import Part, rig_with
from tests.unit.rpc.rig import OK, REPLY, Peer, on_loop, request

if TYPE_CHECKING:
    from crirm.rpc.held import Held


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

        def reply(self, answer: Answer, _then: object) -> None:  # noqa: ARG002 - it cannot be read
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
