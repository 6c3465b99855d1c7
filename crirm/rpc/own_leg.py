"""The stream of a call that crirm makes for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from grpclib.const import Status

from crirm.rpc.grpc_wire import Deframer, RpcError, status_of
from crirm.rpc.leg import CANCEL, Leg

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc.http2 import Headers, Http2Connection


class OwnLeg(Leg):
    """One request message, any number of answers; asyncio-flavoured but for ``ended``, which Trio tasks wait for.

    Args:
        connection: to the runtime.
        deliver: given each whole message of the answer; may raise trio.WouldBlock to end the call.
        over: called once, when no more will come.
    """

    def __init__(
        self, connection: Http2Connection, deliver: Callable[[bytes], None], over: Callable[[], None] = lambda: None
    ) -> None:
        super().__init__(connection, connection.h2.get_next_available_stream_id())
        self.ended = trio.Event()
        self._over = over
        self._deframer = Deframer(deliver, None)
        self._status = Status.UNKNOWN.value
        self._message = ""

    def ask(self, headers: Headers, body: bytes) -> None:
        """Send the whole request."""
        self.send_headers(headers)
        self.send_data(body, credit_bytes=0, source=None, end=True)

    def check(self) -> None:
        """Raise RpcError unless the call ended with OK."""
        if self._status:
            known = self._status in {status.value for status in Status}
            raise RpcError(Status(self._status) if known else Status.UNKNOWN, self._message)

    def on_headers(self, headers: Headers, *, end: bool) -> None:
        """Take the status that ends the call."""
        if end:
            self.received_end = True
            self._end(*status_of(headers))

    def on_data(self, data: bytes, credit_bytes: int, *, end: bool) -> None:  # noqa: ARG002 - the status ends a call
        """Hand whole messages over."""
        try:
            self._deframer.feed(data)
        except trio.WouldBlock:
            self.reset(CANCEL)
            self._end(Status.RESOURCE_EXHAUSTED.value, "answers came faster than they were read")
            return
        self.credit(credit_bytes)

    def on_reset(self, code: int) -> None:
        """End without an answer."""
        self._end(Status.UNAVAILABLE.value, f"the runtime reset the stream (HTTP/2 error {code})")

    def on_too_long(self, what: str) -> None:
        """End without an answer."""
        self.reset(CANCEL)
        self._end(Status.INTERNAL.value, f"the runtime answered with {what}")

    def lost(self, reason: str) -> None:
        """End without an answer."""
        self._end(Status.UNAVAILABLE.value, reason)

    def _end(self, status: int, message: str) -> None:
        self._status, self._message = status, message
        self.forget()
        self._over()
        self.ended.set()
