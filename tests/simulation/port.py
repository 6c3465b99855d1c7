"""The runtime's end of a connection: frames to calls, answers to frames, and what goes wrong on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio
from grpclib.const import Status

from crirm.rpc.grpc_wire import RpcError, find, frame, parse_timeout_s, status_trailers
from tests.simulation.frames import DATA, HEADERS, RESET, SETTINGS
from tests.simulation.habits import Events

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.frames import Frame, Wire
    from tests.simulation.runtime import ModelRuntime

_OK = [(b":status", b"200"), (b"content-type", b"application/grpc")]
INTERNAL_ERROR = 2  # of HTTP/2
GARBAGE = b"\x0a\xff\xff\xff"


@attrs.define(eq=False)
class Stream:
    """A call in flight."""

    id: int
    method: str
    call: bytes  # the caller's own number of it
    timeout_s: float | None
    gone: bool = False
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


@attrs.define
class Mishap:
    """What happens to the next call of a method.

    Args:
        method: of which the next call is met.
        what: ``refuse``, ``reset before`` or ``reset`` (after the runtime has acted), ``garbage``, ``drop`` (never
            answer), ``hang up`` (after it has acted), ``late`` (act, then answer late), ``slow`` (act late),
            ``kill before`` or ``kill`` (crirm).
        delay_s: of those that are late.
    """

    method: str
    what: str
    delay_s: float = 0.0


@attrs.define(eq=False)
class Port:
    """One connection that crirm has opened.

    Args:
        runtime: answers.
        mishap: returns what goes wrong with a call of a method, if anything.
        kill: kills crirm.
        answered: told the number of every call that was answered.
        unwelcome: told that crirm listens for itself where that is at the cost of others.
    """

    runtime: ModelRuntime
    mishap: Callable[[str], Mishap | None]
    kill: Callable[[], None]
    answered: Callable[[bytes], None]
    unwelcome: Callable[[], None]
    wire: Wire = attrs.field(init=False)
    _streams: dict[int, Stream] = attrs.field(factory=dict, init=False)

    def greet(self, streams: int) -> None:
        """Send the settings frame."""
        self.wire.send([(SETTINGS, 0, streams)])

    def close(self) -> None:
        """End the connection."""
        self.connection_lost(None)
        self.wire.close()

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - of no interest
        """End all calls."""
        for stream in list(self._streams.values()):
            self._abandon(stream)

    def frames_received(self, frames: list[Frame]) -> None:
        """Take on calls."""
        for kind, stream_id, *rest in frames:
            if kind == HEADERS:
                method = (find(rest[0], b":path") or b"").decode().rpartition("/")
                timeout = find(rest[0], b"grpc-timeout")
                number = find(rest[0], b"x-call") or b""
                name = method[2] if method[0].startswith("/runtime.v1.") else "?"
                stream = Stream(stream_id, name, number, parse_timeout_s(timeout) if timeout else None)
                self._streams[stream_id] = stream
            elif kind == DATA and stream_id in self._streams:
                self.runtime.nursery.start_soon(self._serve, self._streams[stream_id], rest[0][5:])
            elif kind == RESET and (found := self._streams.get(stream_id)):
                self._abandon(found)

    def _abandon(self, stream: Stream) -> None:
        stream.gone = True
        self._streams.pop(stream.id, None)
        self.runtime.leave(stream)
        if not (self.runtime.habits.creation_goes_on and stream.method == "CreateContainer"):
            stream.scope.cancel()

    async def _serve(self, stream: Stream, message: bytes) -> None:
        if stream.method == "GetContainerEvents" and self.runtime.habits.events is not Events.NOBODY:
            if not stream.call and not self.runtime.habits.bears_listeners:
                self.unwelcome()
            self.runtime.listeners.append((self, stream))
            self._send(stream, [(HEADERS, stream.id, _OK, False)])
            return
        mishap = self.mishap(stream.method)
        what, delay_s = (mishap.what, mishap.delay_s) if mishap else ("", 0.0)
        match what:
            case "kill before":
                self.kill()
                return
            case "reset before":
                self._reset(stream)
                return
            case "refuse":
                self._answer(stream, RpcError(Status.UNKNOWN, "the runtime has a bad day"))
                return
            case _:
                answer = await self._act(stream, message, delay_s if what == "slow" else 0.0)
        await self._give(stream, answer, what, delay_s)

    async def _act(self, stream: Stream, message: bytes, delay_s: float) -> bytes | RpcError:
        handler = self.runtime.call(stream.method)
        if handler is None:
            return RpcError(Status.UNIMPLEMENTED, f"unknown method {stream.method}")
        goes_on = self.runtime.habits.creation_goes_on and stream.method == "CreateContainer"
        stream.scope.deadline = trio.current_time() + (stream.timeout_s or 1e9) if not goes_on else float("inf")
        answer: bytes | RpcError = RpcError(Status.DEADLINE_EXCEEDED, "context deadline exceeded")
        with stream.scope:
            try:
                if delay_s:
                    await trio.sleep(delay_s)
                answer = await handler(message)
            except RpcError as error:
                answer = error
        return answer

    async def _give(self, stream: Stream, answer: bytes | RpcError, what: str, delay_s: float) -> None:
        match what:
            case "kill":
                self.kill()
            case "drop":
                pass
            case "reset":
                self._reset(stream)
            case "hang up":
                self.close()
            case "late":
                await trio.sleep(delay_s)
                self._answer(stream, answer)
            case "garbage" if isinstance(answer, bytes):
                self._answer(stream, GARBAGE)
            case _:
                self._answer(stream, answer)
        self._note_told(stream, answer, told=what not in {"kill", "drop", "reset", "hang up"} and not stream.gone)

    def _note_told(self, stream: Stream, answer: bytes | RpcError, *, told: bool) -> None:
        if stream.method == "CreateContainer" and isinstance(answer, bytes) and not told:
            box = self.runtime.boxes.get(answer[2:].decode())
            if box is not None:
                box.told = False

    def _answer(self, stream: Stream, answer: bytes | RpcError) -> None:
        if isinstance(answer, RpcError):
            end = status_trailers(answer.status, answer.message, alone=True)
            self._end(stream, [(HEADERS, stream.id, end, True)])
        else:
            end = status_trailers(Status.OK, "", alone=False)
            parts: list[Frame] = [(HEADERS, stream.id, _OK, False), (DATA, stream.id, frame(answer), False)]
            self._end(stream, [*parts, (HEADERS, stream.id, end, True)])

    def _reset(self, stream: Stream) -> None:
        self._end(stream, [(RESET, stream.id, INTERNAL_ERROR)])

    def _end(self, stream: Stream, frames: list[Any]) -> None:
        self._streams.pop(stream.id, None)
        self._send(stream, frames)
        if not stream.gone and stream.call:
            self.answered(stream.call)

    def _send(self, stream: Stream, frames: list[Any]) -> None:
        if not stream.gone:
            self.wire.send(frames)

    def push(self, stream: Stream, message: bytes) -> None:
        """Send one message of a stream that goes on."""
        self._send(stream, [(DATA, stream.id, frame(message), False)])
