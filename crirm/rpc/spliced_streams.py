"""The streams of a spliced connection: those that pass to the runtime, and those kept from it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol, final

if TYPE_CHECKING:
    from crirm.rpc.header_blocks import Headers


class Watch(Protocol):
    """Observes a passing call; no method may raise or wait."""

    def request(self, piece: bytes) -> None:
        """Take the next bytes of the request, with gRPC framing, before the runtime does."""

    def reply_headers(self, headers: Headers) -> None:
        """Take the headers of the reply; a trailers-only reply has none."""

    def reply(self, piece: bytes) -> None:
        """Take the next bytes of the reply; before the caller does."""

    def answered(self, trailers: Headers) -> None:
        """Note that the reply is complete, before the caller gets it."""

    def broken(self, status: int, message: str) -> None:
        """Note that the call ended without a reply: the outcome at the runtime is unknown."""


class Sink(Protocol):
    """Takes the request of a kept call."""

    def begun(self) -> None:
        """Note that the call has begun; it may be ended at once."""

    def data(self, piece: bytes) -> None:
        """Take the next bytes of the request."""

    def ended(self) -> None:
        """Note that the request is complete."""

    def waits(self, size_bytes: int) -> None:
        """Note how much of the reply waits for the caller's window; the call may be ended as a result."""

    def cancelled(self) -> None:
        """Note that the caller no longer waits for the reply."""


@final
class Passing:
    """A call that passes to the runtime unchanged.

    Args:
        stream_id: on both sides.
        path: as the caller sent it.
        block: the header block for the runtime.
        watch: observes; None: not observed.
    """

    __slots__ = ("block", "caller_ended", "path", "replied", "runtime_ended", "stream_id", "watch")

    def __init__(self, stream_id: int, path: bytes, block: bytes, watch: Watch | None) -> None:
        self.stream_id = stream_id
        self.path = path
        self.block = block
        self.watch = watch
        self.caller_ended = self.runtime_ended = self.replied = False

    @property
    def over(self) -> bool:
        """Whether the reply has ended."""
        return self.runtime_ended


@final
class Kept:
    """A call that the runtime does not see on this connection.

    Args:
        stream_id: of the caller.
        path: as the caller sent it.
        sink: takes the request; None if it is already refused.
        refusal: trailers that end it at once.
    """

    __slots__ = (
        "caller_ended",
        "over",
        "path",
        "refusal",
        "sink",
        "stream_id",
        "waiting",
        "waiting_bytes",
        "window_bytes",
    )

    def __init__(self, stream_id: int, path: bytes, sink: Sink | None, refusal: Headers | None = None) -> None:
        self.stream_id = stream_id
        self.path = path
        self.sink = sink
        self.refusal = refusal
        self.caller_ended = False
        self.over = False  # the reply was sent completely
        self.window_bytes = 0  # of the caller's window on this stream
        self.waiting_bytes = 0
        self.waiting: deque[tuple[bytes, Headers | None, bool]] = deque()
        """Of the reply: bytes of DATA, or headers, and whether these end it."""
