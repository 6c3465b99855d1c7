"""The runtime's end of a connection: frames to calls, answers to frames, and what goes wrong on the way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio
from grpclib.const import Status

from crirm.rpc import frames as h2
from crirm.rpc.grpc_wire import PREFIX_BYTES, RpcError, find, frame, parse_timeout_s, status_trailers
from crirm.rpc.header_blocks import literals
from tests.simulation.habits import Events
from tests.simulation.peer import WIDE_OPEN, WINDOWS, Peer, data_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc.header_blocks import Headers
    from tests.simulation.runtime import ModelRuntime

_OK = literals([(b":status", b"200"), (b"content-type", b"application/grpc")])
_OK_TRAILERS = literals(status_trailers(Status.OK, "", alone=False))
GARBAGE = b"\x0a\xff\xff\xff"
UNTOLD = {"kill", "drop", "reset", "hang up", "half", "stuck"}


@attrs.define(eq=False)
class Stream:
    """A call in flight."""

    id: int
    method: str
    call: bytes  # the caller's own number of it
    timeout_s: float | None
    request: bytearray = attrs.field(factory=bytearray)
    ended: bool = False  # the request is whole
    gone: bool = False
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


@attrs.define
class Mishap:
    """What happens to the next call of a method.

    Args:
        method: of which the next call is met.
        what: ``refuse``, ``reset before`` or ``reset`` (after the runtime has acted), ``garbage``, ``drop`` (never
            answer), ``hang up`` (after it has acted), ``late`` (act, then answer late), ``slow`` (act late),
            ``kill before`` or ``kill`` (crirm), ``half`` (hang up in the middle of the answer), ``stuck`` (say nothing
            more from there on).
        delay_s: of those that are late.
    """

    method: str
    what: str
    delay_s: float = 0.0


@attrs.frozen
class Told:
    """Who hears of what happens at the runtime.

    Args:
        mishap: returns what goes wrong with a call of a method, if anything.
        kill: kills crirm.
        answered: told the number of every call that was answered.
        lost: told the number of every call whose connection has ended before.
        unwelcome: told that crirm listens for itself where that is at the cost of others.
        forbidden: told what HTTP/2 forbids.
    """

    mishap: Callable[[str], Mishap | None]
    kill: Callable[[], None]
    answered: Callable[[bytes], None]
    lost: Callable[[bytes], None]
    unwelcome: Callable[[], None]
    forbidden: Callable[[str], None]


class Port(Peer):
    """One connection that crirm has opened.

    Args:
        runtime: answers.
        most: streams at once; 0: there is no limit.
        told: whom it tells.
        of_caller: whether it belongs to one of crirm's callers; else it is one of the pool's.
    """

    def __init__(self, runtime: ModelRuntime, most: int, told: Told, *, of_caller: bool) -> None:
        super().__init__(told.forbidden)
        self.runtime = runtime
        self.of_caller = of_caller
        self._most = most or h2.LARGEST_STREAM_ID
        self._told = told
        self._streams: dict[int, Stream] = {}
        self._latest = 0
        self._preface = h2.PREFACE  # what of it is still to come
        self._stuck = False

    def greeting(self) -> bytes:
        """See `Peer`."""
        limit = {h2.MAX_CONCURRENT_STREAMS: self._most} if self._most < h2.LARGEST_STREAM_ID else {}
        return h2.settings({**WINDOWS, **limit}) + WIDE_OPEN

    def send(self, data: bytes) -> None:
        """Send frames, unless it is stuck."""
        if not self._stuck:
            super().send(data)

    # --- requests ------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Take the preface, and frames."""
        if self._preface:
            if data[: len(self._preface)] != self._preface[: len(data)]:
                self._forbid("another preface")
            self._preface, data = self._preface[len(data) :], data[len(self._preface) :]
        super().data_received(data)

    def on_headers(self, stream_id: int, headers: Headers, *, end: bool) -> None:
        """Take on a call."""
        if stream_id <= self._latest or not stream_id % 2 or end:
            self._forbid(f"headers of stream {stream_id} after those of {self._latest}{' without a request' * end}")
            return
        self._latest = stream_id
        if len(self._streams) >= self._most:
            self._forbid(f"stream {stream_id}, and has {len(self._streams)}")
        service, _, method = (find(headers, b":path") or b"").decode().rpartition("/")
        timeout = find(headers, b"grpc-timeout")
        name = method if service.startswith("/runtime.v1.") else "?"
        self._streams[stream_id] = Stream(
            stream_id, name, find(headers, b"x-call") or b"", parse_timeout_s(timeout) if timeout else None
        )

    def on_data(self, stream_id: int, data: bytes, *, end: bool) -> None:
        """Take bytes of a request, and serve it when it is whole."""
        stream = self._streams.get(stream_id)
        if stream is None or stream.ended:
            self._forbid(f"data of stream {stream_id}, {'which has ended' if stream_id <= self._latest else 'of none'}")
            return
        stream.request += data
        if end:
            stream.ended = True
            message = bytes(stream.request[PREFIX_BYTES:])
            if stream.request != frame(message):
                self._forbid(f"a request that is not one message: {stream.request!r:.60}")
            self.runtime.nursery.start_soon(self._serve, stream, message)

    def on_reset(self, stream_id: int, code: int) -> None:  # noqa: ARG002 - nobody wants it any more
        """End a call."""
        if stream_id > self._latest:
            self._forbid(f"a reset of stream {stream_id}, which is none")
        elif found := self._streams.get(stream_id):
            self._abandon(found)

    def on_window(self, stream_id: int, size_bytes: int) -> None:  # noqa: ARG002 - there is enough
        """Check that there is such a stream."""
        if stream_id > self._latest:
            self._forbid(f"a window of stream {stream_id}, which is none")

    def on_goaway(self, last_stream_id: int, code: int) -> None:  # noqa: ARG002 - the runtime begins no streams
        """Check why."""
        if code:
            self._forbid(f"GOAWAY with error {code}")

    def on_lost(self) -> None:
        """End all calls."""
        for stream in list(self._streams.values()):
            self._told.lost(stream.call)
            self._abandon(stream)

    def _abandon(self, stream: Stream) -> None:
        stream.gone = True
        self._streams.pop(stream.id, None)
        self.runtime.leave(stream)
        if not (self.runtime.habits.creation_goes_on and stream.method == "CreateContainer"):
            stream.scope.cancel()

    # --- answers -------------------------------------------------------------------------------------------------

    async def _serve(self, stream: Stream, message: bytes) -> None:
        if stream.method == "GetContainerEvents" and self.runtime.habits.events is not Events.NOBODY:
            if not stream.call and not self.runtime.habits.bears_listeners:
                self._told.unwelcome()
            self.runtime.listeners.append((self, stream))
            self._send(stream, h2.header_frames(stream.id, _OK, end=False))
            return
        mishap = self._told.mishap(stream.method)
        what, delay_s = (mishap.what, mishap.delay_s) if mishap else ("", 0.0)
        match what:
            case "kill before":
                self._told.kill()
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
                self._told.kill()
            case "drop":
                pass
            case "reset":
                self._reset(stream)
            case "hang up":
                self.close()
            case "half":
                self._break_off(stream, answer)
                self.close()
            case "stuck":
                self._break_off(stream, answer)
                self._stuck = True
            case "late":
                await trio.sleep(delay_s)
                self._answer(stream, answer)
            case "garbage" if isinstance(answer, bytes):
                self._answer(stream, GARBAGE)
            case _:
                self._answer(stream, answer)
        self._note_told(stream, answer, told=what not in UNTOLD and not stream.gone and not self._stuck)

    def _note_told(self, stream: Stream, answer: bytes | RpcError, *, told: bool) -> None:
        if stream.method == "CreateContainer" and isinstance(answer, bytes) and not told:
            box = self.runtime.boxes.get(answer[2:].decode())
            if box is not None:
                box.told = False

    def _answer(self, stream: Stream, answer: bytes | RpcError) -> None:
        self._end(stream, _frames_of(stream, answer))

    def _break_off(self, stream: Stream, answer: bytes | RpcError) -> None:
        """Send the half of an answer; it ends within a frame."""
        frames = _frames_of(stream, answer)
        at = len(frames) // 2
        self._send(stream, frames[: at - (h2.whole_frames(frames[:at]) == at)])

    def _reset(self, stream: Stream) -> None:
        self._end(stream, h2.rst_stream(stream.id, h2.INTERNAL_ERROR))

    def _end(self, stream: Stream, frames: bytes) -> None:
        self._streams.pop(stream.id, None)
        self._send(stream, frames)
        if not stream.gone and stream.call and not self._stuck:
            self._told.answered(stream.call)

    def _send(self, stream: Stream, frames: bytes) -> None:
        if not stream.gone:
            self.send(frames)

    def push(self, stream: Stream, message: bytes) -> None:
        """Send one message of a stream that goes on."""
        self._send(stream, data_frames(stream.id, frame(message), end=False))


def _frames_of(stream: Stream, answer: bytes | RpcError) -> bytes:
    if isinstance(answer, RpcError):
        end = literals(status_trailers(answer.status, answer.message, alone=True))
        return h2.header_frames(stream.id, end, end=True)
    begin = h2.header_frames(stream.id, _OK, end=False) + data_frames(stream.id, frame(answer), end=False)
    return begin + h2.header_frames(stream.id, _OK_TRAILERS, end=True)
