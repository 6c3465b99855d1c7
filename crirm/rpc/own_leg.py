"""crirm's own calls; they wait for a stream of the pool like all others."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

import trio
from grpclib.const import Status

from crirm.rpc.grpc_wire import Deframer, MessageTooLargeError, RpcError, frame, request_headers, status_of
from crirm.rpc.leg import Leg

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc.header_blocks import Headers
    from crirm.rpc.http2 import Http2Connection


class OwnCall:
    """One request message, any number of answers; asyncio-flavoured but for ``ended``, which Trio tasks wait for.

    Args:
        message: the encoded request.
        timeout_s: seconds from now, sent as the call's deadline; None: no deadline.
        deliver: given each whole message of the answer; may raise trio.WouldBlock to end the call.
        closed: called once, when no more will come.
    """

    def __init__(
        self,
        message: bytes,
        timeout_s: float | None,
        deliver: Callable[[bytes], None],
        closed: Callable[[], None] = lambda: None,
    ) -> None:
        self.ended = trio.Event()
        self._deadline_s = None if timeout_s is None else monotonic() + timeout_s
        self.message = message
        self._deliver = deliver
        self._closed = closed
        self._leg: OwnLeg | None = None
        self._status = Status.UNKNOWN.value
        self._status_message = ""

    @property
    def wanted(self) -> bool:
        """Whether the answer is still wanted."""
        return not self.ended.is_set()

    def start(self, connection: Http2Connection, path: bytes) -> None:
        """Open a stream and send the whole request.

        Raises:
            ProtocolError: of h2, when the connection has no room for another stream; the call can be started again.
        """
        timeout_s = None if self._deadline_s is None else max(0.0, self._deadline_s - monotonic())
        stream_id = connection.h2.get_next_available_stream_id()
        connection.h2.send_headers(stream_id, request_headers(path, timeout_s))
        connection.send_soon()
        self._leg = OwnLeg(connection, stream_id, self, self._deliver)

    def refuse(self, status: Status, message: str) -> None:
        """End without an answer."""
        self.end(status.value, message)

    def cancel(self) -> None:
        """End now, in any state; no effect if it has ended."""
        self.fail(Status.CANCELLED, "call is no longer needed")

    def fail(self, status: Status, message: str) -> None:
        """End now with *status*, in any state; no effect if it has ended."""
        wanted = self.wanted
        self.end(status.value, message)
        if self._leg is not None and wanted:
            self._leg.reset()  # last: a waiting call may begin at once

    def end(self, status: int, message: str) -> None:
        """Note the outcome of the call; the first one counts."""
        if self.wanted:
            self._status, self._status_message = status, message
            self.ended.set()
            self._closed()

    def check(self) -> None:
        """Raise RpcError unless the call ended with OK."""
        if self._status:
            known = self._status in {status.value for status in Status}
            raise RpcError(Status(self._status) if known else Status.UNKNOWN, self._status_message)


class OwnLeg(Leg):
    """The stream of a call of our own."""

    def __init__(
        self, connection: Http2Connection, stream_id: int, call: OwnCall, deliver: Callable[[bytes], None]
    ) -> None:
        self._call = call
        self._deframer = Deframer(deliver, None, strict=True)
        super().__init__(connection, stream_id, frame(call.message))

    def on_headers(self, headers: Headers, *, end: bool) -> None:
        """Take the status that ends the call."""
        if end:
            self.received_end = True
            self._end(*status_of(headers))

    def on_data(self, data: bytes, credit_bytes: int, *, end: bool) -> None:
        """Hand whole messages over."""
        self.received_end = self.received_end or end
        try:
            self._deframer.feed(data)
        except trio.WouldBlock:
            self._give_up(Status.RESOURCE_EXHAUSTED, "replies arrived faster than they were read")
        except MessageTooLargeError as error:
            self._give_up(Status.RESOURCE_EXHAUSTED, f"runtime sent {error}")
        else:
            self.credit(credit_bytes)
            if end:
                self._end(Status.UNKNOWN.value, "runtime ended its reply without a status")

    def on_reset(self, code: int) -> None:
        """End without an answer."""
        self._end(Status.UNAVAILABLE.value, f"runtime reset the stream (HTTP/2 error {code})")

    def on_too_long(self, what: str) -> None:
        """End without an answer."""
        self._give_up(Status.INTERNAL, f"runtime sent {what}")

    def lost(self, reason: str) -> None:
        """End without an answer."""
        self._end(Status.UNAVAILABLE.value, reason)

    def _give_up(self, status: Status, message: str) -> None:
        self.reset()
        self._end(status.value, message)

    def _end(self, status: int, message: str) -> None:
        self.forget()
        self._call.end(status, message)
