"""Calls kept from the splice: held ones, and those for another socket than the spliced one.

Each is a call of the grpclib server (``memory_server``) and, once its request is complete, a Trio task in the requests
nursery. These are its states and all transitions:

    state      begins with                     ends with
    coming     the caller's HEADERS            its END_STREAM; or a reset, the budget, the deadline: nobody has acted
    handled    the task                        `forward`; or a refusal, hang-up, deadline, drain: nothing was sent
    forwarded  the request sent to the pool    the runtime's answer, or none (not certain); the task is shielded
    noted      the handler goes on             its return: the reply, edited or as it came
    replied    the reply handed to the splice  -
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

import trio
from grpclib.const import Status

from crirm.errors import INTERNAL_FAULT, OUR_FAULT, UNDECIDED_IN_TIME, CrirmError, clipped, coded
from crirm.logs import get_logger
from crirm.logs.stdlog import INTERVAL_S, RateLimit
from crirm.rpc import bridge
from crirm.rpc.calls import Answer, CallRefusedError
from crirm.rpc.compression import Packed, UnpackError, unpacking
from crirm.rpc.forwarded import Forwarded
from crirm.rpc.grpc_wire import (
    MAX_MESSAGE_BYTES,
    PREFIX_BYTES,
    Deframer,
    MessageTooLargeError,
    find,
    frame,
    only_message,
    parse_timeout_s,
    status_trailers,
)
from crirm.rpc.tap import Latency

if TYPE_CHECKING:
    from collections.abc import Callable

    from grpclib.protocol import Stream

    from crirm.rpc.budget import Account
    from crirm.rpc.calls import Handler
    from crirm.rpc.client import Pool
    from crirm.rpc.header_blocks import Headers
    from crirm.rpc.memory_server import MemoryServer
    from crirm.rpc.spliced_streams import Kept
    from crirm.rpc.tap import CallTap, Outcome

log = get_logger("relay")

CALL_BYTES: Final = 8 << 10  # about the memory of a held call besides its messages
_complaints = RateLimit(INTERVAL_S)


class Held:
    """One call, see the module; a `spliced_streams.Sink` for its request, a `calls.HeldCall` for its handler.

    Args:
        headers: of the caller.
        handler: handles it; None forwards it unchanged.
        pool: to which it is forwarded.
        path: under which it is.
        tap: receives its messages; None if not tapped.
        account: memory of its caller's calls.
    """

    def __init__(
        self,
        headers: Headers,
        handler: Handler | None,
        pool: Pool,
        path: bytes,
        tap: CallTap | None,
        account: Account,
    ) -> None:
        self.message = b""
        self._headers = headers
        self._handler = handler
        self._pool = pool
        self._path = path
        self._tap = tap
        self._account = account
        self._size_bytes = 0
        self._scope = trio.CancelScope()
        self._forwarded: Forwarded | None = None
        self._started = False  # the task has, or will
        self._ran = False  # the task has ended
        self._gone = False  # the caller no longer waits, or only for what the splice has
        self._replying = False  # headers of the reply have gone out
        self._waiting_bytes = 0  # of the reply, beyond the caller's window
        self.ended_s = self.forwarded_s = monotonic()  # the request was complete and forwarded
        timeout = find(headers, b"grpc-timeout")
        timeout_s = parse_timeout_s(timeout) if timeout is not None else None
        self._deadline_s = None if timeout_s is None else self.ended_s + timeout_s

    def begin(self, kept: Kept, server: MemoryServer, start: Callable[[Held], None]) -> None:
        """Begin on *server*; *start* is called when the request is whole."""
        self._kept = kept
        self._server = server
        self._start = start
        server.begin(kept, self._accepted)

    def begun(self) -> None:
        """Start counting its memory."""
        self._hold(CALL_BYTES)

    def _accepted(self, stream: Stream, release: Callable[[], None]) -> None:
        self._stream = stream
        self._release = release

    # --- the request comes ----------------------------------------------------------------------------------------

    def data(self, piece: bytes) -> None:
        """Take the next bytes of the request."""
        self._size_bytes += len(piece)
        if self._size_bytes > MAX_MESSAGE_BYTES + PREFIX_BYTES:
            self.refuse(Status.RESOURCE_EXHAUSTED, f"request is larger than {MAX_MESSAGE_BYTES} bytes")
            return
        self._server.data(self._kept, piece)
        self._hold(len(piece))

    def ended(self) -> None:
        """The request is complete."""
        self._started, self.ended_s = True, monotonic()
        self._server.ended(self._kept)
        self._start(self)

    def cancelled(self) -> None:
        """The caller no longer waits for the reply."""
        self._gone = True
        self._withdraw()
        self._server.cancelled(self._kept)
        self._leave()

    def waits(self, size_bytes: int) -> None:
        """Note how much of the reply waits for the caller's window."""
        more_bytes, self._waiting_bytes = size_bytes - self._waiting_bytes, size_bytes
        if more_bytes:
            self._account.hold(self, more_bytes)

    def let_go(self, why: str) -> None:
        """Free memory: too much is buffered."""
        if not (self._gone or self._replying):
            self.refuse(Status.RESOURCE_EXHAUSTED, why)
            return
        self._gone = True
        self._withdraw()
        self._server.reset(self._kept, Status.RESOURCE_EXHAUSTED, why)

    def _withdraw(self) -> None:
        """Give up an abandoned call: its handler, unless that has forwarded it, or the call itself."""
        self._scope.cancel()
        if self._handler is None and self._forwarded is not None:
            self._forwarded.give_up(Status.CANCELLED, "caller cancelled the call")

    def _hold(self, more_bytes: int) -> None:
        if not self._gone:
            self._account.hold(self, more_bytes)

    # --- the task -------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Trio-flavoured: handle the call to its end; raises nothing but `trio.Cancelled`."""
        if self._deadline_s is not None:
            self._scope.deadline = trio.current_time() + self._deadline_s - monotonic()
        try:
            with self._scope:
                await self._handle()
            if self._scope.cancelled_caught:
                self._cut_short()
        finally:
            self._ran = True
            self._release()
            self._account.release(self)
            if not self._kept.over:
                self._account.hold(self, self._waiting_bytes)

    def _cut_short(self) -> None:
        """End a call whose task was cancelled: its deadline has passed, unless the caller is gone."""
        if self._forwarded is None:
            late = coded("crirm did not decide about the call within its deadline", UNDECIDED_IN_TIME)
            self.refuse(Status.DEADLINE_EXCEEDED, late)
        else:
            self._reply(None)

    async def _handle(self) -> None:
        """The path of a held call, from the request to the reply."""
        try:
            await self._read()
            edited = await (self._handler or _pass_on)(self)
        except CallRefusedError as refusal:
            self.refuse(refusal.status, refusal.message)
        except CrirmError as error:
            self._failed(Status.INVALID_ARGUMENT, str(error), error)
        except Exception:
            log.exception("could not handle a call; this is a bug in crirm", method=self._shown_path)
            self._failed(Status.INTERNAL, coded(OUR_FAULT, INTERNAL_FAULT), None)
        else:
            self._reply(edited)

    async def _read(self) -> None:
        """Read the only message of the request, and decompress it."""
        body = bridge.now(self._stream.recv_data(self._size_bytes))
        messages = self._messages_in(body)
        self.message = body if self._handler is None else messages[0]
        if self._tap is not None:
            for message in messages:
                self._tap.request(message)
        if isinstance(self.message, Packed):
            self.message = await self._unpacked(self.message)

    def _messages_in(self, body: bytes) -> list[bytes]:
        messages: list[bytes] = []
        encoding, reads = find(self._headers, b"grpc-encoding"), self._handler is not None
        deframer = Deframer(messages.append, encoding, strict=reads, unpacks=False)
        try:
            deframer.feed(body)
        except MessageTooLargeError as error:
            raise CallRefusedError(Status.RESOURCE_EXHAUSTED, f"request: {error}") from error
        if reads and (len(messages) != 1 or deframer.buffered_bytes):
            came = f"got {len(messages)} and {deframer.buffered_bytes} more bytes"
            raise CallRefusedError(Status.INTERNAL, f"{self._shown_path}: expected one message, {came}")
        return messages

    async def _unpacked(self, message: Packed) -> bytes:
        """Decompress the request, one step per turn of the loop."""
        if not message.is_known:
            encoding = clipped(message.encoding.decode("ascii", "replace"))
            why = f"unsupported grpc-encoding {encoding!r}; crirm has to read this request"
            raise CallRefusedError(Status.UNIMPLEMENTED, why)
        steps = unpacking(message, MAX_MESSAGE_BYTES)
        while True:
            try:
                self._hold(next(steps))
            except StopIteration as end:
                unpacked: bytes = end.value
                return unpacked
            except UnpackError as error:
                status = Status.RESOURCE_EXHAUSTED if error.too_large else Status.INTERNAL
                raise CallRefusedError(status, f"request: {error}") from error
            await trio.lowlevel.checkpoint()

    async def forward(self, message: bytes) -> Answer:
        """See `calls.HeldCall`."""
        headers = [header for header in self._headers if header[0] != b"grpc-encoding"]
        return await self._send(Forwarded(headers, frame(message), self._deadline_s, self._hold))

    async def pass_on(self) -> None:
        """Forward the request unchanged, and the reply as it arrives."""
        await self._send(Forwarded(self._headers, self.message, self._deadline_s, self._hold, self))

    async def _send(self, call: Forwarded) -> Answer:
        await trio.lowlevel.checkpoint_if_cancelled()
        self._forwarded, self.forwarded_s = call, monotonic()
        self._pool.start(call, self._path)
        with trio.CancelScope(shield=True):
            await call.ended.wait()
        message = None if call.status else only_message(bytes(call.body), find(call.headers, b"grpc-encoding"))
        if message is not None and self._tap is not None:
            self._tap.reply(message)
        return Answer(call.status, message, certain=call.certain and (bool(call.status) or message is not None))

    def on_headers(self, headers: Headers) -> None:
        """Pass headers of the reply on as they arrive."""
        self._replying = True
        if not self._gone:
            bridge.now(self._server.send_headers(self._stream, headers, end=False))

    def on_data(self, data: bytes) -> None:
        """Pass bytes of the reply on as they arrive."""
        if not self._gone:
            bridge.now(self._stream.send_data(data))

    def cut_off(self, status: Status, message: str) -> None:
        """Wait no longer for the runtime's answer: the handler hears that the outcome is open."""
        if self._forwarded is not None:
            self._forwarded.give_up(status, message)

    def latency(self) -> Latency:
        """Return how the call's time was spent."""
        call, now_s = self._forwarded, monotonic()
        if call is None:
            return Latency(before_s=now_s - self.ended_s, runtime_s=0.0, after_s=0.0)
        replied_s = call.replied_s or now_s
        return Latency(self.forwarded_s - self.ended_s, replied_s - self.forwarded_s, now_s - replied_s)

    def is_certain(self, *, answered: bool) -> bool:
        """Whether the runtime's outcome is the one sent to the caller, whose call was *answered* or broken."""
        call = self._forwarded
        return call is None or not call.sent or (answered and not call.wanted and call.certain)

    def close_tap(self, outcome: Outcome) -> None:
        """Notify observers that the caller has its reply."""
        if self._tap is not None:
            self._tap.close(outcome)

    # --- the reply ------------------------------------------------------------------------------------------------

    def _reply(self, edited: bytes | None) -> None:
        """Reply with *edited*, or with the runtime's reply."""
        call = self._forwarded
        if self._gone:
            return
        if call is None:
            log.error("handler did not forward its call; this is a bug in crirm", method=self._shown_path)
            self.refuse(Status.INTERNAL, coded(OUR_FAULT, INTERNAL_FAULT))
        elif call.reset_code is not None:
            self._gone = True
            self._stream.reset_nowait(call.reset_code)  # type: ignore[arg-type] # any number, as the runtime sent it
        else:
            self._gone = True
            if self._handler is not None and call.headers:
                body = bytes(call.body) if edited is None else frame(edited)
                self._forget_messages(call)
                bridge.now(self._server.send_headers(self._stream, call.headers, end=False))
                bridge.now(self._stream.send_data(body))
            bridge.now(self._server.send_headers(self._stream, call.trailers, end=True))

    def _forget_messages(self, call: Forwarded) -> None:
        """Hold them no longer: what the caller has no room for counts by itself from here on, see `waits`."""
        self.message, call.body = b"", bytearray()
        self._account.release(self)

    def _failed(self, status: Status, message: str, error: CrirmError | None) -> None:
        """Refuse a call that was not forwarded; otherwise the caller gets the runtime's reply."""
        if self._forwarded is None:
            _complain("cannot read a request", self._path, error)
            self.refuse(status, message)
        else:
            _complain("cannot read the request of a reply", self._path, error)
            self._reply(None)

    def refuse(self, status: Status, message: str) -> None:
        """End the call with *status*; it is not forwarded."""
        if self._gone:
            return
        self._gone = True
        self._withdraw()
        trailers = status_trailers(status, message, alone=not self._replying)
        bridge.now(self._server.send_headers(self._stream, trailers, end=True))
        if not self._kept.caller_ended:
            self._stream.reset_nowait()
        self._leave()

    def _leave(self) -> None:
        """Clean up a call without a task."""
        if self._ran:
            self._account.release(self)
        elif not self._started:
            self._account.release(self)
            self._release()

    @property
    def _shown_path(self) -> str:
        return clipped(self._path.decode("ascii", "replace"))


async def _pass_on(call: Held) -> None:
    """The handler of calls without a decision."""
    await call.pass_on()


def _complain(what: str, path: bytes, error: CrirmError | None) -> None:
    """Log malformed messages, at most once a minute, since they come in numbers."""
    method = path.decode("ascii", "replace")
    held_back = _complaints.admit(f"{what} {method}") if error is not None else None
    if held_back is not None:
        log.warning(what, method=method, reason=str(error), **({"held_back": held_back} if held_back else {}))
