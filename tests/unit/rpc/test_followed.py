"""Calls that somebody listens to."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING

import attrs

from crirm.rpc.compression import plain
from crirm.rpc.grpc_wire import frame
from tests.unit.rpc.rig import Rig, on_loop

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


@on_loop
async def test_a_tap_sees_whole_messages_of_the_calls_it_asked_for() -> None:
    tap = Recorder()
    rig = Rig(tap=tap, piece_bytes=3)
    packed = gzip.compress(b"one")
    rig.call((b"grpc-encoding", b"gzip"), body=b"\1" + len(packed).to_bytes(4, "big") + packed)
    rig.answer(1, body=frame(b"first") + frame(b""))
    rig.call(path=b"/other/Method")
    rig.answer(3)
    assert tap.messages == [("request", b"one"), ("reply", b"first"), ("reply", b"")]
    assert [outcome.status for outcome in tap.outcomes] == [0]
    assert all(part >= 0 for part in attrs.astuple(tap.outcomes[0].latency))


@on_loop
async def test_a_dumped_message_without_end_is_not_kept() -> None:
    tap = Recorder()
    rig = Rig(tap=tap)
    stream = rig.call(body=None)
    rig.send(rig.kubelet, stream, b"\0\xff\xff\xff\xff" + b"x" * (3 << 20), end=True)
    rig.settle()
    assert rig.server.budget.held_bytes < 10_000, "the call itself"
    assert len(rig.runtime.streams[1].body) == 5 + (3 << 20)
    assert not tap.messages
    rig.answer(1)
    assert rig.idle
