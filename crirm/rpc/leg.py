"""One stream of a connection to the runtime: sends a request as flow control allows, and reports what arrives.

asyncio-flavoured throughout: nothing waits.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import TYPE_CHECKING

from h2.exceptions import ProtocolError

from crirm.rpc.frames import CANCEL

if TYPE_CHECKING:
    from crirm.rpc.header_blocks import Headers
    from crirm.rpc.http2 import Http2Connection


class Leg(ABC):
    """The stream of one call whose request is complete; see the module.

    Args:
        connection: on which the headers were sent already.
        stream_id: of the stream.
        body: what follows them.
    """

    def __init__(self, connection: Http2Connection, stream_id: int, body: bytes) -> None:
        self.connection = connection
        self.stream_id = stream_id
        self.sent_end = False
        self.received_end = False
        self._body = memoryview(body)
        connection.legs[stream_id] = self
        self.pump()

    # --- told by the connection ----------------------------------------------------------------------------------

    @abstractmethod
    def on_headers(self, headers: Headers, *, end: bool) -> None:
        """Response headers or trailers have arrived; *end* when nothing follows."""

    @abstractmethod
    def on_data(self, data: bytes, credit_bytes: int, *, end: bool) -> None:
        """Bytes have arrived; the peer may send as many again after *credit_bytes* are credited."""

    @abstractmethod
    def on_reset(self, code: int) -> None:
        """The peer has reset the stream, with an HTTP/2 error code."""

    @abstractmethod
    def on_too_long(self, what: str) -> None:
        """The peer has sent headers or trailers that exceed the limit: *what*."""

    @abstractmethod
    def lost(self, reason: str) -> None:
        """The connection under the stream is gone."""

    # --- sending -------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Send as much of the request as the peer's window allows."""
        while not self.sent_end and self.connection.writable:
            http2 = self.connection.h2
            try:
                room = min(http2.local_flow_control_window(self.stream_id), http2.max_outbound_frame_size)
                if room <= 0 and self._body:
                    return
                piece, rest = self._body[:room], self._body[room:]
                http2.send_data(self.stream_id, bytes(piece), end_stream=not rest)
            except ProtocolError:
                self.sent_end = True  # closed by the peer in this very batch; its reset is one of the next events
                return
            self._body, self.sent_end = rest, not rest
            self.connection.send_soon()

    def reset(self) -> None:
        """Reset the stream: the reply is no longer needed."""
        if not self.connection.lost and not (self.sent_end and self.received_end):
            with suppress(ProtocolError):  # the peer has already closed the stream
                self.connection.h2.reset_stream(self.stream_id, CANCEL)
                self.connection.send_soon()
        self.forget()  # last: a waiting call may begin at once

    def forget(self) -> None:
        """Detach from the connection."""
        self._body, self.sent_end = memoryview(b""), True
        if self.connection.legs.get(self.stream_id) is self:
            del self.connection.legs[self.stream_id]
            self.connection.on_room()

    def credit(self, size_bytes: int) -> None:
        """Let the peer send *size_bytes* more."""
        self.connection.credit(self.stream_id, size_bytes)
