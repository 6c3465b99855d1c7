"""Held calls whose bytes are compressed, too many, or no message."""

from __future__ import annotations

import gzip
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from h2.exceptions import StreamClosedError
from structlog.testing import capture_logs

from crirm.errors import CrirmError
from crirm.rpc.budget import Account
from crirm.rpc.calls import Answer
from crirm.rpc.grpc_wire import find, frame
from crirm.rpc.held import _complaints
from tests.unit.rpc.rig import OK, REPLY, in_guest_mode, open_rig
from tests.unit.rpc.test_held import Part, packed

if TYPE_CHECKING:
    from crirm.rpc.calls import HeldCall


@in_guest_mode
async def test_a_compressed_request_is_decided_about_unpacked() -> None:
    part = Part()
    async with open_rig() as rig:
        rig.handler = part
        message = b"x" * (5 << 20)
        await rig.call((b"grpc-encoding", b"gzip"), body=packed(message))
        assert part.seen == [message]
        assert rig.pool_runtime.streams[1].body == frame(message)
        assert find(rig.pool_runtime.streams[1].headers[0], b"grpc-encoding") is None


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        pytest.param(b"gzip", packed(bytes(70 << 20)), b"8", id="gzip of more than may be"),
        pytest.param(b"gzip", b"\1\0\0\0\3abc", b"13", id="no gzip"),
        pytest.param(b"gzip", b"\1\0\0\0\x0c" + gzip.compress(b"whole")[:12], b"13", id="half a gzip"),
        pytest.param(b"snappy", b"\1\0\0\0\3abc", b"12", id="an encoding that crirm does not know"),
        pytest.param(b"identity", b"\0\xff\xff\xff\xff", b"8", id="what says to be gigabytes"),
        pytest.param(b"identity", b"", b"13", id="no message"),
        pytest.param(b"identity", b"\0\0", b"13", id="less than the length of one"),
        pytest.param(b"identity", frame(b"yo")[:-1], b"13", id="a message that is cut off"),
        pytest.param(b"identity", frame(b"yo") + b"\0", b"13", id="a message and a rest"),
    ],
)
@in_guest_mode
async def test_a_request_that_cannot_be_read_never_reaches_the_runtime(
    encoding: bytes, body: bytes, status: bytes
) -> None:
    part = Part()
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call((b"grpc-encoding", encoding), body=body)
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == status
        assert not part.seen
        assert not rig.pool_runtime.streams
        assert rig.idle


@in_guest_mode
async def test_a_request_beyond_the_limit_is_refused_while_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crirm.rpc.held.MAX_MESSAGE_BYTES", 100_000)
    async with open_rig() as rig:
        rig.handler = Part()
        stream = await rig.call(body=None)
        with suppress(StreamClosedError):
            await rig.send(rig.kubelet, stream, b"x" * 200_000)
        await rig.settle()
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"8"
        assert rig.kubelet.streams[stream].reset == 0
        assert rig.idle


@in_guest_mode
async def test_a_reply_that_unpacks_to_gigabytes_passes_unread() -> None:
    part = Part()
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call()
        body = packed(bytes(70 << 20))
        rig.pool_runtime.h2.send_headers(1, [*REPLY, (b"grpc-encoding", b"gzip")])
        await rig.send(rig.pool_runtime, 1, body)
        rig.pool_runtime.h2.send_headers(1, OK, end_stream=True)
        await rig.settle()
        assert body == rig.kubelet.streams[stream].body
        assert part.seen[-1] == Answer(0, None, certain=False)
        assert rig.idle


@in_guest_mode
async def test_unfinished_requests_are_bounded_and_others_are_served() -> None:
    """300 of 1 MiB held 311 MB."""
    async with open_rig() as rig:
        rig.handler = Part()
        rig.limit(most_bytes=6 << 20, most_of_one_bytes=4 << 20)
        streams = []
        for _ in range(8):
            streams.append(await rig.call(body=None))
            with suppress(StreamClosedError):  # refused on the way
                await rig.send(rig.kubelet, streams[-1], b"\0\1\0\0\0" + b"x" * (1 << 20))
            await rig.settle()
            assert rig.server.budget.held_bytes <= 4 << 20
        refused = [stream for stream in streams if rig.kubelet.streams[stream].ended]
        assert 3 < len(refused) < 8
        assert {find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") for stream in refused} == {b"8"}
        another = await rig.another_kubelet()
        another.other.account = Account(rig.server.budget)  # type: ignore[attr-defined] # of a CallerConnection
        for _ in range(3):
            await rig.call(peer=another)
        assert [rig.pool_runtime.streams[stream].body for stream in (1, 3, 5)] == [frame(b"hi")] * 3
        rig.kubelet.vanish()
        for stream in (1, 3, 5):
            await rig.answer(stream, peer=rig.pool_runtime)
        assert rig.server.budget.held_bytes == 0


@pytest.mark.parametrize("where", ["request", "reply"])
@in_guest_mode
async def test_bytes_that_are_no_message_are_told_in_a_sentence_now_and_then(where: str) -> None:
    async def picky(call: HeldCall) -> bytes | None:
        if where == "reply":
            await call.forward(call.message)
        raise CrirmError("not a protobuf message: wire type 7 at byte 3")

    _complaints._seen.clear()
    async with open_rig() as rig:
        rig.handler = picky
        with capture_logs() as logs:
            for number in range(20):
                stream = await rig.call()
                if where == "reply":
                    await rig.answer(2 * number + 1, peer=rig.pool_runtime)
        (told,) = [record for record in logs if record["log_level"] in {"warning", "error"}]
        assert (told["log_level"], told["reason"]) == ("warning", "not a protobuf message: wire type 7 at byte 3")
        assert "exc_info" not in told
        status = find(rig.kubelet.streams[stream].headers[-1], b"grpc-status")
        assert status == (b"3" if where == "request" else b"0")
        assert rig.idle


@in_guest_mode
async def test_a_reply_that_ends_without_a_status_is_doubtful_and_ends_the_call() -> None:
    part = Part()
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call()
        rig.pool_runtime.h2.send_headers(1, REPLY)
        rig.pool_runtime.h2.send_data(1, frame(b"yo"), end_stream=True)
        await rig.settle()
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"2"
        assert part.seen[-1] == Answer(2, None, certain=False)
        assert rig.idle


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
@in_guest_mode
async def test_a_reply_that_is_no_message_leaves_the_outcome_open_and_passes_as_it_is(
    encoding: bytes, body: bytes
) -> None:
    part = Part(replied=None)
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call()
        rig.pool_runtime.h2.send_headers(1, [*REPLY, (b"grpc-encoding", encoding)])
        if body:
            rig.pool_runtime.h2.send_data(1, body)
        rig.pool_runtime.h2.send_headers(1, OK, end_stream=True)
        await rig.settle()
        assert part.seen[-1] == Answer(0, None, certain=False)
        assert body == rig.kubelet.streams[stream].body
        assert rig.kubelet.streams[stream].headers[-1] == OK
        assert rig.idle
