"""One relayed call: a caller's stream joined to a stream of the runtime.

    caller ──headers, bytes──▶ CallerLeg ─▶ RuntimeLeg ──▶ runtime
           ◀─headers, bytes, trailers── CallerLeg ◀─ RuntimeLeg ◀──

Nothing is decoded and nothing is kept: bytes go on as they come, whatever the method, its cardinality or its
compression. Two headers change on the way: ``:path``, where the other side speaks another version of CRI, and
``grpc-timeout``, which shrinks by the time spent here. Statuses, trailers and reset codes pass as they are.
asyncio-flavoured throughout.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from grpclib.const import Status
from hpack.struct import NeverIndexedHeaderTuple

from crirm.rpc import bridge
from crirm.rpc.grpc_wire import Deframer, find, format_timeout, parse_timeout_s, status_of, status_trailers
from crirm.rpc.leg import CANCEL, NO_ERROR, Leg
from crirm.rpc.tap import Latency, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc.http2 import Headers, Http2Connection
    from crirm.rpc.tap import CallTap

# The runtime knows the deadline too and answers it in its own words; we step in only where it does not.
DEADLINE_SLACK_S = 0.25


class Call:
    """A call from its first frame until its last one was sent to the caller."""

    def __init__(self, caller: CallerLeg, headers: Headers, finished: Callable[[Call, Outcome], None]) -> None:
        now_s = caller.connection.arrived_s
        self.path = find(headers, b":path") or b""
        self.over = False
        self._settled = False  # nothing more is wanted of the runtime; it is over when the caller was sent all
        self._caller = caller
        self._runtime: RuntimeLeg | None = None
        self._headers = headers
        self.header_list_bytes = sum(len(name) + len(value) + 32 for name, value in headers)  # RFC 9113 section 6.5.2
        self._finished = finished
        self._tap: CallTap | None = None
        self._account = caller.connection.account
        self._waiting_bytes = 0
        self._waiting: list[tuple[bytes, int, bool]] = []  # request bytes that came before there was a runtime stream
        self._request_ended_s = self._forwarded_s = self._reply_ended_s = now_s
        self._outcome = (Status.UNKNOWN.value, "")
        self._answered_status: int | None = None  # as the runtime has ended the call
        self._deadline_s, self._timer = self._arm(headers, now_s)

    def _arm(self, headers: Headers, now_s: float) -> tuple[float | None, bridge.TimerHandle | None]:
        value = find(headers, b"grpc-timeout")
        timeout_s = parse_timeout_s(value) if value is not None else None
        if timeout_s is None:
            return None, None
        return now_s + timeout_s, bridge.loop().call_later(timeout_s + DEADLINE_SLACK_S, self._expire)

    @property
    def wanted(self) -> bool:
        """Whether the runtime should still hear of it."""
        return not self.over and not self._settled

    def watch(self, tap: CallTap) -> None:
        """Show *tap* every message of the call, from the first."""
        self._tap = tap
        self._deframe_request = Deframer(tap.request, find(self._headers, b"grpc-encoding"), unpacks=False)

    def _show(self, deframer: Deframer, data: bytes) -> None:
        before_bytes = deframer.buffered_bytes
        deframer.feed(data)
        self.hold(deframer.buffered_bytes - before_bytes)

    # --- the two ends of it --------------------------------------------------------------------------------------

    def start(self, connection: Http2Connection, path: bytes) -> None:
        """Open the runtime's stream and send it what has come so far.

        Raises:
            ProtocolError: of h2, when the connection has no room for another stream; the call can be started again.
        """
        most_bytes = connection.h2.remote_settings.max_header_list_size
        if most_bytes is not None and self.header_list_bytes > most_bytes:
            what = f"{self.header_list_bytes} bytes of metadata, and the runtime takes {most_bytes}"
            self.refuse(Status.RESOURCE_EXHAUSTED, f"the call comes with {what}")
            return
        stream_id = connection.h2.get_next_available_stream_id()
        ended = self._caller.received_end and not self._waiting
        connection.h2.send_headers(stream_id, self._upstream_headers(path), end_stream=ended)
        connection.flusher.add(connection)
        self._runtime = leg = RuntimeLeg(self, connection, stream_id)
        if ended:
            leg.mark_ended()
        waiting, self._waiting = self._waiting, []
        self._hold_waiting(-self._waiting_bytes)
        for data, credit_bytes, end in waiting:
            leg.send_data(data, credit_bytes=credit_bytes, source=self._caller, end=end)

    def refuse(self, status: Status, message: str) -> None:
        """End the call here with *status*."""
        self._end_by_us(status, message)

    def let_go(self, why: str) -> None:
        """Make room: too much is held in memory."""
        self.refuse(Status.RESOURCE_EXHAUSTED, why)

    def hold(self, more_bytes: int) -> None:
        """Note that the call holds *more_bytes*, or less, in memory; it may be ended because of that."""
        if self._account is not None and not self.over:
            self._account.hold(self, more_bytes)

    def _hold_waiting(self, more_bytes: int) -> None:
        self._waiting_bytes += more_bytes
        self.hold(more_bytes)

    def _upstream_headers(self, path: bytes) -> Headers:
        headers: Headers = []
        for header in self._headers:
            if header[0] == b":path":
                headers.append((b":path", path))
            elif header[0] == b"grpc-timeout" and self._deadline_s is not None:
                remaining = format_timeout(max(0.0, self._deadline_s - monotonic()))
                headers.append(NeverIndexedHeaderTuple(b"grpc-timeout", remaining))  # new each time: not for the table
            else:
                headers.append(header)
        return headers

    # --- from the caller -----------------------------------------------------------------------------------------

    def request_data(self, data: bytes, credit_bytes: int, *, end: bool) -> None:
        """Hand request bytes on to the runtime."""
        if end:
            self._request_ended_s = self._caller.connection.arrived_s
        if self._tap is not None:
            self._show(self._deframe_request, data)
        if self._runtime is None:
            self._waiting.append((data, credit_bytes, end))
            self._hold_waiting(len(data))
        else:
            self._runtime.send_data(data, credit_bytes=credit_bytes, source=self._caller, end=end)

    def request_sent(self) -> None:
        """The whole request is on its way to the runtime."""
        self._caller.connection.flusher.when_sent(self._stamp_forwarded)

    def _stamp_forwarded(self, now_s: float) -> None:
        self._forwarded_s = now_s

    def caller_reset(self, code: int) -> None:
        """The caller has given up."""
        self._abandon(code, "the caller cancelled the call")

    def caller_lost(self) -> None:
        """The caller is gone."""
        self._abandon(CANCEL, "the caller closed its connection")

    def _abandon(self, code: int, reason: str) -> None:
        self._settled = True
        self._credit_waiting()
        self._caller.forget()
        if self._runtime is not None:
            self._runtime.reset(code)
        self._finish(Status.CANCELLED.value, reason)

    # --- from the runtime ----------------------------------------------------------------------------------------

    def reply_headers(self, runtime: RuntimeLeg, headers: Headers, *, end: bool) -> None:
        """Hand response headers or trailers on to the caller."""
        if self._tap is not None and not runtime.replied:
            self._deframe_reply = Deframer(self._tap.reply, find(headers, b"grpc-encoding"), unpacks=False)
        runtime.replied = True
        if end:
            self._outcome = status_of(headers)
            self._answered_status = self._outcome[0]
            self._reply_ended_s = runtime.connection.arrived_s
        self._caller.send_headers(headers, end=end)

    def reply_data(self, runtime: RuntimeLeg, data: bytes, credit_bytes: int, *, end: bool) -> None:
        """Hand response bytes on to the caller."""
        if self._tap is not None:
            self._show(self._deframe_reply, data)
        if end:
            self._reply_ended_s = runtime.connection.arrived_s
        self._caller.send_data(data, credit_bytes=credit_bytes, source=runtime, end=end)

    def runtime_reset(self, code: int) -> None:
        """The runtime has cut the stream: so do we, with the same code."""
        self._caller.reset(code)
        self._finish(Status.UNAVAILABLE.value, f"the runtime reset the stream (HTTP/2 error {code})")

    def reply_too_long(self, what: str) -> None:
        """The runtime has sent headers that nobody would take; grpc-go ends such a call with the same code."""
        self._end_by_us(Status.INTERNAL, f"the runtime answered with {what}")

    def runtime_lost(self, reason: str) -> None:
        """The connection to the runtime is gone in the middle of the call."""
        self._end_by_us(Status.UNAVAILABLE, f"crirm lost the container runtime during the call: {reason}")

    # --- the end -------------------------------------------------------------------------------------------------

    def reply_sent(self) -> None:
        """The caller has, or will have with this batch, all of the reply."""
        self._settled = True
        if self._caller.received_end:
            self._caller.forget()
        else:
            self._caller.reset(NO_ERROR)  # answered before the request was whole: RFC 9113 section 8.1
        if self._runtime is not None:
            if self._runtime.sent_end:
                self._runtime.forget()
            else:
                self._runtime.reset(CANCEL)
        self._caller.connection.flusher.when_sent(self._stamp_sent)

    def _stamp_sent(self, now_s: float) -> None:
        self._finish(*self._outcome, sent_s=now_s)

    def _expire(self) -> None:
        self._end_by_us(Status.DEADLINE_EXCEEDED, "the runtime did not answer within the call's deadline")

    def _end_by_us(self, status: Status, message: str) -> None:
        if self.over:
            return
        self._settled = True
        self._outcome, self._answered_status = (status.value, message), None
        replied = self._runtime is not None and self._runtime.replied
        if self._runtime is not None:
            self._runtime.reset(CANCEL)
        self._reply_ended_s = monotonic()
        self._credit_waiting()
        self._caller.drop()
        self._caller.send_headers(status_trailers(status, message, alone=not replied), end=True)

    def _credit_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._hold_waiting(-self._waiting_bytes)
        for _, credit_bytes, _ in waiting:
            self._caller.credit(credit_bytes)

    def _finish(self, status: int, message: str, *, sent_s: float | None = None) -> None:
        if self.over:
            return
        self.over = True
        if self._account is not None:
            self._account.release(self)
        if self._timer is not None:
            self._timer.cancel()
        latency = Latency(
            before_s=max(0.0, self._forwarded_s - self._request_ended_s),
            runtime_s=max(0.0, self._reply_ended_s - self._forwarded_s),
            after_s=max(0.0, (sent_s or self._reply_ended_s) - self._reply_ended_s),
        )
        certain = self._runtime is None or self._answered_status == status
        outcome = Outcome(status, message, latency, certain)
        if self._tap is not None:
            self._tap.close(outcome)
        self._finished(self, outcome)


class CallerLeg(Leg):
    """The stream that a caller has opened."""

    call: Call

    def on_headers(self, headers: Headers, *, end: bool) -> None:  # noqa: ARG002 - gRPC has no request trailers
        """Take the end that comes with request trailers; gRPC defines none, so their content is dropped."""
        self.on_data(b"", 0, end=end)

    def on_data(self, data: bytes, credit_bytes: int, *, end: bool) -> None:
        """Hand on."""
        self.received_end = self.received_end or end
        self.call.request_data(data, credit_bytes, end=end)

    def on_reset(self, code: int) -> None:
        """Hand on."""
        self.call.caller_reset(code)

    def on_too_long(self, what: str) -> None:
        """End the call: nothing that its caller means to say can be told."""
        self.call.refuse(Status.RESOURCE_EXHAUSTED, f"the call came with {what}")

    def lost(self, reason: str) -> None:  # noqa: ARG002 - to the runtime every lost caller is the same
        """Hand on."""
        self.call.caller_lost()

    def on_sent(self) -> None:
        """Hand on."""
        self.call.reply_sent()

    def hold(self, more_bytes: int) -> None:
        """Hand on."""
        self.call.hold(more_bytes)


class RuntimeLeg(Leg):
    """The stream that crirm has opened to the runtime for a call."""

    def __init__(self, call: Call, connection: Http2Connection, stream_id: int) -> None:
        super().__init__(connection, stream_id)
        self._call = call
        self.replied = False

    def on_headers(self, headers: Headers, *, end: bool) -> None:
        """Hand on."""
        self.received_end = self.received_end or end
        self._call.reply_headers(self, headers, end=end)

    def on_data(self, data: bytes, credit_bytes: int, *, end: bool) -> None:
        """Hand on."""
        self.received_end = self.received_end or end
        self._call.reply_data(self, data, credit_bytes, end=end)

    def on_reset(self, code: int) -> None:
        """Hand on, unless the reply is whole: servers that did not need all of the request reset after it."""
        if not self.received_end:
            self._call.runtime_reset(code)

    def on_too_long(self, what: str) -> None:
        """Hand on."""
        if not self.received_end:
            self._call.reply_too_long(what)

    def lost(self, reason: str) -> None:
        """Hand on, unless the reply is whole and only the caller has not read it yet."""
        if not self.received_end:
            self._call.runtime_lost(reason)

    def on_sent(self) -> None:
        """Hand on."""
        self._call.request_sent()

    def hold(self, more_bytes: int) -> None:
        """Hand on."""
        self._call.hold(more_bytes)
