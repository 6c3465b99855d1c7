"""Calls that crirm takes part in: the request is held until somebody has decided, the reply until somebody has seen it.

    caller ─▶ whole request ─▶ Interceptor.request ──forward(bytes)──▶ runtime
           ◀─ reply, perhaps edited ─ Interceptor.reply ◀─ whole reply, or how the call ended

Everything but these two messages passes as in ``rpc/call.py``: metadata, deadline, status, trailers. Once forwarded, a
call is seen through to its end even if the caller hangs up, because the runtime may have acted. asyncio-flavoured
throughout.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Protocol

import attrs
from grpclib.const import Status

from crirm.errors import OUR_FAULT, CrirmError, clipped
from crirm.logs import get_logger
from crirm.logs.stdlog import INTERVAL_S, RateLimit
from crirm.rpc import bridge
from crirm.rpc.call import Call, CallerLeg, RuntimeLeg
from crirm.rpc.compression import Packed, UnpackError, unpacking
from crirm.rpc.grpc_wire import MAX_MESSAGE_BYTES, PREFIX_BYTES, Deframer, MessageTooLargeError, find, frame, status_of
from crirm.rpc.leg import CANCEL

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from crirm.rpc.client import Pool
    from crirm.rpc.http2 import Headers
    from crirm.rpc.tap import Outcome

log = get_logger("relay")

LONGEST_S = 600.0  # for a call without a deadline whose caller is gone
_complaints = RateLimit(INTERVAL_S)


@attrs.frozen
class Answer:
    """How a held call ended at the runtime.

    Args:
        status: gRPC code, 0 for OK.
        message: the reply's bytes; None unless the status is OK.
        certain: False when the connection or the time ran out, or the reply is no message: the runtime may or may not
            have acted.
    """

    status: int
    message: bytes | None
    certain: bool = True


class Held(Protocol):
    """What an interceptor does with a call: exactly one of these, once, now or later."""

    def forward(self, message: bytes) -> None:
        """Send *message* to the runtime instead of what the caller sent."""

    def refuse(self, status: Status, message: str) -> None:
        """End the call with *status*; the runtime never hears of it."""


class Interceptor(Protocol):
    """Takes part in one call; every method is called on the event loop and must be quick."""

    def request(self, message: bytes, held: Held) -> None:
        """Decide about the whole request *message*."""

    def reply(self, answer: Answer, then: Callable[[bytes | None], None]) -> None:
        """Take note of the runtime's answer, once per forwarded call; call *then*, now or soon.

        Args:
            answer: of the runtime.
            then: sends the reply on; given other bytes to reply with, or None.
        """

    def abandoned(self) -> None:
        """The call has ended between ``request`` and the decision: there is nothing to decide any more."""


def _only_message(body: bytes, encoding: bytes | None) -> bytes | None:
    """Return the one message that a unary reply consists of; None where it is anything else, or cannot be unpacked."""
    messages: list[bytes] = []
    if len(body) < PREFIX_BYTES or len(body) != PREFIX_BYTES + int.from_bytes(body[1:PREFIX_BYTES], "big"):
        return None
    try:
        Deframer(messages.append, encoding).feed(body)
    except Exception as error:  # noqa: BLE001 - what the runtime has sent, it may be anything
        log.debug("a reply cannot be unpacked", reason=str(error))
        return None
    packed = bool(body[0])
    return None if not messages or (packed and messages[0] == body[PREFIX_BYTES:]) else messages[0]


class HeldCall(Call):
    """A call between a caller, an interceptor and the runtime."""

    def __init__(
        self,
        caller: CallerLeg,
        headers: Headers,
        finished: Callable[[Call, Outcome], None],
        interceptor: Interceptor,
        pool: Pool,
        path: bytes,
    ) -> None:
        super().__init__(caller, headers, finished)
        self._interceptor = interceptor
        self._pool = pool
        self._path = path
        self._messages: list[bytes] = []
        self._request = Deframer(self._messages.append, find(headers, b"grpc-encoding"), strict=True, unpacks=False)
        self._size_bytes = 0
        self._asked = self._decided = self._answered = self._caller_gone = False
        self._reply_headers: Headers = []
        self._raw_reply = bytearray()

    # --- the request ---------------------------------------------------------------------------------------------

    def request_data(self, data: bytes, credit_bytes: int, *, end: bool) -> None:
        """Keep request bytes until the message is whole."""
        self._caller.credit(credit_bytes)
        self._size_bytes += len(data)
        if self.over or self._decided:
            return
        if self._size_bytes > MAX_MESSAGE_BYTES:
            self.refuse(Status.RESOURCE_EXHAUSTED, f"the request is larger than {MAX_MESSAGE_BYTES} bytes")
            return
        self.hold(len(data))
        if self._decided:  # for it is too much
            return
        if self._tap is not None:
            self._show(self._deframe_request, data)
        try:
            self._request.feed(data)
        except MessageTooLargeError as error:
            self.refuse(Status.RESOURCE_EXHAUSTED, f"the request says that it is {error}")
            return
        if end:
            self._request_ended_s = self._caller.connection.arrived_s
            self._take_whole()

    def _take_whole(self) -> None:
        if len(self._messages) != 1:
            self.refuse(Status.INTERNAL, f"{self._shown_path} takes one message, {len(self._messages)} came")
            return
        message = self._messages[0]
        if not isinstance(message, Packed):
            self._hand_over(message)
        elif message.is_known:
            self._unpack(unpacking(message, MAX_MESSAGE_BYTES))
        else:
            encoding = clipped(message.encoding.decode("ascii", "replace"))
            self.refuse(Status.UNIMPLEMENTED, f"crirm has to read this request, and does not know {encoding!r}")

    def _unpack(self, steps: Generator[int, None, bytes]) -> None:
        """Unpack the request, a step in each turn of the loop."""
        if self.over or self._decided:
            return
        try:
            self.hold(next(steps))
        except StopIteration as end:
            self._hand_over(end.value)
        except UnpackError as error:
            self.refuse(Status.RESOURCE_EXHAUSTED if error.too_large else Status.INTERNAL, f"the request is {error}")
        else:
            bridge.loop().call_soon(self._unpack, steps)

    @property
    def _shown_path(self) -> str:
        return clipped(self.path.decode("ascii", "replace"))

    def _hand_over(self, message: bytes) -> None:
        self._asked = True
        try:
            self._interceptor.request(message, self)
        except CrirmError as error:
            _complain("a request cannot be read", self.path, error)
            self.refuse(Status.INVALID_ARGUMENT, str(error))
        except Exception:
            log.exception("a request could not be decided about", method=self._shown_path)
            self.refuse(Status.INTERNAL, OUR_FAULT)

    def forward(self, message: bytes) -> None:
        """See ``Held``."""
        if self.over or self._decided:
            return
        self._decided = True
        self._waiting = [(frame(message), 0, True)]
        try:
            self._pool.start(self, self._path)
        except Exception:  # whoever forwards later has nobody to tell
            log.exception("a call could not be sent on, this is a bug in crirm", method=self._shown_path)
            self.refuse(Status.INTERNAL, OUR_FAULT)

    def refuse(self, status: Status, message: str) -> None:
        """See ``Held``; also how the server ends a call."""
        self._decided = True
        self._end_by_us(status, message)

    def _abandon(self, code: int, reason: str) -> None:
        if self._answered or (self._runtime is None and not self._waiting):
            if self._asked and not self._decided:
                self._interceptor.abandoned()
            super()._abandon(code, reason)
            return
        self._caller_gone = True
        self._caller.forget()
        if self._timer is None:
            self._timer = bridge.loop().call_later(LONGEST_S, self._expire)

    # --- the reply -----------------------------------------------------------------------------------------------

    def reply_headers(self, runtime: RuntimeLeg, headers: Headers, *, end: bool) -> None:
        """Keep response headers; with the trailers, show the whole reply and send it on."""
        if not end:
            self._reply_headers = headers
            return
        self._reply_ended_s = runtime.connection.arrived_s
        self._outcome = status_of(headers)
        self._see(self._outcome[0], partial(self._pass_on, runtime, headers))

    def _pass_on(self, runtime: RuntimeLeg, headers: Headers, other: bytes | None) -> None:
        if self.over:
            return
        body = bytes(self._raw_reply) if other is None else frame(other)
        if self._caller_gone:
            self._conclude()
            return
        if self._reply_headers:
            super().reply_headers(runtime, self._reply_headers, end=False)
            if body:
                super().reply_data(runtime, body, 0, end=False)
        super().reply_headers(runtime, headers, end=True)

    def reply_data(self, runtime: RuntimeLeg, data: bytes, credit_bytes: int, *, end: bool) -> None:
        """Keep reply bytes; a gRPC reply never ends with them, and one that does tells no outcome."""
        runtime.credit(credit_bytes)
        self._raw_reply += data
        self.hold(len(data))
        if len(self._raw_reply) > MAX_MESSAGE_BYTES:
            self._end_by_us(Status.RESOURCE_EXHAUSTED, f"the reply is larger than {MAX_MESSAGE_BYTES} bytes")
        elif end:
            self._end_by_us(Status.UNKNOWN, "the runtime ended its reply without a status")

    def _see(self, status: int, then: Callable[[bytes | None], None]) -> None:
        """Let the interceptor see the reply, and *then* have it sent on."""
        raw = bytes(self._raw_reply)
        message = _only_message(raw, find(self._reply_headers, b"grpc-encoding")) if not status else None
        self._tell(Answer(status, message, certain=bool(status) or message is not None), then)

    def _tell(self, answer: Answer, then: Callable[[bytes | None], None] = lambda _: None) -> None:
        if self._answered:
            then(None)
            return
        self._answered = True
        try:
            self._interceptor.reply(answer, then)
        except CrirmError as error:
            _complain("what a reply is about cannot be read", self.path, error)
            then(None)
        except Exception:
            log.exception("a reply could not be taken note of", method=self._shown_path)
            then(None)

    def runtime_reset(self, code: int) -> None:
        """The runtime has cut the stream: nobody knows what it has done."""
        self._tell(Answer(Status.UNAVAILABLE.value, None, certain=False))
        if self._caller_gone:
            self._outcome = (Status.UNAVAILABLE.value, f"the runtime reset the stream (HTTP/2 error {code})")
            self._conclude()
        else:
            super().runtime_reset(code)

    def _end_by_us(self, status: Status, message: str) -> None:
        if self.over:
            return
        if self._runtime is not None or self._waiting:
            self._tell(Answer(status.value, None, certain=self._runtime is None))
        elif self._asked and not self._decided:
            self._interceptor.abandoned()
        self._decided = True
        self._let_go_messages()
        if self._caller_gone:
            self._outcome = (status.value, message)
            if self._runtime is not None:
                self._runtime.reset(CANCEL)
            self._conclude()
        else:
            super()._end_by_us(status, message)

    def _let_go_messages(self) -> None:
        """Free what was held now: a call is part of a cycle of references, and those are found late."""
        self._messages.clear()
        self._request.clear()
        self._raw_reply = bytearray()

    def _finish(self, status: int, message: str, *, sent_s: float | None = None) -> None:
        super()._finish(status, message, sent_s=sent_s)
        self._let_go_messages()

    def _conclude(self) -> None:
        """End a call whose caller is gone."""
        if self._runtime is not None:
            self._runtime.forget()
        self._finish(*self._outcome)


def _complain(what: str, path: bytes, error: CrirmError) -> None:
    """Tell of bytes that are no message, at most once a minute; whoever sends some sends many."""
    method = path.decode("ascii", "replace")
    held_back = _complaints.admit(f"{what} {method}")
    if held_back is not None:
        log.warning(what, method=method, reason=str(error), **({"held_back": held_back} if held_back else {}))
