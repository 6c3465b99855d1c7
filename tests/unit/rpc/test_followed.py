"""Calls that somebody listens to."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import attrs

from crirm.rpc.compression import plain
from crirm.rpc.grpc_wire import frame
from tests.unit.rpc.rig import OK, REPLY, in_guest_mode, open_rig

if TYPE_CHECKING:
    from crirm.rpc.tap import CallTap, Outcome


@attrs.define
class Recorder:
    """A tap that keeps everything."""

    messages: list[tuple[str, bytes]] = attrs.field(factory=list)
    outcomes: list[Outcome] = attrs.field(factory=list)

    def open(self, path: str) -> CallTap | None:
        return self if path.endswith("/Version") else None

    def request(self, message: bytes) -> None:
        self.messages.append(("request", plain(message, 100)))

    def reply(self, message: bytes) -> None:
        self.messages.append(("reply", message))

    def close(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


@in_guest_mode
async def test_a_tap_sees_whole_messages_of_the_calls_it_asked_for() -> None:
    tap = Recorder()
    async with open_rig(tap=tap, piece_bytes=3) as rig:
        packed = gzip.compress(b"one")
        stream = await rig.call((b"grpc-encoding", b"gzip"), body=b"\1" + len(packed).to_bytes(4, "big") + packed)
        await rig.answer(stream, body=frame(b"first") + frame(b""))
        other = await rig.call(path=b"/other/Method")
        await rig.answer(other)
        assert tap.messages == [("request", b"one"), ("reply", b"first"), ("reply", b"")]
        assert [(outcome.status, outcome.certain) for outcome in tap.outcomes] == [(0, True)]
        assert all(part >= 0 for part in attrs.astuple(tap.outcomes[0].latency))


@in_guest_mode
async def test_padding_is_none_of_a_taps_business() -> None:
    tap = Recorder()
    async with open_rig(tap=tap) as rig:
        stream = await rig.call(body=None)
        rig.kubelet.h2.send_data(stream, frame(b"hi"), end_stream=True, pad_length=9)
        await rig.settle()
        rig.beyond.h2.send_headers(stream, REPLY)
        rig.beyond.h2.send_data(stream, frame(b"yo"), pad_length=200)
        rig.beyond.h2.send_headers(stream, OK, end_stream=True)
        await rig.settle()
        assert tap.messages == [("request", b"hi"), ("reply", b"yo")]


@in_guest_mode
async def test_a_call_that_breaks_is_doubtful() -> None:
    tap = Recorder()
    async with open_rig(tap=tap) as rig:
        await rig.call()
        rig.beyond.vanish()
        await rig.settle()
        assert [(outcome.status, outcome.certain) for outcome in tap.outcomes] == [(14, False)]


@in_guest_mode
async def test_a_dumped_message_without_end_is_not_kept() -> None:
    tap = Recorder()
    async with open_rig(tap=tap) as rig:
        stream = await rig.call(body=None)
        await rig.send(rig.kubelet, stream, b"\0\xff\xff\xff\xff" + b"x" * (3 << 20), end=True)
        await rig.settle()
        assert rig.server.budget.held_bytes == 0
        assert len(rig.beyond.streams[stream].body) == 5 + (3 << 20)
        assert not tap.messages
        await rig.answer(stream)
        assert rig.idle


@in_guest_mode
async def test_a_tap_that_holds_too_much_looks_no_further_and_the_call_goes_on() -> None:
    tap = Recorder()
    async with open_rig(tap=tap) as rig:
        rig.limit(most_bytes=1 << 20, most_of_one_bytes=1 << 20)
        stream = await rig.call(body=frame(b"x" * (2 << 20)))
        assert rig.server.budget.held_bytes == 0
        await rig.answer(stream)
        assert tap.messages == []
        assert [outcome.status for outcome in tap.outcomes] == [0]
        assert rig.kubelet.streams[stream].headers == [REPLY, OK]
        assert rig.idle
