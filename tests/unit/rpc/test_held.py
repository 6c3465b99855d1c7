"""Calls that somebody takes part in."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import attrs
import pytest
import trio
from grpclib.const import Status
from h2.settings import SettingCodes

from crirm.rpc.calls import Answer, CallRefusedError
from crirm.rpc.grpc_wire import find, frame
from crirm.rpc.held import Held
from crirm.rpc.memory_server import MOST_CALLS
from crirm.rpc.spliced_streams import Kept
from tests.unit.rpc.rig import OK, REPLY, forwarding, in_guest_mode, open_rig, request

if TYPE_CHECKING:
    from crirm.rpc.calls import HeldCall


@attrs.define
class Part:
    """A handler that does as it is told and notes what it is shown."""

    patient: bool = False
    forwarded: bytes | None = None
    replied: bytes | None = None
    go_on: trio.Event = attrs.field(factory=trio.Event)
    decided: trio.Event = attrs.field(factory=trio.Event)
    seen: list[object] = attrs.field(factory=list)

    async def __call__(self, call: HeldCall) -> bytes | None:
        self.seen.append(call.message)
        try:
            if self.patient:
                await self.go_on.wait()
            answer = await call.forward(call.message if self.forwarded is None else self.forwarded)
            self.seen.append(answer)
        except trio.Cancelled:
            self.seen.append("cancelled")
            raise
        finally:
            self.decided.set()
        return self.replied


def packed(message: bytes) -> bytes:
    body = gzip.compress(message)
    return b"\1" + len(body).to_bytes(4, "big") + body


@pytest.mark.parametrize("piece_bytes", [pytest.param(1, id="byte by byte"), pytest.param(1 << 16, id="whole")])
@in_guest_mode
async def test_both_messages_may_be_edited_and_all_else_passes(piece_bytes: int) -> None:
    part = Part(forwarded=b"edited request", replied=b"edited reply")
    async with open_rig(piece_bytes=piece_bytes) as rig:
        rig.handler = part
        stream = await rig.call((b"traceparent", b"00-1"))
        assert frame(b"edited request") == rig.pool_runtime.streams[1].body
        assert find(rig.pool_runtime.streams[1].headers[0], b"traceparent") == b"00-1"
        trailers = [*OK, (b"x-cost", b"3")]
        await rig.answer(1, trailers=trailers, peer=rig.pool_runtime)
        assert [b"hi", Answer(0, b"yo")] == part.seen
        assert rig.kubelet.streams[stream].headers == [REPLY, trailers]
        assert rig.kubelet.streams[stream].body == frame(b"edited reply")
        assert not rig.beyond.streams, "the spliced connection has nothing to do with it"
        assert rig.idle


@in_guest_mode
async def test_an_unedited_reply_passes_byte_for_byte() -> None:
    part = Part()
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call()
        rig.pool_runtime.h2.send_headers(1, [*REPLY, (b"grpc-encoding", b"gzip")])
        rig.pool_runtime.h2.send_data(1, packed(b"yo"))
        rig.pool_runtime.h2.send_headers(1, OK, end_stream=True)
        await rig.settle()
        assert part.seen[-1] == Answer(0, b"yo")
        assert rig.kubelet.streams[stream].body == packed(b"yo")


@in_guest_mode
async def test_a_decision_may_come_later() -> None:
    part = Part(patient=True)
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call()
        assert not rig.pool_runtime.streams
        part.go_on.set()
        await rig.settle()
        await rig.answer(1, peer=rig.pool_runtime)
        assert rig.kubelet.streams[stream].ended


@in_guest_mode
async def test_a_refusal_never_reaches_the_runtime() -> None:
    async def handler(_call: HeldCall) -> bytes | None:
        raise CallRefusedError(Status.RESOURCE_EXHAUSTED, "no room for 4 CPUs")

    async with open_rig() as rig:
        rig.handler = handler
        stream = await rig.call()
        assert find(rig.kubelet.streams[stream].headers[0], b"grpc-status") == b"8"
        assert find(rig.kubelet.streams[stream].headers[0], b"grpc-message") == b"no room for 4 CPUs"
        assert not rig.pool_runtime.streams
        assert [outcome.status for _, outcome in rig.outcomes] == [8]
        assert rig.idle


@in_guest_mode
async def test_a_refusal_of_the_runtime_is_seen_and_passes() -> None:
    part = Part()
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call()
        alone = [*REPLY, (b"grpc-status", b"5"), (b"grpc-message", b"gone"), (b"grpc-status-details-bin", b"CAUSAA")]
        rig.pool_runtime.h2.send_headers(1, alone, end_stream=True)
        await rig.settle()
        assert part.seen[-1] == Answer(5, None)
        assert rig.kubelet.streams[stream].headers == [alone]
        assert rig.idle


@pytest.mark.parametrize("vanishes", [pytest.param(False, id="resets the call"), pytest.param(True, id="vanishes")])
@in_guest_mode
async def test_a_caller_that_leaves_before_the_decision_cancels_the_handler(vanishes: bool) -> None:
    part = Part(patient=True)
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call()
        rig.kubelet.vanish() if vanishes else rig.kubelet.h2.reset_stream(stream, 8)
        await rig.settle()
        assert part.seen == [b"hi", "cancelled"]
        assert not rig.pool_runtime.streams
        assert [outcome.status for _, outcome in rig.outcomes] == [1]
        assert rig.idle


@pytest.mark.parametrize("vanishes", [pytest.param(False, id="resets the call"), pytest.param(True, id="vanishes")])
@in_guest_mode
async def test_a_forwarded_call_is_seen_through_when_the_caller_leaves(vanishes: bool) -> None:
    part = Part()
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call()
        rig.kubelet.vanish() if vanishes else rig.kubelet.h2.reset_stream(stream, 8)
        await rig.settle()
        assert rig.pool_runtime.streams[1].reset is None, "the runtime goes on"
        await rig.answer(1, peer=rig.pool_runtime)
        assert part.seen[-1] == Answer(0, b"yo")
        assert [(outcome.status, outcome.certain) for _, outcome in rig.outcomes] == [(1, False)]
        assert rig.idle


@pytest.mark.parametrize("alone", [pytest.param(False, id="caller waits"), pytest.param(True, id="caller has left")])
@in_guest_mode
async def test_a_runtime_that_vanishes_leaves_the_outcome_open(alone: bool) -> None:
    part = Part()
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call()
        if alone:
            rig.kubelet.h2.reset_stream(stream, 8)
            await rig.settle()
        rig.pool_runtime.vanish()
        await rig.settle()
        assert part.seen == [b"hi", Answer(14, None, certain=False)]
        assert [(outcome.status, outcome.certain) for _, outcome in rig.outcomes] == [(1 if alone else 14, False)]
        assert rig.idle


@in_guest_mode
async def test_a_runtime_that_cuts_the_stream_is_followed_with_its_own_code() -> None:
    part = Part()
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call()
        rig.pool_runtime.h2.reset_stream(1, 7)
        await rig.settle()
        assert rig.kubelet.streams[stream].reset == 7
        assert part.seen[-1] == Answer(14, None, certain=False)
        assert [(outcome.status, outcome.certain) for _, outcome in rig.outcomes] == [(14, False)]
        assert rig.idle


@in_guest_mode
async def test_a_runtime_that_is_too_slow_leaves_the_outcome_open() -> None:
    part = Part()
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call((b"grpc-timeout", b"500m"))
        with trio.fail_after(5):
            await part.decided.wait()
        await rig.settle()
        assert part.seen[-1] == Answer(4, None, certain=False)
        assert rig.pool_runtime.streams[1].reset == 8
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"4"
        assert rig.idle


@in_guest_mode
async def test_a_handler_that_is_too_slow_is_cancelled_at_the_deadline() -> None:
    part = Part(patient=True)
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call((b"grpc-timeout", b"1m"))
        with trio.fail_after(5):
            await part.decided.wait()
        await rig.settle()
        assert part.seen[-1] == "cancelled"
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"4"
        assert (find(rig.kubelet.streams[stream].headers[-1], b"grpc-message") or b"").endswith(b"[undecided-in-time]")
        assert not rig.pool_runtime.streams
        assert rig.idle


@in_guest_mode
async def test_a_unary_call_with_two_messages_is_refused() -> None:
    part = Part()
    async with open_rig() as rig:
        rig.handler = part
        stream = await rig.call(body=frame(b"one") + frame(b"two"))
        assert find(rig.kubelet.streams[stream].headers[0], b"grpc-status") == b"13"
        assert not part.seen
        assert rig.idle


@in_guest_mode
async def test_a_fault_in_deciding_refuses_the_call_and_no_other() -> None:
    async def broken(_call: HeldCall) -> bytes | None:
        raise ZeroDivisionError

    async with open_rig() as rig:
        rig.handler = broken
        stream = await rig.call()
        assert find(rig.kubelet.streams[stream].headers[0], b"grpc-status") == b"13"
        assert (find(rig.kubelet.streams[stream].headers[0], b"grpc-message") or b"").endswith(b"[internal-fault]")
        rig.handler = None
        other = await rig.call()
        await rig.answer(other)
        assert rig.kubelet.streams[other].ended
        assert rig.idle


@in_guest_mode
async def test_a_fault_after_the_answer_does_not_break_the_reply() -> None:
    async def broken(call: HeldCall) -> bytes | None:
        raise ZeroDivisionError(await call.forward(call.message))

    async with open_rig() as rig:
        rig.handler = broken
        stream = await rig.call()
        await rig.answer(1, peer=rig.pool_runtime)
        assert frame(b"yo") == rig.kubelet.streams[stream].body
        assert rig.idle


@in_guest_mode
async def test_a_held_call_goes_on_when_the_runtime_closes_the_spliced_connection() -> None:
    async with open_rig() as rig:
        rig.handler = forwarding
        stream = await rig.call()
        rig.beyond.vanish()
        await rig.settle()
        assert rig.kubelet.goodbye == stream
        await rig.answer(1, peer=rig.pool_runtime)
        assert rig.kubelet.streams[stream].headers == [REPLY, OK]
        assert rig.kubelet.transport.closed, "nothing is left to wait for"
        assert rig.idle


@in_guest_mode
async def test_more_calls_than_one_server_takes_are_handled_at_once() -> None:
    part = Part(patient=True)
    async with open_rig() as rig:
        rig.handler = part
        for peer in (rig.beyond, rig.pool_runtime):
            peer.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1000})
        await rig.settle()
        streams = [await rig.call() for _ in range(250)]
        assert len(part.seen) == 250
        part.go_on.set()
        await rig.settle()
        for number in range(250):
            await rig.answer(2 * number + 1, peer=rig.pool_runtime)
        assert all(rig.kubelet.streams[stream].headers == [REPLY, OK] for stream in streams)
        assert rig.idle


@in_guest_mode
async def test_a_call_that_is_let_go_leaves_its_server_to_the_others() -> None:
    """grpclib counts it until it hears of its end, one turn of the loop later."""
    part = Part(patient=True)
    async with open_rig() as rig:
        rig.handler = part
        rig.beyond.h2.update_settings({SettingCodes.MAX_CONCURRENT_STREAMS: 1000})
        await rig.settle()
        first = await rig.call(body=None)
        for _ in range(MOST_CALLS - 1):
            await rig.call()
        kept = rig.downstream.splice.streams[first]
        assert isinstance(kept, Kept)
        assert isinstance(kept.sink, Held)
        kept.sink._replying = True
        kept.sink.let_go("too much is held")
        latest = rig.kubelet.h2.get_next_available_stream_id()
        rig.kubelet.h2.send_headers(latest, request())
        await rig.send(rig.kubelet, latest, frame(b"hi"), end=True)
        rig.kubelet.exchange(1 << 16)
        await rig.settle()
        assert len(part.seen) == MOST_CALLS


# --- calls that nobody decides about, and that go to another socket than the spliced one ------------------------------


@in_guest_mode
async def test_a_call_for_another_socket_passes_as_it_is() -> None:
    async with open_rig() as rig:
        elsewhere = rig.route_elsewhere()
        stream = await rig.call((b"grpc-encoding", b"gzip"), body=packed(b"hi") + packed(b"there"))
        assert elsewhere.streams[1].body == packed(b"hi") + packed(b"there")
        assert find(elsewhere.streams[1].headers[0], b"grpc-encoding") == b"gzip"
        elsewhere.h2.send_headers(1, REPLY)
        elsewhere.h2.send_data(1, frame(b"first"))
        await rig.settle()
        assert rig.kubelet.streams[stream].body == frame(b"first"), "as it comes"
        elsewhere.h2.send_headers(1, OK, end_stream=True)
        await rig.settle()
        assert rig.kubelet.streams[stream].headers == [REPLY, OK]
        assert rig.idle


@pytest.mark.parametrize("vanishes", [pytest.param(False, id="resets the call"), pytest.param(True, id="vanishes")])
@in_guest_mode
async def test_a_call_for_another_socket_is_cancelled_there_when_the_caller_leaves(vanishes: bool) -> None:
    async with open_rig() as rig:
        elsewhere = rig.route_elsewhere()
        stream = await rig.call()
        rig.kubelet.vanish() if vanishes else rig.kubelet.h2.reset_stream(stream, 8)
        await rig.settle()
        assert elsewhere.streams[1].reset == 8
        assert [outcome.status for _, outcome in rig.outcomes] == [1]
        assert rig.idle


@in_guest_mode
async def test_a_call_for_another_socket_that_is_cut_in_the_reply_ends_with_trailers() -> None:
    async with open_rig() as rig:
        elsewhere = rig.route_elsewhere()
        stream = await rig.call()
        elsewhere.h2.send_headers(1, REPLY)
        elsewhere.h2.send_data(1, frame(b"first"))
        await rig.settle()
        rig.server.close("crirm stops")
        await rig.settle()
        assert find(rig.kubelet.streams[stream].headers[1], b"grpc-status") == b"14"
        assert find(rig.kubelet.streams[stream].headers[1], b":status") is None
        assert elsewhere.streams[1].reset == 8
        assert rig.idle


@in_guest_mode
async def test_what_waits_for_a_caller_that_does_not_read_is_bounded() -> None:
    async with open_rig(kubelet_acknowledges=False) as rig:
        elsewhere = rig.route_elsewhere()
        rig.limit(most_bytes=6 << 20, most_of_one_bytes=4 << 20)
        for _ in range(8):
            await rig.call()
        for number in range(8):
            if elsewhere.streams[2 * number + 1].reset is None:
                elsewhere.h2.send_headers(2 * number + 1, REPLY)
                await rig.send(elsewhere, 2 * number + 1, b"x" * (1 << 20))
                await rig.settle()
            assert rig.server.budget.held_bytes <= 4 << 20
        assert [outcome.status for _, outcome in rig.outcomes] == [8] * 4, "four fit"
        rig.kubelet.vanish()
        await rig.settle()
        assert rig.server.budget.held_bytes == 0
        assert rig.idle
