"""What goes to the caller keeps to its window, and the runtime believes what is true but for the debt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crirm.rpc import frames as h2
from crirm.rpc.caller_window import CallerWindow
from crirm.rpc.frames import HEAD_BYTES, USUAL_WINDOW_BYTES

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ours"), st.integers(0, 16_384)),
        st.tuples(st.just("runtime"), st.integers(0, 16_384)),
        st.tuples(st.just("opened"), st.integers(1, 70_000)),
    ),
    max_size=60,
)


def data(stream_id: int, size_bytes: int) -> bytes:
    return h2.frame(h2.DATA, h2.END_STREAM, stream_id, bytes(size_bytes))


def streams(frames: list[bytes]) -> list[tuple[int, int, bool]]:
    """Return each stream in its order, with how many bytes came for it and whether it has ended."""
    seen: dict[int, tuple[int, int, bool]] = {}
    for frame in frames:
        *_, flags, stream_id = h2.HEAD.unpack_from(frame)
        _, size, _ = seen.pop(stream_id, (stream_id, 0, False))
        seen[stream_id] = (stream_id, size + len(frame) - HEAD_BYTES, bool(flags & h2.END_STREAM))
    return list(seen.values())


@given(STEPS)
def test_frames_keep_their_order_and_the_window(steps: list[tuple[str, int]]) -> None:
    out: list[bytes] = []
    window = CallerWindow(out)
    room = believed = USUAL_WINDOW_BYTES  # of the caller, and as the runtime believes
    sent: list[bytes] = []
    outstanding = 0
    for number, (kind, wanted) in enumerate(steps):
        seen = len(out)
        if kind == "ours":
            sent.append(data(number, wanted))
            window.send(sent[-1], wanted)
        elif kind == "runtime":
            if wanted > believed:
                continue
            believed -= wanted
            sent.append(data(number, wanted))
            if window.passes(wanted):
                out.append(sent[-1])
            else:
                window.wait(sent[-1], wanted)
                window.free()
        else:
            granted = min(wanted, outstanding)
            outstanding, room = outstanding - granted, room + granted
            believed += window.opened(granted)
        used = sum(len(frame) - HEAD_BYTES for frame in out[seen:])
        room, outstanding = room - used, outstanding + used
        assert room >= 0
        assert not (window.waits and room), "a caller that grants only when all is read gets all that it has granted"
        assert streams(out)[:-1] == streams(sent)[: len(streams(out)[:-1])]
    while outstanding:
        granted, outstanding, seen = outstanding, 0, len(out)
        believed += window.opened(granted)
        outstanding += sum(len(frame) - HEAD_BYTES for frame in out[seen:])
    assert streams(out) == streams(sent), "nothing waits for ever"
    assert believed == window.window_bytes == USUAL_WINDOW_BYTES
    assert not window.waits


def test_a_padded_frame_waits_whole() -> None:
    out: list[bytes] = []
    window = CallerWindow(out)
    assert window.passes(USUAL_WINDOW_BYTES - 2)
    padded = h2.frame(h2.DATA, h2.PADDED, 1, b"\x02abc\0\0")
    assert not window.passes(6)
    window.wait(padded, 6)
    assert out == []
    window.opened(6)
    assert out == [padded]
