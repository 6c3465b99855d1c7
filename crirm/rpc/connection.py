"""One caller's connection: spliced to a connection to the runtime, or served by grpclib alone without a runtime.

    caller ◀─socket─▶ CallerConnection ─ Splice ─ RuntimeHalf ◀─socket─▶ runtime
                          └─ Held calls ─ MemoryServer, and the pool

If one side does not read its socket, the other is not read either, so waiting data is bounded by two socket buffers. A
read with many frames is handled in several turns of the loop, so that one caller does not block the others, and its
first call leaves before its last is parsed. asyncio-flavoured: nothing waits.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Protocol

import trio
from hpack.exceptions import HPACKError

from crirm.errors import clipped
from crirm.logs import get_logger
from crirm.rpc import bridge
from crirm.rpc import frames as h2
from crirm.rpc.budget import Account
from crirm.rpc.frames import FrameError
from crirm.rpc.held import Held
from crirm.rpc.lone_server import LoneServer
from crirm.rpc.memory_server import MOST_CALLS, MemoryServer
from crirm.rpc.runtime_half import RuntimeHalf
from crirm.rpc.splice import Splice
from crirm.rpc.spliced_streams import Kept, Passing

if TYPE_CHECKING:
    from grpclib.const import Status

    from crirm.rpc.budget import Budget
    from crirm.rpc.calls import Refusal
    from crirm.rpc.header_blocks import Headers

log = get_logger("relay")

AGAIN_S = 1.0  # until a caller is told to try again whose connection to the runtime could not be made
LINGER_S = 5.0  # for a peer to read the last data


class Owner(Protocol):
    """The server, as far as a connection needs it."""

    budget: Budget
    connections: set[CallerConnection]

    def runtime_socket(self) -> str | None:
        """Return the runtime's socket for a new caller; None while the runtime is away."""

    async def connect(self, protocol: bridge.Protocol, path: str) -> None:
        """asyncio-flavoured: connect *protocol* to the socket at *path*."""

    def refusal_while_away(self, path: bytes) -> Refusal:
        """Return the refusal of the call of *path* while the runtime is away."""

    def begin(self, connection: CallerConnection, stream_id: int, headers: Headers) -> Passing | Kept:
        """Take on a new call."""

    def start(self, held: Held) -> None:
        """Handle a held call whose request is complete."""

    def answered(self, stream: Passing | Kept, trailers: Headers) -> None:
        """Note that a call got its complete reply."""

    def broken(self, stream: Passing | Kept, status: int, message: str) -> None:
        """Note that a call ended without a reply."""

    def look_whether_idle(self) -> None:
        """Note that a connection ended."""


class CallerConnection(bridge.Protocol):
    """A caller's connection.

    Args:
        server: to which it belongs.
    """

    def __init__(self, server: Owner) -> None:
        self.closed = trio.Event()  # the socket too: nothing is left to send
        self.splice = Splice(self)
        self.account = Account(server.budget)
        self.lost = False
        self._server = server
        self._transport: bridge.Transport | None = None
        self._runtime: RuntimeHalf | None = None
        self._alone: LoneServer | None = None
        self._memory: list[MemoryServer] = []
        self._writable = True
        self._scheduled = False
        self._looking = False  # for the runtime: what the caller sends goes nowhere yet
        server.connections.add(self)

    # --- the caller's socket --------------------------------------------------------------------------------------

    def connection_made(self, transport: bridge.BaseTransport) -> None:
        """Connect to the runtime; the caller is not read until that succeeds or fails."""
        self._transport = bridge.as_transport(transport)
        if self.lost:  # closed since it was accepted
            self._transport.close()
            return
        path = self._server.runtime_socket()
        if path is None:
            self._serve_alone()
        else:
            self._looking = True
            self._transport.pause_reading()
            bridge.spawn(self._join, path)

    async def _join(self, path: str) -> None:
        runtime = RuntimeHalf(self)
        try:
            await self._server.connect(runtime, path)
        except OSError as error:
            log.debug("cannot connect a new caller to the runtime", reason=str(error))
            if not self.lost:
                self._serve_alone()
                bridge.loop().call_later(AGAIN_S, self.runtime_is_back)  # it may have been there all the time
        else:
            if self.lost:
                runtime.close()
        self._looking = False
        if self._transport is not None and not self.lost:
            self._transport.resume_reading()
            self._take_early()

    def _take_early(self) -> None:
        """Handle what arrived before the runtime was found."""
        reader = self.splice.caller.reader
        if self._alone is not None:
            early, reader.data = reader.data, b""  # else the splice would answer it too
            self._alone.data_received(early)
        elif reader.unread:
            self.work()

    def joined(self, runtime: RuntimeHalf) -> None:
        """Splice to *runtime*, which is open."""
        self._runtime = runtime

    def _serve_alone(self) -> None:
        if self._transport is not None:
            self.splice.greeted = True
            self._alone = LoneServer(self._server.refusal_while_away, self._transport)

    def data_received(self, data: bytes) -> None:
        """Handle data of the caller."""
        if self._alone is not None:
            self._alone.data_received(data)
            return
        self.splice.now_s = monotonic()
        self.splice.caller.reader.add(data)
        if self._looking and self._transport is not None:
            bridge.pause_again(self._transport)
        else:
            self.work()

    def pause_writing(self) -> None:
        """Stop reading the runtime: the caller does not read its socket."""
        self._writable = self.splice.caller.reads = False
        self.set_reading()

    def resume_writing(self) -> None:
        """Resume after `pause_writing`."""
        self._writable = self.splice.caller.reads = True
        self.set_reading()

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - callers come and go
        """End all calls of the caller."""
        self.closed.set()
        self._leave()

    # --- both sockets ---------------------------------------------------------------------------------------------

    def work(self) -> None:
        """Handle data from both sides, and send the result."""
        self._scheduled = False
        if self.lost:
            return
        try:
            self.splice.caller.work()
        except (FrameError, HPACKError) as error:
            self._end_badly(error)
            return
        except Exception:
            self.fail(h2.goaway(self.splice.latest, h2.INTERNAL_ERROR))
            raise
        if self._runtime is not None:
            self._work_for(self._runtime)
        self.flush()
        if not self.lost:
            self.set_reading()

    def _work_for(self, runtime: RuntimeHalf) -> None:
        try:
            self.splice.runtime.work()
        except (FrameError, HPACKError) as error:
            reason = "invalid headers" if isinstance(error, HPACKError) else str(error)
            runtime.fail(f"HTTP/2 protocol error by the runtime: {reason}")
        except Exception:
            runtime.fail("internal error, a bug in crirm")
            raise

    def set_reading(self) -> None:
        """Read each side as the other allows; schedule another turn for unhandled data."""
        splice, runtime = self.splice, self._runtime
        behind = splice.caller.reader.unread, splice.runtime.reader.unread
        if self._transport is not None:
            others = self._writable if self._alone is not None else runtime is None or runtime.writable
            bridge.set_reading(self._transport, not behind[0] and others)
        if runtime is not None:
            runtime.set_reading(wanted=not behind[1] and self._writable)
        if any(behind):
            self._work_soon()

    def flush(self) -> None:
        """Send pending data: one system call per socket."""
        splice = self.splice
        if splice.to_runtime:
            data = b"".join(splice.to_runtime)
            splice.to_runtime.clear()
            if self._runtime is not None:
                self._runtime.write(data)
        if splice.to_caller:
            data = splice.take_for_caller()
            if self._transport is not None and not self._transport.is_closing():
                self._transport.write(data)
        if splice.leaving and splice.is_idle and not self.lost:
            self.fail()

    def _work_soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            bridge.loop().call_soon(self.work)

    # --- calls, for Splice ----------------------------------------------------------------------------------------

    def begin(self, stream_id: int, headers: Headers) -> Passing | Kept:
        """See `splice.Calls`."""
        return self._server.begin(self, stream_id, headers)

    def answered(self, stream: Passing | Kept, trailers: Headers) -> None:
        """See `splice.Calls`."""
        self._server.answered(stream, trailers)

    def broken(self, stream: Passing | Kept, status: int, message: str) -> None:
        """See `splice.Calls`."""
        self._server.broken(stream, status, message)

    def hold(self, kept: Kept, held: Held) -> None:
        """Give a call to the grpclib server."""
        for memory in self._memory:
            if len(memory.calls) < MOST_CALLS:
                break
        else:
            memory = MemoryServer(self.splice, self._work_soon)
            self._memory.append(memory)
        held.begin(kept, memory, self._server.start)

    # --- ends -----------------------------------------------------------------------------------------------------

    def runtime_lost(self, reason: str) -> None:
        """End the calls at the runtime; the caller has to reconnect."""
        self._runtime = None
        if not (self.splice.greeted or self.splice.streams):
            self.fail()  # as without crirm: a connection that came to nothing
            return
        # Once half a header block has been sent, nothing else can follow it.
        in_block = self.splice.runtime.reader.block is not None
        self.splice.runtime_lost(f"lost the container runtime during the call: {reason}")
        if in_block:
            self.fail()
        else:
            self.flush()

    def cut(self, stream: Passing | Kept, status: Status, message: str) -> None:
        """End one call with *status*."""
        if type(stream) is Kept and isinstance(stream.sink, Held):
            stream.sink.refuse(status, message)
        else:
            self.splice.cut(stream, status, message)

    def close(self) -> None:
        """Close the connection gracefully."""
        self.splice.leave()
        self.fail()

    def runtime_is_back(self) -> None:
        """Make a caller without a runtime reconnect."""
        if self._alone is not None:
            self.fail(h2.goaway(h2.LARGEST_STREAM_ID, h2.NO_ERROR))

    def _end_badly(self, error: FrameError | HPACKError) -> None:
        code = error.code if isinstance(error, FrameError) else h2.COMPRESSION_ERROR
        log.debug("HTTP/2 protocol error by a caller", reason=clipped(str(error)))
        self.fail(h2.goaway(self.splice.latest, code))

    def fail(self, last_words: bytes = b"") -> None:
        """Close the connection, after *last_words*."""
        if self.lost:
            return
        if self._transport is not None:
            self.splice.to_caller.append(last_words)
            lying = self.splice.take_for_caller()
            if lying and not self._transport.is_closing():
                self._transport.write(lying)
            self._transport.close()
            if not self._writable:  # a peer that does not read would keep the socket open for ever
                bridge.loop().call_later(LINGER_S, self._transport.abort)
        self._leave()

    def _leave(self) -> None:
        if self.lost:
            return
        self.lost = True
        self._server.connections.discard(self)
        self.splice.caller_lost()
        if self._runtime is not None:
            self.flush()
            self._runtime.close()
        for memory in self._memory:
            memory.close()
        if self._alone is not None:
            self._alone.close()
        self._server.look_whether_idle()
