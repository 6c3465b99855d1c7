"""Frames as bytes: what crirm writes is what hyperframe reads, and what is broken is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hyperframe.frame import DataFrame, Frame, HeadersFrame

from crirm.rpc import frames as h2
from crirm.rpc.frames import FrameError

if TYPE_CHECKING:
    from collections.abc import Callable


def read(data: bytes) -> list[Any]:
    made, at = list[Any](), 0
    while at < len(data):
        frame, length = Frame.parse_frame_header(memoryview(data)[at : at + 9])
        frame.parse_body(memoryview(data)[at + 9 : at + 9 + length])
        made.append(frame)
        at += 9 + length
    return made


@pytest.mark.parametrize("size_bytes", [0, 10, 1 << 14, (1 << 14) + 1, 100_000])
def test_a_header_block_of_any_length_is_one_headers_frame_and_what_it_takes_besides(size_bytes: int) -> None:
    frames = read(h2.header_frames(5, b"x" * size_bytes, end=True))
    assert b"".join(frame.data for frame in frames) == b"x" * size_bytes
    assert isinstance(frames[0], HeadersFrame)
    assert "END_STREAM" in frames[0].flags
    assert [("END_HEADERS" in frame.flags) for frame in frames] == [False] * (len(frames) - 1) + [True]
    assert {frame.stream_id for frame in frames} == {5}


@pytest.mark.parametrize("padding", [0, 1, 255])
def test_padding_is_taken_off(padding: int) -> None:
    payload = DataFrame(1, data=b"body", pad_length=padding, flags=("PADDED",)).serialize()[9:]
    assert h2.content(h2.DATA, h2.PADDED, payload) == b"body"
    made = HeadersFrame(1, data=b"block", pad_length=padding, depends_on=3, flags=("PADDED", "PRIORITY"))
    assert h2.content(h2.HEADERS, h2.PADDED | h2.WITH_PRIORITY, made.serialize()[9:]) == b"block"


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(lambda: h2.content(h2.DATA, h2.PADDED, b""), id="padded, and empty"),
        pytest.param(lambda: h2.content(h2.DATA, h2.PADDED, b"\x04abc"), id="more padding than there is"),
        pytest.param(lambda: h2.content(h2.HEADERS, h2.WITH_PRIORITY, b"abc"), id="half a priority"),
        pytest.param(lambda: h2.number_in(b"abc"), id="a short number"),
        pytest.param(lambda: h2.settings_in(b"abc"), id="half a setting"),
        pytest.param(lambda: h2.goaway_at_least(b"abcd", 1), id="half a GOAWAY"),
        pytest.param(lambda: h2.whole_frames(b"HTTP/1.1 400"), id="a frame of megabytes"),
    ],
)
def test_what_is_broken_is_refused(broken: Callable[[], object]) -> None:
    with pytest.raises(FrameError):
        broken()
