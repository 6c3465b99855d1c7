"""A gRPC client's connection to crirm, as grpc-go has it.

It waits for the settings and for room for its streams, and its headers are entries of a table, which crirm has to
follow although the runtime has none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio
from grpclib.const import Status
from hpack import Encoder, NeverIndexedHeaderTuple

from crirm.rpc import frames as h2
from crirm.rpc.grpc_wire import Deframer, frame, request_headers, status_of
from tests.simulation.peer import WIDE_OPEN, WINDOWS, Peer, data_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc.header_blocks import Headers

_GREETING = h2.PREFACE + h2.settings(WINDOWS) + WIDE_OPEN
CLOSING = "transport is closing"


@attrs.define(eq=False)
class Asked:
    """A call that waits for its answer."""

    number: bytes
    deliver: Callable[[bytes], None]
    ended: trio.Event = attrs.field(factory=trio.Event)
    status: tuple[int, str] = (Status.UNKNOWN.value, "no status")
    replied: bool = False  # the headers have come
    deframer: Deframer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Deliver whole messages."""
        self.deframer = Deframer(self.deliver, None)

    def end(self, status: int, message: str) -> None:
        """Tell how it went."""
        if not self.ended.is_set():
            self.status = status, message
            self.ended.set()


class Client(Peer):
    """One connection.

    Args:
        forbidden: see `Peer`.
    """

    def __init__(self, forbidden: Callable[[str], None]) -> None:
        super().__init__(forbidden)
        self.leaving = False  # no call is begun on it any more
        self._asked: dict[int, Asked] = {}
        self._left: set[int] = set()  # streams that were reset here: more of them may still come
        self._encoder = Encoder()
        self._next = 1
        self._most = h2.LARGEST_STREAM_ID
        self._changed = trio.Event()

    def greeting(self) -> bytes:
        """See `Peer`."""
        return _GREETING

    # --- calls ---------------------------------------------------------------------------------------------------

    async def room(self) -> bool:
        """Wait until a call may begin; False where it has to begin on another connection."""
        while not self.leaving and not (self.greeted and len(self._asked) < self._most):
            await self._changed.wait()
        return not self.leaving

    def ask(self, path: str, message: bytes, timeout_s: float | None, asked: Asked) -> int:
        """Begin a call and return the number of its stream."""
        stream_id, self._next = self._next, self._next + 2
        self._asked[stream_id] = asked
        headers = [*request_headers(path.encode(), timeout_s), NeverIndexedHeaderTuple(b"x-call", asked.number)]
        block = self._encoder.encode(headers, huffman=False)
        frames = h2.header_frames(stream_id, block, end=False)
        self.send(frames + data_frames(stream_id, frame(message), end=True))
        return stream_id

    def leave(self, stream_id: int) -> None:
        """Wait no more for the answer to a call."""
        if self._asked.pop(stream_id, None) is not None:
            self._left.add(stream_id)
            self.send(h2.rst_stream(stream_id, h2.CANCEL))
            self._has_room()

    def _end(self, stream_id: int, status: int, message: str) -> None:
        self._asked.pop(stream_id).end(status, message)
        self._has_room()

    def _has_room(self) -> None:
        changed, self._changed = self._changed, trio.Event()
        changed.set()
        if self.leaving and not self._asked:
            self.close()

    # --- answers -------------------------------------------------------------------------------------------------

    def on_settings(self, settings: dict[int, int]) -> None:
        """Take note of how many streams there may be."""
        self._most = settings.get(h2.MAX_CONCURRENT_STREAMS, self._most)
        self._has_room()

    def on_headers(self, stream_id: int, headers: Headers, *, end: bool) -> None:
        """Take headers, or the trailers that end a call."""
        asked = self._asked.get(stream_id)
        if asked is None:
            self._check_left("headers", stream_id)
        elif end:
            self._end(stream_id, *status_of(headers))
        elif asked.replied:
            self._forbid(f"headers of stream {stream_id} twice")
        else:
            asked.replied = True

    def on_data(self, stream_id: int, data: bytes, *, end: bool) -> None:
        """Take bytes of an answer."""
        asked = self._asked.get(stream_id)
        if asked is None:
            self._check_left("data", stream_id)
        elif end or not asked.replied:
            self._forbid(f"data of stream {stream_id} without {'trailers' if end else 'headers'}")
        else:
            asked.deframer.feed(data)

    def on_reset(self, stream_id: int, code: int) -> None:
        """Take the end of a call; also of one that crirm has answered before it had all of the request."""
        if stream_id in self._asked:
            self._end(stream_id, Status.UNAVAILABLE.value, f"stream reset {code}")
        elif stream_id >= self._next:
            self._forbid(f"a reset of stream {stream_id}, which is none")

    def _check_left(self, what: str, stream_id: int) -> None:
        if stream_id not in self._left:
            self._forbid(
                f"{what} of stream {stream_id}, {'which is over' if stream_id < self._next else 'which is none'}"
            )

    def on_window(self, stream_id: int, size_bytes: int) -> None:  # noqa: ARG002 - there is enough
        """Check that there is such a stream."""
        if stream_id >= self._next:
            self._forbid(f"a window of stream {stream_id}, which is none")

    def on_goaway(self, last_stream_id: int, code: int) -> None:
        """Begin no call here any more; those that were heard of go on."""
        if code:
            self._forbid(f"GOAWAY with error {code}")
        self.leaving = True
        for stream_id in [stream_id for stream_id in self._asked if stream_id > last_stream_id]:
            self._asked.pop(stream_id).end(Status.UNAVAILABLE.value, CLOSING)
        self._has_room()

    def on_lost(self) -> None:
        """End all calls."""
        self.leaving = True
        asked, self._asked = self._asked, {}
        for one in asked.values():
            one.end(Status.UNAVAILABLE.value, CLOSING)
        self._changed.set()
