"""Input from one side of a spliced connection: cut into frames, with header blocks that span several."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from crirm.rpc import frames as h2
from crirm.rpc.frames import HEAD, HEAD_BYTES, FrameError
from crirm.rpc.header_blocks import MAX_HEADER_LIST_BYTES

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

MAX_BLOCK_BYTES: Final = MAX_HEADER_LIST_BYTES + (1 << 20)
FRAMES_PER_TURN: Final = 64  # about 1 ms of small calls; more than one read of whole data frames holds

Handler = Callable[[int, int, bytes, int, int], bytes | None]
"""Looks at one frame: stream, flags, the bytes it came in, where its payload begins and ends there.

Returns what goes on in its place: None for the frame as it is, b"" for nothing.
"""


class FrameReader:
    """Bytes of one peer: unhandled ones, an incomplete frame, and an incomplete header block."""

    __slots__ = (
        "at",
        "block",
        "block_bytes",
        "data",
        "flags",
        "late",
        "needed_bytes",
        "steps",
        "stream_id",
    )

    def __init__(self) -> None:
        self.data = b""
        self.at = 0
        self.late = bytearray()  # half a frame
        self.needed_bytes = 0
        self.block: list[bytes] | None = None  # of a header block that goes on
        self.block_bytes = 0
        self.stream_id = self.flags = 0  # of that block
        self.steps: Generator[None, None, None] | None = None  # decoding of a long block

    def add(self, data: bytes) -> None:
        """Add *data* for `work`."""
        if self.late:
            self.late += data
            if len(self.late) < self.needed_bytes:
                return
            data, self.late = bytes(self.late), bytearray()
        self.data, self.at = (self.data[self.at :] + data if self.at < len(self.data) else data), 0

    @property
    def unread(self) -> bool:
        """Whether there is anything to do now."""
        return self.steps is not None or self.at < len(self.data)

    @property
    def half_bytes(self) -> int:
        """Size of an incomplete frame or header block."""
        return len(self.late) + (self.block_bytes if self.block is not None else 0)

    def begin_block(self, stream_id: int, flags: int, piece: bytes) -> None:
        """Store the first *piece* of a header block that continues."""
        self.stream_id, self.flags = stream_id, flags
        self.block, self.block_bytes = [piece], len(piece)

    def go_on_with_block(self, stream_id: int, piece: bytes) -> None:
        """Store the next *piece*.

        Raises:
            FrameError: there is no block, or it is too large.
        """
        if self.block is None or stream_id != self.stream_id:
            raise FrameError(h2.PROTOCOL_ERROR, "unexpected CONTINUATION frame")
        self.block.append(piece)
        self.block_bytes += len(piece)
        if self.block_bytes > MAX_BLOCK_BYTES:
            raise FrameError(h2.ENHANCE_YOUR_CALM, f"header block larger than {MAX_BLOCK_BYTES} bytes")

    def end_block(self) -> bytes:
        """Return the complete block."""
        block, self.block = b"".join(self.block or ()), None
        return block

    def work(self, handlers: Sequence[Handler], out: list[bytes]) -> None:  # noqa: C901 - one loop, 1 us per frame
        """Pass the next frames to *handlers* (by type of frame, the last for all others), and append output to *out*.

        Raises:
            FrameError, HPACKError: they are invalid; the connection must be closed.
        """
        if self.steps is not None and not self._work_off():
            return
        data, at, size, budget = self.data, self.at, len(self.data), FRAMES_PER_TURN
        begin, needed_bytes, unpack, others = at, 0, HEAD.unpack_from, len(handlers) - 1
        try:
            while at < size and budget and self.steps is None:
                if size - at < HEAD_BYTES:
                    needed_bytes = HEAD_BYTES
                    break
                high, low, kind, flags, stream_id = unpack(data, at)
                end = at + HEAD_BYTES + (high << 8 | low)
                if end > size or kind == h2.CONTINUATION or self.block is not None:
                    self._check(end - at - HEAD_BYTES, kind)
                    if end > size:
                        needed_bytes = end - at
                        break
                budget -= 1
                handler = handlers[kind] if kind < others else handlers[others]
                verdict = handler(stream_id & h2.LARGEST_STREAM_ID, flags, data, at + HEAD_BYTES, end)
                if verdict is not None:
                    if at > begin:
                        out.append(data[begin:at])
                    if verdict:
                        out.append(verdict)
                    begin = end
                at = end
        finally:
            if at > begin:
                out.append(data if not begin and at == size else data[begin:at])
            self.at = at
        if needed_bytes:
            self.late, self.needed_bytes = bytearray(data[at:]), needed_bytes
            self.data, self.at = b"", 0

    def _check(self, length: int, kind: int) -> None:
        if length > h2.USUAL_FRAME_BYTES:
            raise FrameError(h2.FRAME_SIZE_ERROR, f"frame of {length} bytes; the limit is {h2.USUAL_FRAME_BYTES}")
        if self.block is not None and kind != h2.CONTINUATION:
            raise FrameError(h2.PROTOCOL_ERROR, "header block interrupted by another frame")

    def _work_off(self) -> bool:
        """Continue a long header block; True at its end."""
        if self.steps is None or next(self.steps, self) is not self:
            return self.steps is None
        self.steps = None
        return True
