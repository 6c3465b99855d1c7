"""The streams of a spliced connection: those that pass to the runtime, and those that are kept from it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol, final

if TYPE_CHECKING:
    from crirm.rpc.header_blocks import Headers


class Watch(Protocol):
    """Looks on while a call passes; nothing here may raise or wait."""

    def request(self, piece: bytes) -> None:
        """Take the next bytes of the request, framed as gRPC does; before the runtime does."""

    def reply_headers(self, headers: Headers) -> None:
        """Take the headers of the reply; a reply that consists of trailers has none."""

    def reply(self, piece: bytes) -> None:
        """Take the next bytes of the reply; before the caller does."""

    def answered(self, trailers: Headers) -> None:
        """Hear that the reply is whole, before the caller does."""

    def broken(self, status: int, message: str) -> None:
        """Hear that the call has ended without one: nobody knows what the runtime has done."""


class Sink(Protocol):
    """Takes the request of a kept call."""

    def begun(self) -> None:
        """Hear that the call has begun; it may be ended at once."""

    def data(self, piece: bytes) -> None:
        """Take the next bytes of the request."""

    def ended(self) -> None:
        """Hear that the request is whole."""

    def waits(self, size_bytes: int) -> None:
        """Hear how much of the reply waits for the caller's window; the call may be ended because of it."""

    def cancelled(self) -> None:
        """Hear that nobody waits for the reply."""


@final
class Passing:
    """A call that goes to the runtime as it is.

    Args:
        stream_id: on both sides.
        path: as the caller sent it.
        block: the header block for the runtime.
        watch: looks on; None when nobody does.
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
        """Whether the reply has come to its end."""
        return self.runtime_ended


@final
class Kept:
    """A call of which the runtime does not hear on this connection.

    Args:
        stream_id: of the caller.
        path: as the caller sent it.
        sink: takes the request; None where it is refused already.
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
        self.over = False  # the reply was sent to its end
        self.window_bytes = 0  # that the caller takes on this stream
        self.waiting_bytes = 0
        self.waiting: deque[tuple[bytes, Headers | None, bool]] = deque()
        """Of the reply: bytes of DATA, or headers, and whether these end it."""
