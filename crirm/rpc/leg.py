"""One stream of one HTTP/2 connection: half of a relayed call.

A leg sends what it is given in order, as far as the peer's flow-control window and socket allow, and gives window
back to whoever the bytes came from only when they were sent: so a slow reader stops the sender, and no more than one
window of bytes waits here. What arrives is told to the subclass. asyncio-flavoured throughout: nothing waits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

import attrs
from h2.exceptions import ProtocolError

if TYPE_CHECKING:
    from crirm.rpc.http2 import Headers, Http2Connection

CANCEL = 0x8  # RFC 9113 section 7: the stream is no longer needed
NO_ERROR = 0x0


@attrs.define
class _Chunk:
    """Bytes that wait to be sent, and whom to credit for them."""

    data: bytes
    credit_bytes: int
    source: Leg | None
    end: bool
    held_bytes: int = 0  # that somebody was told of


@attrs.define
class _Head:
    """Headers or trailers that wait to be sent."""

    headers: Headers
    end: bool
    held_bytes: int


class Leg(ABC):
    """One side of a call; see the module."""

    def __init__(self, connection: Http2Connection, stream_id: int) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self._queue: deque[_Chunk | _Head] = deque()
        self.sent_end = False
        self.received_end = False
        connection.legs[stream_id] = self

    # --- told by the connection ----------------------------------------------------------------------------------

    @abstractmethod
    def on_headers(self, headers: Headers, *, end: bool) -> None:
        """Response headers or trailers have arrived; *end* when nothing follows."""

    @abstractmethod
    def on_data(self, data: bytes, credit_bytes: int, *, end: bool) -> None:
        """Bytes have arrived; the peer may send as many again once *credit_bytes* were credited."""

    @abstractmethod
    def on_reset(self, code: int) -> None:
        """The peer has ended the stream at once, with an HTTP/2 error code."""

    @abstractmethod
    def on_too_long(self, what: str) -> None:
        """The peer has sent *what*, which is more than may be, in the place of headers or trailers."""

    @abstractmethod
    def lost(self, reason: str) -> None:
        """The connection under the stream is gone."""

    def on_sent(self) -> None:  # noqa: B027 - a hook; not everybody needs it
        """Everything up to our end of the stream is in the connection's hands."""

    # --- sending -------------------------------------------------------------------------------------------------

    def send_headers(self, headers: Headers, *, end: bool = False) -> None:
        """Send headers, or trailers (*end*), after what waits already."""
        if self._queue or not self.connection.writable:
            head = _Head(headers, end, sum(len(name) + len(value) for name, value in headers))
            self._queue.append(head)
            self.hold(head.held_bytes)
        else:
            self._write_headers(headers, end=end)

    def send_data(self, data: bytes, *, credit_bytes: int, source: Leg | None, end: bool) -> None:
        """Send *data* when the peer has room, then credit *source*; *end* when nothing follows."""
        chunk = _Chunk(data, credit_bytes, source, end)
        self._queue.append(chunk)
        self.pump()
        if self._queue and self._queue[-1] is chunk:
            chunk.held_bytes = len(data)
            self.hold(chunk.held_bytes)

    def reset(self, code: int) -> None:
        """End the stream at once, both ways; what waited is dropped and credited."""
        if not self.connection.lost and not (self.sent_end and self.received_end):
            with suppress(ProtocolError):  # the peer was quicker: the stream is closed already
                self.connection.h2.reset_stream(self.stream_id, code)
                self.connection.flusher.add(self.connection)
        self.forget()  # last: whoever waits for room may begin at once

    def forget(self) -> None:
        """Take no further part in the connection."""
        self.drop()
        if self.connection.legs.get(self.stream_id) is self:
            del self.connection.legs[self.stream_id]
            self.connection.on_room()

    def drop(self) -> None:
        """Give up what waits to be sent, and credit it."""
        waiting, self._queue = self._queue, deque()
        for item in waiting:
            self._let_go(item)

    def _let_go(self, item: _Chunk | _Head) -> None:
        if item.held_bytes:
            self.hold(-item.held_bytes)
        if isinstance(item, _Chunk) and item.source is not None:
            item.source.credit(item.credit_bytes)

    def hold(self, more_bytes: int) -> None:  # noqa: B027 - a hook; what is our own is small
        """Bytes wait here, *more_bytes* than before, or less when that is negative."""

    def credit(self, size_bytes: int) -> None:
        """Let the peer send *size_bytes* more."""
        self.connection.credit(self.stream_id, size_bytes)

    def pump(self) -> None:
        """Send as much of what waits as the peer has room for."""
        while self._queue and self.connection.writable:
            item = self._queue[0]
            if isinstance(item, _Chunk):
                if not self._pump_chunk(item):
                    return
            else:
                self._queue.popleft()
                self._let_go(item)
                self._write_headers(item.headers, end=item.end)

    def _pump_chunk(self, chunk: _Chunk) -> bool:
        """Send of *chunk* what fits; True when all of it is sent."""
        http2 = self.connection.h2
        try:
            room = min(http2.local_flow_control_window(self.stream_id), http2.max_outbound_frame_size)
            fits = len(chunk.data) <= room
            if not fits and room <= 0:
                return False
            http2.send_data(self.stream_id, chunk.data if fits else chunk.data[:room], end_stream=chunk.end and fits)
        except ProtocolError:
            self.drop()  # closed by the peer in this very batch; its reset is one of the next events
            return False
        self.connection.flusher.add(self.connection)
        if not fits:
            chunk.data = chunk.data[room:]
            return True
        self._queue.popleft()
        self._let_go(chunk)
        if chunk.end:
            self.mark_ended()
        return True

    def _write_headers(self, headers: Headers, *, end: bool) -> None:
        try:
            self.connection.h2.send_headers(self.stream_id, headers, end_stream=end)
        except ProtocolError:
            return  # as above
        self.connection.flusher.add(self.connection)
        if end:
            self.mark_ended()

    def mark_ended(self) -> None:
        """Note that our end of the stream was sent."""
        self.sent_end = True
        self.on_sent()
