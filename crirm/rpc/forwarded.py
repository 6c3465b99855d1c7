"""A caller's call, made by crirm on its behalf: over the pool, with all its metadata.

asyncio-flavoured, but for `Forwarded.ended`, for which Trio tasks wait.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Protocol

import trio
from grpclib.const import Status

from crirm.rpc import bridge
from crirm.rpc.grpc_wire import MAX_MESSAGE_BYTES, format_timeout, status_of, status_trailers
from crirm.rpc.leg import Leg

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc.header_blocks import Headers
    from crirm.rpc.http2 import Http2Connection

DEADLINE_SLACK_S = 0.25  # the runtime knows the deadline too, and replies first
LONGEST_S = 600.0  # for a call without a deadline


class Listener(Protocol):
    """Takes a reply as it comes."""

    def on_headers(self, headers: Headers) -> None:
        """Take the headers."""

    def on_data(self, data: bytes) -> None:
        """Take the next bytes."""


class Forwarded:
    """One call; the reply is buffered until it is complete, unless a listener takes it as it arrives.

    Args:
        headers: from the caller.
        body: the request, with gRPC framing.
        deadline_s: monotonic seconds, when the caller stops waiting; None: `LONGEST_S` from now.
        hold: called with the number of bytes buffered in addition.
        listener: takes the reply as it arrives; None: it is buffered.
    """

    def __init__(
        self,
        headers: Headers,
        body: bytes,
        deadline_s: float | None,
        hold: Callable[[int], None],
        listener: Listener | None = None,
    ) -> None:
        self.ended = trio.Event()
        self.headers: Headers = []  # of the reply
        self.body = bytearray()
        self.trailers: Headers = []
        self.reset_code: int | None = None  # with which the runtime reset the stream
        self.certain = True  # False if the runtime may have acted without reporting it
        self.sent = False
        self.replied_s = 0.0  # monotonic time at which the reply was complete
        self._hold = hold
        self._listener = listener
        self._request_headers = headers
        self._request_body = body
        self._deadline_s = deadline_s
        self._leg: _ForwardedLeg | None = None
        left_s = LONGEST_S if deadline_s is None else max(0.0, deadline_s - monotonic()) + DEADLINE_SLACK_S
        self._timer = bridge.loop().call_later(left_s, self._expire)

    @property
    def wanted(self) -> bool:
        """Whether it is still running."""
        return not self.ended.is_set()

    @property
    def status(self) -> int:
        """The gRPC code with which it has ended."""
        return status_of(self.trailers)[0]

    def start(self, connection: Http2Connection, path: bytes) -> None:
        """Open a stream and send the whole request.

        Raises:
            ProtocolError: of h2, when the connection has no room for another stream; the call can be started again.
        """
        headers = self._headers_for(path)
        size_bytes = sum(len(name) + len(value) + 32 for name, value in headers)  # RFC 9113 section 6.5.2
        most_bytes = connection.h2.remote_settings.max_header_list_size
        if most_bytes is not None and size_bytes > most_bytes:
            what = f"{size_bytes} bytes; the runtime accepts {most_bytes}"
            self.give_up(Status.RESOURCE_EXHAUSTED, f"metadata is too large: {what}")
            return
        stream_id = connection.h2.get_next_available_stream_id()
        connection.h2.send_headers(stream_id, headers)
        connection.send_soon()
        self.sent = True
        self._leg = _ForwardedLeg(connection, stream_id, self._request_body, self)

    def _headers_for(self, path: bytes) -> Headers:
        headers: Headers = [(b":path", path)]
        for header in self._request_headers:
            if header[0] == b"grpc-timeout" and self._deadline_s is not None:
                headers.append((b"grpc-timeout", format_timeout(max(0.0, self._deadline_s - monotonic()))))
            elif header[0] != b":path":
                headers.append(header)
        return headers

    def refuse(self, status: Status, message: str) -> None:
        """End with a status of our own; the runtime may have acted."""
        self.give_up(status, message)

    def give_up(self, status: Status, message: str) -> None:
        """End now with *status*, in any state; no effect if it has ended."""
        if self.wanted:
            self.certain = not self.sent
            if self._leg is not None:
                self._leg.reset()
            self.trailers = status_trailers(status, message, alone=not self.headers)
            self._end()

    def _expire(self) -> None:
        self.give_up(Status.DEADLINE_EXCEEDED, "runtime did not reply within the call's deadline")

    # --- told by its stream ---------------------------------------------------------------------------------------

    def on_headers(self, headers: Headers) -> None:
        """Keep the headers of the reply."""
        self.headers = headers
        if self._listener is not None:
            self._listener.on_headers(headers)

    def on_data(self, data: bytes) -> None:
        """Keep bytes of the reply."""
        if self._listener is not None:
            self._listener.on_data(data)
            return
        self.body += data
        self._hold(len(data))
        if len(self.body) > MAX_MESSAGE_BYTES:
            self.give_up(Status.RESOURCE_EXHAUSTED, f"reply is larger than {MAX_MESSAGE_BYTES} bytes")

    def on_trailers(self, trailers: Headers) -> None:
        """The reply is complete."""
        self.trailers = trailers
        self._end()

    def on_reset(self, code: int) -> None:
        """The runtime reset the stream: the outcome is unknown."""
        self.certain, self.reset_code = False, code
        self.trailers = status_trailers(
            Status.UNAVAILABLE, f"runtime reset the stream (HTTP/2 error {code})", alone=not self.headers
        )
        self._end()

    def _end(self) -> None:
        self.replied_s = monotonic()
        self._timer.cancel()
        self.ended.set()


class _ForwardedLeg(Leg):
    """The stream of one call."""

    def __init__(self, connection: Http2Connection, stream_id: int, body: bytes, call: Forwarded) -> None:
        self._call = call
        super().__init__(connection, stream_id, body)

    def on_headers(self, headers: Headers, *, end: bool) -> None:
        """Keep them."""
        if not end:
            self._call.on_headers(headers)
            return
        self.received_end = True
        self._finish()
        self._call.on_trailers(headers)

    def _finish(self) -> None:
        """Leave the stream; a server that did not need the whole request is told that no more follows."""
        (self.forget if self.sent_end else self.reset)()

    def on_data(self, data: bytes, credit_bytes: int, *, end: bool) -> None:
        """Keep them."""
        self.credit(credit_bytes)
        self._call.on_data(data)
        if end and self._call.wanted:
            self.received_end = True
            self._call.give_up(Status.UNKNOWN, "runtime ended its reply without a status")

    def on_reset(self, code: int) -> None:
        """Hand on."""
        if self._call.wanted:
            self._call.on_reset(code)

    def on_too_long(self, what: str) -> None:
        """End the call: grpc-go ends such a one with the same code."""
        self._call.give_up(Status.INTERNAL, f"runtime sent {what}")

    def lost(self, reason: str) -> None:
        """End the call."""
        self._call.give_up(Status.UNAVAILABLE, f"lost the container runtime during the call: {reason}")
