"""What goes to the caller keeps to its window, and the runtime believes what is true but for the debt."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from crirm.rpc.caller_window import CallerWindow
from crirm.rpc.frames import USUAL_WINDOW_BYTES

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ours"), st.integers(0, 16_384)),
        st.tuples(st.just("runtime"), st.integers(0, 16_384)),
        st.tuples(st.just("opened"), st.integers(1, 70_000)),
    ),
    max_size=60,
)


@given(STEPS)
def test_frames_keep_their_order_and_the_window(steps: list[tuple[str, int]]) -> None:
    out: list[bytes] = []
    window = CallerWindow(out)
    room = believed = USUAL_WINDOW_BYTES  # of the caller, and as the runtime believes
    sent: list[bytes] = []
    outstanding = 0
    for number, (kind, wanted) in enumerate(steps):
        size, seen = wanted, len(out)
        frame = b"%d %d" % (number, size)
        if kind == "ours":
            sent.append(frame)
            window.send(frame, size)
        elif kind == "runtime":
            if size > believed:
                continue
            believed -= size
            frame = b"%d %d" % (number, size)
            sent.append(frame)
            if window.passes(size):
                out.append(frame)
            else:
                window.wait(frame, size)
        else:
            size = min(wanted, outstanding)
            outstanding -= size
            room += size
            believed += window.opened(size)
        used = sum(int(frame.split()[1]) for frame in out[seen:])
        room, outstanding = room - used, outstanding + used
        assert room >= 0
        assert out == sent[: len(out)]
    while outstanding:
        size, outstanding, seen = outstanding, 0, len(out)
        believed += window.opened(size)
        outstanding += sum(int(frame.split()[1]) for frame in out[seen:])
    assert out == sent, "nothing waits for ever"
    assert believed == window.window_bytes == USUAL_WINDOW_BYTES
    assert not window.waits


def test_nothing_of_ours_goes_between_the_frames_of_a_block() -> None:
    out: list[bytes] = []
    window = CallerWindow(out)
    window.in_block = True
    window.send(b"data", 4)
    window.send_at_once(b"update")
    assert out == []
    window.block_ended()
    assert out == [b"data", b"update"]
