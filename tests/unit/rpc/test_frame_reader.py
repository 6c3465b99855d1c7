"""Frames are found wherever the bytes are cut, and go on as they are unless somebody says otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.rpc import frames as h2
from crirm.rpc.frame_reader import FRAMES_PER_TURN, FrameReader
from crirm.rpc.frames import FrameError

if TYPE_CHECKING:
    from crirm.rpc.frame_reader import Handler

FRAMES = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9), st.binary(max_size=50)), max_size=150)


@given(FRAMES, st.lists(st.integers(1, 200), min_size=1))
def test_what_nobody_changes_goes_on_byte_for_byte(frames: list[tuple[int, int, bytes]], cuts: list[int]) -> None:
    """Frames of type 5 are dropped, and those of type 6 replaced."""
    seen: list[tuple[int, int, bytes]] = []

    def handler(kind: int) -> Handler:
        def handle(stream_id: int, _flags: int, data: bytes, at: int, end: int) -> bytes | None:
            seen.append((kind, stream_id, data[at:end]))
            return {5: b"", 6: b"other"}.get(kind)

        return handle

    frames = [each for each in frames if each[0] not in {h2.HEADERS, h2.CONTINUATION}]
    data = b"".join(h2.frame(kind, 0, stream_id, payload) for kind, stream_id, payload in frames)
    reader, out, at = FrameReader(), list[bytes](), 0
    while at < len(data):
        reader.add(data[at : at + cuts[at % len(cuts)]])
        at += cuts[at % len(cuts)]
        reader.work([handler(kind) for kind in range(11)], out)
    while reader.unread:
        reader.work([handler(kind) for kind in range(11)], out)
    assert seen == [(min(kind, 10), stream_id, payload) for kind, stream_id, payload in frames]
    passed = {5: b"", 6: b"other"}
    assert b"".join(out) == b"".join(
        passed.get(kind, h2.frame(kind, 0, stream_id, payload)) for kind, stream_id, payload in frames
    )


def test_very_many_frames_take_several_turns() -> None:
    reader, out = FrameReader(), list[bytes]()
    reader.add(h2.frame(h2.PING, 0, 0, b"01234567") * (FRAMES_PER_TURN + 1))
    reader.work([lambda *_: None] * 11, out)
    assert reader.unread
    assert len(b"".join(out)) == FRAMES_PER_TURN * 17


@pytest.mark.parametrize("data", [b"\0\x40\1", b"HTTP/1.1 400 Bad Request"], ids=["one byte too many", "noise"])
def test_a_frame_beyond_the_largest_is_refused_by_its_head(data: bytes) -> None:
    reader = FrameReader()
    reader.add(data + bytes(9))
    with pytest.raises(FrameError):
        reader.work([lambda *_: None] * 11, [])
