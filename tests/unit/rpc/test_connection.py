"""Calls that pass from a caller to the runtime and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest
from grpclib.const import Status
from hyperframe.frame import GoAwayFrame, HeadersFrame

from crirm.rpc.calls import Answer, Refusal
from crirm.rpc.grpc_wire import find, frame, parse_timeout_s
from tests.unit.rpc.rig import OK, REPLY, VERSION, Peer, forwarding, in_guest_mode, open_rig, request

if TYPE_CHECKING:
    from crirm.rpc.calls import HeldCall
    from crirm.rpc.tap import Outcome

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


@in_guest_mode
async def test_a_refusal_of_the_runtime_passes_with_code_message_and_details() -> None:
    async with open_rig() as rig:
        stream = await rig.call()
        alone = [
            *REPLY,
            (b"grpc-status", b"5"),
            (b"grpc-message", b"no%20such"),
            (b"grpc-status-details-bin", b"CAUSAA"),
        ]
        rig.beyond.h2.send_headers(stream, alone, end_stream=True)
        await rig.settle()
        assert rig.kubelet.streams[stream].headers == [alone]
        assert (rig.outcomes[0][1].status, rig.outcomes[0][1].message) == (5, "no such")
        assert rig.idle


@in_guest_mode
async def test_the_path_is_rewritten_where_the_route_says_so() -> None:
    async with open_rig() as rig:
        rig.renamed[VERSION] = b"/runtime.v1alpha2.RuntimeService/Version"
        stream = await rig.call()
        assert find(rig.beyond.streams[stream].headers[0], b":path") == b"/runtime.v1alpha2.RuntimeService/Version"
        await rig.answer(stream)
        assert [path for path, _ in rig.outcomes] == [VERSION]


@pytest.mark.parametrize(
    ("sent", "least_s", "most_s"),
    [
        pytest.param(b"120S", 110, 120, id="seconds"),
        pytest.param(b"99999999u", 90, 99.999999, id="microseconds"),
        pytest.param(b"2H", 7100, 7200, id="hours"),
    ],
)
@in_guest_mode
async def test_the_deadline_is_handed_on_less_the_time_spent(sent: bytes, least_s: float, most_s: float) -> None:
    async with open_rig() as rig:
        stream = await rig.call((b"grpc-timeout", sent))
        received = parse_timeout_s(find(rig.beyond.streams[stream].headers[0], b"grpc-timeout") or b"")
        assert received is not None
        assert least_s <= received <= most_s


@in_guest_mode
async def test_a_malformed_deadline_is_the_runtimes_to_judge() -> None:
    async with open_rig() as rig:
        stream = await rig.call((b"grpc-timeout", b"soon"))
        assert find(rig.beyond.streams[stream].headers[0], b"grpc-timeout") == b"soon"


@in_guest_mode
async def test_a_caller_that_gives_up_is_followed_with_its_own_code() -> None:
    async with open_rig() as rig:
        stream = await rig.call()
        rig.kubelet.h2.reset_stream(stream, 8)
        await rig.settle()
        assert rig.beyond.streams[stream].reset == 8
        assert [(outcome.status, outcome.certain) for _, outcome in rig.outcomes] == [(1, False)]
        assert rig.idle


@in_guest_mode
async def test_a_runtime_that_cuts_the_stream_is_followed_with_its_own_code() -> None:
    async with open_rig() as rig:
        stream = await rig.call()
        rig.beyond.h2.reset_stream(stream, 7)
        await rig.settle()
        assert rig.kubelet.streams[stream].reset == 7
        assert [(outcome.status, outcome.certain) for _, outcome in rig.outcomes] == [(14, False)]
        assert rig.idle


@in_guest_mode
async def test_a_caller_that_vanishes_takes_its_connection_to_the_runtime_along() -> None:
    async with open_rig() as rig:
        await rig.call()
        await rig.call()
        rig.kubelet.vanish()
        await rig.settle()
        assert rig.beyond.transport.closed
        assert not rig.pool_runtime.other.lost, "the pool serves others"
        assert [outcome.status for _, outcome in rig.outcomes] == [1, 1]
        assert rig.idle
        assert not rig.server.connections


@pytest.mark.parametrize(
    ("answered", "headers"),
    [pytest.param(False, 1, id="before the reply: one frame"), pytest.param(True, 2, id="in the reply: as trailers")],
)
@in_guest_mode
async def test_a_runtime_that_vanishes_ends_calls_with_unavailable(answered: bool, headers: int) -> None:
    async with open_rig() as rig:
        stream = await rig.call()
        if answered:
            rig.beyond.h2.send_headers(stream, REPLY)
            await rig.settle()
        rig.beyond.vanish(ConnectionResetError("reset by peer"))
        await rig.settle()
        seen = rig.kubelet.streams[stream]
        assert len(seen.headers) == headers
        assert find(seen.headers[-1], b"grpc-status") == b"14"
        assert b"reset by peer" in (find(seen.headers[-1], b"grpc-message") or b"")
        assert seen.ended
        assert rig.kubelet.goodbye is not None, "the caller is to come again"
        assert rig.kubelet.transport.closed
        assert rig.idle


@in_guest_mode
async def test_a_runtime_that_says_goodbye_may_finish_what_it_has_begun() -> None:
    async with open_rig() as rig:
        first, second = await rig.call(), await rig.call()
        rig.beyond.raw += GoAwayFrame(last_stream_id=first).serialize()
        await rig.settle()
        assert rig.kubelet.goodbye == first, "the caller makes the others again, elsewhere"
        assert rig.server.calls == [VERSION], "nobody waits for what the runtime has not seen"
        await rig.answer(first)
        assert rig.kubelet.streams[first].headers == [REPLY, OK]
        assert [(outcome.status, outcome.certain) for _, outcome in rig.outcomes] == [(14, False), (0, True)]
        assert not rig.kubelet.streams[second].headers
        assert rig.idle


@in_guest_mode
async def test_a_goodbye_of_the_runtime_leaves_held_calls_in_and_answers_for_what_it_has_not_seen() -> None:
    async with open_rig() as rig:
        first, second = await rig.call(), await rig.call()
        rig.handler = forwarding
        third = await rig.call()
        rig.beyond.raw += GoAwayFrame(last_stream_id=first).serialize()
        await rig.settle()
        assert rig.kubelet.goodbye == third
        assert find(rig.kubelet.streams[second].headers[-1], b"grpc-status") == b"14"
        await rig.answer(1, peer=rig.pool_runtime)
        await rig.answer(first)
        assert [rig.kubelet.streams[stream].headers[-1] for stream in (first, third)] == [OK, OK]
        assert rig.idle


@in_guest_mode
async def test_calls_that_begin_after_the_runtimes_goodbye_go_nowhere() -> None:
    async with open_rig() as rig:
        first = await rig.call()
        rig.beyond.raw += GoAwayFrame(last_stream_id=first).serialize()
        await rig.settle()
        late = await rig.call()
        assert rig.beyond.order == [first]
        assert not rig.kubelet.streams[late].headers, "the caller has been told that nobody sees it"
        await rig.answer(first)
        assert rig.idle


@in_guest_mode
async def test_a_caller_that_says_goodbye_still_gets_its_answers() -> None:
    async with open_rig() as rig:
        stream = await rig.call()
        rig.kubelet.raw += GoAwayFrame(last_stream_id=0).serialize()
        await rig.settle()
        await rig.answer(stream)
        assert rig.kubelet.streams[stream].headers == [REPLY, OK]
        assert rig.idle


@in_guest_mode
async def test_an_answer_before_the_end_of_the_request_ends_both_sides() -> None:
    async with open_rig() as rig:
        stream = await rig.call(body=None)
        await rig.answer(stream)
        rig.beyond.h2.reset_stream(stream, 0)
        await rig.settle()
        seen = rig.kubelet.streams[stream]
        assert (seen.headers, seen.ended, seen.reset) == ([REPLY, OK], True, 0)
        assert [outcome.status for _, outcome in rig.outcomes] == [0]
        assert rig.idle


@pytest.mark.parametrize("body", [pytest.param(frame(b"hi"), id="whole"), pytest.param(None, id="still coming")])
@in_guest_mode
async def test_a_refused_call_never_reaches_the_runtime_and_leaves_nothing_behind(body: bytes | None) -> None:
    async with open_rig() as rig:
        rig.refusal = Refusal(Status.UNAVAILABLE, "50 % gone — sorry")
        stream = await rig.call(body=body)
        seen = rig.kubelet.streams[stream]
        assert find(seen.headers[0], b"grpc-message") == b"50 %25 gone %E2%80%94 sorry"
        assert seen.ended
        assert seen.reset == (None if body is not None else 0)
        assert not rig.beyond.streams
        assert [outcome.status for _, outcome in rig.outcomes] == [14]
        assert rig.idle


@in_guest_mode
async def test_noise_of_the_runtime_ends_calls_at_once() -> None:
    async with open_rig() as rig:
        stream = await rig.call()
        rig.beyond.raw += b"HTTP/1.1 400 Bad Request\r\n\r\n"
        await rig.settle()
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"14"
        assert rig.beyond.transport.closed
        assert rig.idle


@in_guest_mode
async def test_what_a_runtime_said_before_its_connection_broke_is_heard() -> None:
    """asyncio throws away what it has not read when a write fails."""
    async with open_rig() as rig:
        stream = await rig.call()
        rig.beyond.h2.send_headers(stream, REPLY)
        rig.beyond.h2.send_headers(stream, OK, end_stream=True)
        rig.beyond.vanish(BrokenPipeError(), rig.beyond.h2.data_to_send())
        await rig.settle()
        assert rig.kubelet.streams[stream].headers == [REPLY, OK]
        assert rig.idle


@in_guest_mode
async def test_a_block_that_the_runtime_does_not_end_ends_the_callers_connection_without_another_frame() -> None:
    async with open_rig() as rig:
        stream = await rig.call()
        rig.beyond.raw += HeadersFrame(stream, data=b"\x88").serialize()
        await rig.settle()
        rig.beyond.vanish()
        await rig.settle()  # where h2 would raise an error
        assert rig.kubelet.transport.closed
        assert [outcome.status for _, outcome in rig.outcomes] == [14]
        assert rig.idle


@in_guest_mode
async def test_a_caller_that_comes_while_the_runtime_is_away_is_told_so() -> None:
    async with open_rig() as rig:
        rig.away = True
        other = Peer(rig.server.new_connection(), client_side=True)
        other.h2.send_headers(1, request())
        other.h2.send_data(1, frame(b"hi"), end_stream=True)
        while other.exchange(1 << 16):
            pass
        assert find(other.streams[1].headers[-1], b"grpc-status") == b"14"
        assert b"/run/test.sock" in (find(other.streams[1].headers[-1], b"grpc-message") or b"")
        rig.away = False
        rig.server.runtime_is_back()
        other.exchange(1 << 16)
        assert other.goodbye is not None, "it is to come again"
        assert other.transport.closed


@in_guest_mode
async def test_a_caller_whose_connection_to_the_runtime_fails_is_sent_away_to_come_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The runtime is there, so nobody else would ever tell the caller to try again."""
    monkeypatch.setattr("crirm.rpc.connection.AGAIN_S", 0.0)

    async def fails(_half: object, _path: str) -> None:
        raise OSError("too many open files")

    async with open_rig() as rig:
        rig.server._served = attrs.evolve(rig.server._served, connect=fails)
        caller = await rig.another_kubelet()
        assert caller.goodbye is not None
        assert caller.transport.closed


@in_guest_mode
async def test_a_fault_in_looking_on_ends_calls_instead_of_leaving_them_without_an_answer() -> None:
    async with open_rig() as rig:
        rig.observer = Faulty()
        stream = await rig.call()
        rig.beyond.h2.send_headers(stream, REPLY)
        rig.beyond.h2.send_data(stream, frame(b"yo"))
        with pytest.raises(ZeroDivisionError):
            rig.beyond.exchange(1 << 16)
        rig.beyond.vanish(ZeroDivisionError())  # so asyncio does after a fault
        await rig.settle()
        assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"14"
        assert rig.idle


class Faulty:
    """An observer with a bug."""

    def request(self, message: bytes) -> None:
        """Nothing is looked at."""

    def reply(self, message: bytes) -> None:
        raise ZeroDivisionError(message)

    def close(self, outcome: Outcome) -> None:
        """Likewise."""
