"""A relayed call, frame by frame."""

from __future__ import annotations

import asyncio

import pytest
from grpclib.const import Status
from hpack.hpack import Encoder
from hyperframe.frame import GoAwayFrame, HeadersFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from crirm.rpc.grpc_wire import find, frame, parse_timeout_s
from crirm.rpc.server import Refusal
from tests.unit.rpc.rig import OK, REPLY, VERSION, Rig, on_loop, request


@pytest.mark.parametrize(
    "piece_bytes",
    [pytest.param(1, id="byte by byte"), pytest.param(7, id="in pieces"), pytest.param(1 << 16, id="whole")],
)
@on_loop
async def test_request_and_reply_pass_as_they_are(piece_bytes: int) -> None:
    rig = Rig(piece_bytes=piece_bytes)
    metadata = [
        (b"traceparent", b"00-ab-cd-01"),
        (b"odd", b"\xff\xfe"),
        (b"key-bin", b"AAE"),
        (b"twice", b"1"),
        (b"twice", b"2"),
    ]
    trailers = [*OK, (b"grpc-status-details-bin", b"CAUSAA"), (b"x-cost", b"3")]
    stream = rig.call(*metadata)
    assert [request(VERSION, *metadata)] == rig.runtime.streams[1].headers
    assert (frame(b"hi"), True) == (rig.runtime.streams[1].body, rig.runtime.streams[1].ended)
    rig.answer(1, trailers=trailers)
    seen = rig.kubelet.streams[stream]
    assert [REPLY, trailers] == seen.headers
    assert (frame(b"yo"), True, None) == (seen.body, seen.ended, seen.reset)
    assert rig.idle


@on_loop
async def test_a_refusal_of_the_runtime_passes_with_code_message_and_details() -> None:
    rig = Rig()
    stream = rig.call()
    alone = [*REPLY, (b"grpc-status", b"5"), (b"grpc-message", b"no%20such"), (b"grpc-status-details-bin", b"CAUSAA")]
    rig.runtime.h2.send_headers(1, alone, end_stream=True)
    rig.settle()
    assert [alone] == rig.kubelet.streams[stream].headers
    assert (rig.outcomes[0][1].status, rig.outcomes[0][1].message) == (5, "no such")
    assert rig.idle


@on_loop
async def test_the_path_is_rewritten_where_the_route_says_so() -> None:
    rig = Rig()
    rig.renamed[VERSION] = b"/runtime.v1alpha2.RuntimeService/Version"
    rig.call()
    assert rig.runtime.streams[1].headers[0] == request(b"/runtime.v1alpha2.RuntimeService/Version")


@pytest.mark.parametrize(
    ("sent", "least_s", "most_s"),
    [
        pytest.param(b"120S", 110, 120, id="seconds"),
        pytest.param(b"99999999u", 90, 99.999999, id="microseconds"),
        pytest.param(b"2H", 7100, 7200, id="hours"),
    ],
)
@on_loop
async def test_the_deadline_is_handed_on_less_the_time_spent(sent: bytes, least_s: float, most_s: float) -> None:
    rig = Rig()
    rig.call((b"grpc-timeout", sent))
    received = parse_timeout_s(find(rig.runtime.streams[1].headers[0], b"grpc-timeout") or b"")
    assert received is not None
    assert least_s <= received <= most_s


@on_loop
async def test_a_malformed_deadline_is_the_runtimes_to_judge() -> None:
    rig = Rig()
    rig.call((b"grpc-timeout", b"soon"))
    assert rig.runtime.streams[1].headers == [request(VERSION, (b"grpc-timeout", b"soon"))]


@on_loop
async def test_a_runtime_that_ignores_the_deadline_is_cut_off() -> None:
    rig = Rig()
    stream = rig.call((b"grpc-timeout", b"1m"))
    await rig.finished.wait()
    rig.settle()
    assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"4"
    assert rig.runtime.streams[1].reset == 8
    assert rig.idle


@on_loop
async def test_a_caller_that_gives_up_is_followed_with_its_own_code() -> None:
    rig = Rig()
    stream = rig.call()
    rig.kubelet.h2.reset_stream(stream, 8)
    rig.settle()
    assert rig.runtime.streams[1].reset == 8
    assert Status.CANCELLED.value == rig.outcomes[0][1].status
    assert rig.idle


@on_loop
async def test_a_runtime_that_cuts_the_stream_is_followed_with_its_own_code() -> None:
    rig = Rig()
    stream = rig.call()
    rig.runtime.h2.reset_stream(1, 7)
    rig.settle()
    assert rig.kubelet.streams[stream].reset == 7
    assert rig.idle


@on_loop
async def test_a_caller_that_vanishes_cancels_its_calls_and_no_others() -> None:
    rig = Rig()
    first, second = rig.call(), rig.call()
    rig.downstream.connection_lost(None)
    rig.settle()
    assert (rig.runtime.streams[first].reset, rig.runtime.streams[second].reset) == (8, 8)
    assert not rig.upstream.lost
    assert rig.idle
    assert not rig.server.connections


@pytest.mark.parametrize(
    ("answered", "headers"),
    [pytest.param(False, 1, id="before the reply: one frame"), pytest.param(True, 2, id="in the reply: as trailers")],
)
@on_loop
async def test_a_runtime_that_vanishes_ends_calls_with_unavailable(answered: bool, headers: int) -> None:
    rig = Rig()
    stream = rig.call()
    if answered:
        rig.runtime.h2.send_headers(1, REPLY)
        rig.settle()
    rig.upstream.connection_lost(ConnectionResetError("reset by peer"))
    rig.settle()
    seen = rig.kubelet.streams[stream]
    assert headers == len(seen.headers)
    assert find(seen.headers[-1], b"grpc-status") == b"14"
    assert b"reset by peer" in (find(seen.headers[-1], b"grpc-message") or b"")
    assert seen.ended
    assert rig.pool.lost.is_set()
    assert rig.idle


@on_loop
async def test_a_runtime_that_says_goodbye_may_finish_what_it_has_begun() -> None:
    rig = Rig()
    first, second = rig.call(), rig.call()
    rig.upstream.data_received(GoAwayFrame(last_stream_id=1).serialize())
    rig.settle()
    assert not rig.pool.connected, "new calls go elsewhere"
    assert find(rig.kubelet.streams[second].headers[-1], b"grpc-status") == b"14", "and so do those it has not seen"
    assert not rig.upstream.lost
    rig.answer(1)
    assert rig.kubelet.streams[first].headers == [REPLY, OK]
    assert rig.upstream.lost, "nothing is left to wait for"
    assert rig.idle


@on_loop
async def test_a_runtime_that_says_goodbye_in_anger_ends_calls_with_unavailable() -> None:
    rig = Rig()
    stream = rig.call()
    rig.upstream.data_received(GoAwayFrame(last_stream_id=1, error_code=1).serialize())
    rig.settle()
    assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"14"
    assert not rig.pool.connected
    assert rig.idle


@on_loop
async def test_a_caller_that_says_goodbye_still_gets_its_answers() -> None:
    rig = Rig()
    stream = rig.call()
    rig.downstream.data_received(GoAwayFrame(last_stream_id=0).serialize())
    rig.answer(1)
    assert rig.kubelet.streams[stream].headers == [REPLY, OK]
    assert rig.downstream.lost
    assert rig.idle


@on_loop
async def test_an_answer_before_the_end_of_the_request_ends_both_sides() -> None:
    rig = Rig()
    stream = rig.call(body=None)
    rig.answer(1)
    seen = rig.kubelet.streams[stream]
    assert seen.headers == [REPLY, OK]
    assert seen.ended
    assert rig.runtime.streams[1].reset is not None
    assert rig.idle


@on_loop
async def test_a_refused_call_never_reaches_the_runtime() -> None:
    rig = Rig()
    rig.refusal = Refusal(Status.UNAVAILABLE, "50 % gone — sorry")
    stream = rig.call()
    seen = rig.kubelet.streams[stream]
    assert find(seen.headers[0], b"grpc-message") == b"50 %25 gone %E2%80%94 sorry"
    assert seen.ended
    assert not rig.runtime.streams
    assert rig.idle


@settings(max_examples=30, deadline=None)
@given(
    bodies=st.lists(st.tuples(st.binary(max_size=40_000), st.binary(max_size=40_000)), min_size=1, max_size=6),
    piece_bytes=st.integers(min_value=1, max_value=5000),
    order=st.randoms(use_true_random=False),
)
def test_calls_side_by_side_never_mix(bodies: list[tuple[bytes, bytes]], piece_bytes: int, order: object) -> None:
    async def check() -> None:
        rig = Rig(piece_bytes=max(piece_bytes, sum(len(a) + len(b) for a, b in bodies) // 200))
        streams = [rig.call(body=asked) for asked, _ in bodies]
        numbers = list(range(len(bodies)))
        order.shuffle(numbers)  # type: ignore[attr-defined]
        for number in numbers:
            rig.answer(2 * number + 1, body=bodies[number][1])
        for number, (asked, answered) in enumerate(bodies):
            assert asked == rig.runtime.streams[2 * number + 1].body
            assert answered == rig.kubelet.streams[streams[number]].body
        assert rig.idle

    asyncio.run(check())


@on_loop
async def test_noise_of_the_runtime_ends_calls_at_once() -> None:
    rig = Rig()
    stream = rig.call()
    rig.upstream.data_received(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    rig.settle()
    assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"14"
    assert rig.pool.lost.is_set()


@on_loop
async def test_a_runtime_that_begins_a_call_is_left() -> None:
    rig = Rig()
    stream = rig.call()
    rig.upstream.data_received(HeadersFrame(2, data=Encoder().encode(REPLY), flags=("END_HEADERS",)).serialize())
    rig.settle()
    assert find(rig.kubelet.streams[stream].headers[-1], b"grpc-status") == b"14"
    assert rig.pool.lost.is_set()
