"""Whatever two strict HTTP/2 peers do, the splice between them breaks no rule of theirs, and leaves nothing behind."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from grpclib.const import Status
from h2.settings import SettingCodes
from hyperframe.frame import GoAwayFrame, PriorityFrame
from hypothesis import given, settings
from hypothesis import strategies as st

from crirm.rpc import bridge
from crirm.rpc import frames as h2
from crirm.rpc.calls import Refusal
from crirm.rpc.grpc_wire import find, frame
from crirm.rpc.server import Route
from tests.unit.rpc.rig import OK, REPLY, Peer, Rig, Stream, open_rig, request

RELAYED, HELD, REFUSED = b"/a.B/Relayed", b"/a.B/Held", b"/a.B/Refused"
EDITED = bytes(range(256)) * 160  # 40 KiB: most of the connection's window
WINDOW_BYTES = 65535


def in_pieces(data: bytes, piece_bytes: int) -> bytes:
    """Return frames that mean what *data*, frames, means, its header blocks in pieces of *piece_bytes*."""
    at, out = 0, b""
    while at < len(data):
        begin, length, kind, flags = at + 9, int.from_bytes(data[at : at + 3], "big"), data[at + 3], data[at + 4]
        stream_id, at = int.from_bytes(data[at + 5 : begin], "big"), begin + length
        if kind != h2.HEADERS or flags & (h2.PADDED | h2.WITH_PRIORITY) or length <= piece_bytes:
            out += data[begin - 9 : at]
            continue
        cut = [data[start : min(start + piece_bytes, at)] for start in range(begin, at, piece_bytes)]
        out += h2.frame(h2.HEADERS, flags & h2.END_STREAM, stream_id, cut[0])
        out += b"".join(h2.frame(h2.CONTINUATION, 0, stream_id, piece) for piece in cut[1:-1])
        out += h2.frame(h2.CONTINUATION, h2.END_HEADERS, stream_id, cut[-1])
    return out


@attrs.define
class Call:
    """A call as both ends know it."""

    path: bytes
    stream_id: int
    asked: bytes = b""
    answered: bytes = b""
    asked_end: bool = False
    replied: bool = False
    answered_end: bool = False
    reset: bool = False  # by either side


class Play:
    """Two peers that do what they are told, as far as HTTP/2 lets them."""

    def __init__(self, rig: Rig, block_bytes: int) -> None:
        self.rig = rig
        self.block_bytes = block_bytes
        self.calls: list[Call] = []
        self.answered: set[int] = set()  # streams of the pool
        self.resized: list[Peer] = []
        self.gone = False
        self.goodbye = False

    def route(self, path: bytes) -> Route | Refusal:
        if path == REFUSED:
            return Refusal(Status.UNAVAILABLE, "no")
        return Route(self.rig.pool, path, self.edit if path == HELD else None)

    @staticmethod
    async def edit(call: Any) -> bytes | None:
        await call.forward(call.message)
        return EDITED

    # --- what may happen ------------------------------------------------------------------------------------------

    def begin(self, path: bytes, padding: int) -> None:
        kubelet = self.rig.kubelet.h2
        if self.gone or self.goodbye or kubelet.open_outbound_streams > 50 or self.rig.kubelet.goodbye is not None:
            return
        call = Call(path, kubelet.get_next_available_stream_id())
        more = [(b"x-%d" % number, b"v" * 40) for number in range(padding)]
        priority: dict[str, Any] = {"priority_weight": 7, "priority_exclusive": True} if padding % 2 else {}
        kubelet.send_headers(call.stream_id, request(path, *more), **priority)
        self.calls.append(call)

    def ask(self, call: Call, size: int, padding: int, *, end: bool) -> None:
        kubelet, seen = self.rig.kubelet.h2, self.rig.kubelet.streams[call.stream_id]
        if call.asked_end or call.reset or self.gone or seen.reset is not None:
            return
        room = kubelet.local_flow_control_window(call.stream_id) - padding - 1
        body = (frame(b"q" * size) if call.path == HELD else b"q" * size)[: max(room, 0)]
        if call.path == HELD and (call.asked or not size + 5 == len(body) <= 16_000):
            body = b""  # one message, and no other
        if body:
            kubelet.send_data(call.stream_id, body[:16000], pad_length=padding)
            call.asked += body[:16000]
        if end and (call.path != HELD or call.asked):
            if padding % 2:
                kubelet.send_headers(call.stream_id, [(b"x-trailer", b"1")], end_stream=True)
            else:
                kubelet.end_stream(call.stream_id)
            call.asked_end = True

    def answer(self, call: Call, size: int, padding: int, *, end: bool) -> None:
        runtime = self.rig.beyond
        if call.path != RELAYED or self.gone or call.answered_end or call.stream_id not in runtime.streams:
            return
        if runtime.streams[call.stream_id].reset is not None or call.reset:
            return
        if not call.replied:
            call.replied = True
            runtime.h2.send_headers(call.stream_id, [*REPLY, (b"x-%d" % (padding % 5), b"r")])
        room = runtime.h2.local_flow_control_window(call.stream_id) - padding - 1
        if body := b"a" * min(size, room, 16000):
            runtime.h2.send_data(call.stream_id, body, pad_length=padding)
            call.answered += body
        if end:
            runtime.h2.send_headers(call.stream_id, [*OK, (b"x-cost", b"%d" % padding)], end_stream=True)
            call.answered_end = True

    def reset(self, call: Call, *, of_runtime: bool) -> None:
        peer = self.rig.beyond if of_runtime else self.rig.kubelet
        seen = peer.streams.get(call.stream_id, Stream())
        if self.gone or call.reset or seen.reset is not None or (of_runtime and not seen.headers):
            return
        if of_runtime or not self.rig.kubelet.streams[call.stream_id].ended:
            if call.answered_end and call.asked_end:
                return
            peer.h2.reset_stream(call.stream_id, 8)
            call.reset = True

    def configure(self, peer: Peer, values: dict[int, int]) -> None:
        if any(len(each) > 1 for each in peer.h2.local_settings._settings.values()):
            return  # h2 takes the first acknowledgement for one of everything
        if (
            SettingCodes.HEADER_TABLE_SIZE in values
        ):  # h2 writes of two sizes at once the larger one too, and rejects that
            if peer in self.resized:
                return
            self.resized.append(peer)
        if not self.gone:
            peer.h2.update_settings(values)

    def flush(self, peer: Peer) -> None:
        """Let *peer* put its frames on the wire, its header blocks cut as they are to be."""
        peer.raw += in_pieces(peer.h2.data_to_send(), self.block_bytes)

    async def settle(self) -> None:
        for peer in self.rig.peers:
            self.flush(peer)
        await self.rig.settle()
        for number, seen in self.rig.pool_runtime.streams.items():
            if seen.ended and seen.reset is None and number not in self.answered:
                self.answered.add(number)
                self.rig.pool_runtime.h2.send_headers(number, REPLY)
                await self.rig.send(self.rig.pool_runtime, number, frame(b"yo"))
                self.rig.pool_runtime.h2.send_headers(number, OK, end_stream=True)


STEPS = st.one_of(
    st.tuples(st.just("begin"), st.sampled_from([RELAYED, RELAYED, HELD, REFUSED]), st.integers(0, 9)),
    st.tuples(st.just("ask"), st.integers(0, 9), st.integers(0, 20_000), st.integers(0, 200), st.booleans()),
    st.tuples(st.just("answer"), st.integers(0, 9), st.integers(0, 20_000), st.integers(0, 200), st.booleans()),
    st.tuples(st.just("reset"), st.integers(0, 9), st.booleans()),
    st.tuples(st.just("window"), st.sampled_from([0, 1, 100, 5000, 65535, 100_000]), st.booleans()),
    st.tuples(st.just("table"), st.sampled_from([0, 50, 200, 4096, 8192]), st.booleans()),
    st.tuples(st.just("frame"), st.sampled_from([16384, 20_000, 1 << 20]), st.booleans()),
    st.tuples(st.just("ping"), st.booleans()),
    st.tuples(st.just("priority")),
    st.tuples(st.just("settle")),
    st.tuples(st.just("exchange"), st.booleans()),
    st.tuples(st.just("pause"), st.booleans()),
)


def do_to_call(play: Play, kind: str, which: int, *args: Any) -> None:
    """Have one thing happen to one of the latest calls."""
    if not play.calls:
        return
    call = play.calls[-1 - which % len(play.calls)]
    if kind == "reset":
        play.reset(call, of_runtime=args[0])
    else:
        (play.ask if kind == "ask" else play.answer)(call, args[0], args[1], end=args[2])


async def do(play: Play, step: tuple[Any, ...]) -> None:
    """Have one thing happen."""
    rig, kind, *args = play.rig, *step
    match kind:
        case "begin":
            play.begin(*args)
        case "ask" | "answer" | "reset":
            do_to_call(play, kind, *args)
        case "window" | "table" | "frame":
            code = {"window": SettingCodes.INITIAL_WINDOW_SIZE, "table": SettingCodes.HEADER_TABLE_SIZE}.get(
                kind, SettingCodes.MAX_FRAME_SIZE
            )
            play.configure(rig.beyond if args[1] else rig.kubelet, {code: args[0]})
        case "ping":
            (rig.beyond if args[0] else rig.kubelet).h2.ping(b"01234567")
        case "priority":
            play.flush(rig.kubelet)
            rig.kubelet.raw += PriorityFrame(1, depends_on=0, stream_weight=3).serialize()
        case "settle":
            await play.settle()
        case "exchange":
            peer = rig.beyond if args[0] else rig.kubelet
            play.flush(peer)
            peer.exchange(rig.piece_bytes)
        case "pause":
            (rig.downstream.pause_writing if args[0] else rig.downstream.resume_writing)()


async def finish(play: Play) -> None:
    """Bring every call to its end, with windows as they are usually."""
    rig = play.rig
    rig.downstream.resume_writing()
    await play.settle()
    for peer in (rig.kubelet, rig.beyond):
        play.configure(peer, {SettingCodes.INITIAL_WINDOW_SIZE: WINDOW_BYTES})
    await play.settle()
    for call in play.calls:
        for _ in range(2):  # a held request may not have had the room
            play.ask(call, 10, 0, end=True)
            await play.settle()
        play.answer(call, 10, 0, end=True)
        await play.settle()
    await play.settle()


def check(play: Play) -> None:
    """Hold what both sides have seen against what the other has sent."""
    rig = play.rig
    for call in play.calls:
        seen = rig.kubelet.streams[call.stream_id]
        beyond = rig.beyond.streams.get(call.stream_id)
        if call.path == RELAYED and not call.reset:
            assert beyond is not None
            assert (beyond.body, beyond.ended) == (call.asked, True)
            assert (seen.body, seen.ended) == (call.answered, True)
            assert find(seen.headers[-1], b"grpc-status") == b"0"
        elif call.path == HELD and not call.reset:
            assert (seen.body, seen.ended) == (frame(EDITED), True)
        elif call.path == REFUSED:
            assert call.reset or find(seen.headers[-1], b"grpc-status") == b"14"
        assert (beyond is not None) == (call.path == RELAYED)
    assert sorted(path for path, _ in rig.outcomes) == sorted(call.path for call in play.calls)
    assert rig.idle


def granted(peer: Peer) -> int:
    """Return how many bytes *peer* lets the other side send; h2 keeps back those that came for closed streams."""
    size_bytes: int = peer.h2._inbound_flow_control_window_manager.current_window_size
    return size_bytes


def check_windows(rig: Rig) -> None:
    """Each side may send what the other has granted, and crirm owes nothing that it has got."""
    window = rig.downstream.splice.window
    assert rig.kubelet.h2.outbound_flow_control_window == granted(rig.beyond)
    assert window.window_bytes == granted(rig.kubelet)
    assert rig.beyond.h2.outbound_flow_control_window == granted(rig.kubelet) + window._debt_bytes
    assert 0 <= window._debt_bytes <= WINDOW_BYTES - granted(rig.kubelet)


@settings(max_examples=30)
@given(
    steps=st.lists(STEPS, min_size=5, max_size=40),
    piece_bytes=st.sampled_from([7, 100, 1 << 16]),
    block_bytes=st.sampled_from([30, 1 << 14]),
)
def test_calls_end_as_their_peers_say_and_windows_are_whole_again(
    steps: list[tuple[Any, ...]], piece_bytes: int, block_bytes: int
) -> None:
    async def run() -> None:
        async with open_rig(piece_bytes=piece_bytes, precise=True) as rig:
            play = Play(rig, block_bytes)
            rig.route = play.route
            for step in steps:
                await do(play, step)
            await finish(play)
            check(play)
            check_windows(rig)

    bridge.run(run)


@settings(max_examples=25)
@given(
    steps=st.lists(STEPS, min_size=5, max_size=20),
    of_runtime=st.booleans(),
    error=st.sampled_from([None, ConnectionResetError("reset by peer")]),
    kept_bytes=st.integers(0, 3000),
)
def test_every_call_ends_once_when_a_side_vanishes_at_any_byte(
    steps: list[tuple[Any, ...]], *, of_runtime: bool, error: Exception | None, kept_bytes: int
) -> None:
    async def run() -> None:
        async with open_rig(precise=True) as rig:
            play = Play(rig, 1 << 14)
            rig.route = play.route
            for step in steps:
                await do(play, step)
            rig.downstream.resume_writing()
            peer = rig.beyond if of_runtime else rig.kubelet
            data = peer.raw + peer.h2.data_to_send()
            peer.raw.clear()
            if error is None:
                peer.other.data_received(bytes(data[:kept_bytes]))
            peer.vanish(error, b"" if error is None else bytes(data[:kept_bytes]))
            play.gone = True
            for _ in range(4):
                await play.settle()
            begun = [call.path for call in play.calls]
            ended = sorted(path for path, _ in rig.outcomes)
            assert all(ended.count(path) <= begun.count(path) for path in set(begun))
            assert {outcome.status for _, outcome in rig.outcomes} <= {0, 1, 2, 14}
            if of_runtime:
                assert len(ended) == len(begun) or rig.kubelet.goodbye is not None or rig.kubelet.transport.closed
            assert not rig.server.calls or of_runtime
            rig.kubelet.vanish() if not rig.kubelet.transport.closed else None
            await play.settle()
            assert rig.idle

    bridge.run(run)


@settings(max_examples=15)
@given(steps=st.lists(STEPS, min_size=3, max_size=20), left_in=st.integers(0, 6), later=st.integers(0, 3))
def test_a_goodbye_with_streams_in_flight_ends_what_was_not_seen_and_nothing_else(
    steps: list[tuple[Any, ...]], left_in: int, later: int
) -> None:
    async def run() -> None:
        async with open_rig(precise=True) as rig:
            play = Play(rig, 1 << 14)
            rig.route = play.route
            for step in steps:
                await do(play, step)
            rig.downstream.resume_writing()
            await play.settle()
            last = max([call.stream_id for call in play.calls if call.stream_id in rig.beyond.streams][:left_in] or [0])
            rig.beyond.raw += GoAwayFrame(last_stream_id=last).serialize()
            for _ in range(later):
                play.begin(RELAYED, 0)
            await play.settle()
            seen = [call for call in play.calls if call.path == RELAYED and call.stream_id <= last]
            unseen = [call for call in play.calls if call.path == RELAYED and call.stream_id > last]
            play.calls = [call for call in play.calls if call not in unseen]
            await finish(play)
            for call in seen:
                assert call.reset or find(rig.kubelet.streams[call.stream_id].headers[-1], b"grpc-status") == b"0"
            for call in unseen:
                ended = rig.kubelet.streams[call.stream_id].ended
                assert ended or call.reset or call.stream_id > (rig.kubelet.goodbye or 0)
            assert rig.idle

    bridge.run(run)


@pytest.mark.parametrize("size_bytes", [0, 100, 4095, 4096])
def test_a_table_that_the_caller_makes_smaller_in_flight_keeps_both_in_step(size_bytes: int) -> None:
    async def run() -> None:
        async with open_rig(precise=True) as rig:
            await rig.answer(await rig.call())
            rig.kubelet.h2.update_settings({SettingCodes.HEADER_TABLE_SIZE: size_bytes})
            relayed = await rig.call()
            rig.refusal = Refusal(Status.UNAVAILABLE, "no")
            refused = [await rig.call() for _ in range(3)]
            await rig.answer(relayed)
            assert rig.kubelet.streams[relayed].headers == [REPLY, OK]
            assert all(rig.kubelet.streams[call].ended for call in refused)
            assert rig.idle

    bridge.run(run)
