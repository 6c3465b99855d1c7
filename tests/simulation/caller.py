"""A caller of crirm: the kubelet's gRPC client, which dials again for the next call when its connection was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio
from grpclib.const import Status

from crirm.rpc.grpc_wire import Deframer, RpcError, frame, request_headers, status_of
from tests.simulation.frames import DATA, HEADERS, RESET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.frames import Frame, Wire

CANCEL = 8  # of HTTP/2
LATENCY_S = 1e-4
LOOKS = {"ListPodSandbox", "ListContainers", "ContainerStatus"}


@attrs.define(eq=False)
class Asked:
    """A call that waits for its answer."""

    number: bytes
    deliver: Callable[[bytes], None]
    ended: trio.Event = attrs.field(factory=trio.Event)
    status: tuple[int, str] = (Status.UNKNOWN.value, "no status")
    deframer: Deframer = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        """Deliver whole messages."""
        self.deframer = Deframer(self.deliver, None)

    def end(self, status: int, message: str) -> None:
        """Tell how it went."""
        if not self.ended.is_set():
            self.status = status, message
            self.ended.set()


@attrs.define(eq=False)
class Caller:
    """One client.

    Args:
        dial: returns a wire to crirm that ends at the given caller; None where nobody listens.
        overdue: told of a call that ended by its deadline, with its number and when it began.
        numbers: of calls, each used once.
        tells_deadline: whether calls carry it; else crirm only hears that the caller has gone.
    """

    dial: Callable[[Caller], Wire | None]
    overdue: Callable[[str, bytes, float], None]
    numbers: Iterator[int]
    tells_deadline: bool = True
    asked: dict[int, Asked] = attrs.field(factory=dict, init=False)
    in_flight: int = attrs.field(default=0, init=False)
    last_s: float = attrs.field(default=0.0, init=False)
    _wire: Wire | None = attrs.field(default=None, init=False)
    _next: int = attrs.field(default=1, init=False)

    def _open(self, method: str, message: bytes, timeout_s: float | None, deliver: Callable[[bytes], None]) -> int:
        if self._wire is None or self._wire.cut:
            self._wire = self.dial(self)
        if self._wire is None:
            raise RpcError(Status.UNAVAILABLE, "nobody listens")
        stream_id, self._next = self._next, self._next + 2
        number = b"%d" % next(self.numbers)
        self.asked[stream_id] = Asked(number, deliver)
        headers = [*request_headers(f"/runtime.v1.RuntimeService/{method}".encode(), timeout_s), (b"x-call", number)]
        self._wire.send([(HEADERS, stream_id, headers, False), (DATA, stream_id, frame(message), True)])
        return stream_id

    async def call(self, method: str, message: bytes, timeout_s: float = 120.0) -> bytes:
        """Make one call.

        Raises:
            RpcError: it went wrong.
        """
        self.in_flight += 1
        try:
            return await self._call(method, message, timeout_s)
        finally:
            self.in_flight -= 1
            if method not in LOOKS:
                self.last_s = trio.current_time()

    async def _call(self, method: str, message: bytes, timeout_s: float) -> bytes:
        replies: list[bytes] = []
        begun_s = trio.current_time()
        told_s = timeout_s if self.tells_deadline else None
        stream_id = self._open(method, message, told_s, replies.append)
        asked, wire = self.asked[stream_id], self._wire
        with trio.move_on_after(timeout_s):
            await asked.ended.wait()
        if self.asked.get(stream_id) is asked:
            del self.asked[stream_id]
        if not asked.ended.is_set():
            if wire is not None:
                wire.send([(RESET, stream_id, CANCEL)])
            self.overdue(method, asked.number, begun_s)
            raise RpcError(Status.DEADLINE_EXCEEDED, f"{method}: context deadline exceeded")
        code, text = asked.status
        if code:
            raise RpcError(Status(code), text)
        return replies[0] if replies else b""

    async def listen(self, deliver: Callable[[bytes], None]) -> None:
        """Take events as they come, until the stream ends."""
        try:
            stream_id = self._open("GetContainerEvents", b"", None, deliver)
        except RpcError:
            return
        asked = self.asked[stream_id]
        try:
            await asked.ended.wait()
        finally:
            if self.asked.get(stream_id) is asked:
                del self.asked[stream_id]

    def frames_received(self, frames: list[Frame]) -> None:
        """Take answers."""
        for kind, stream_id, *rest in frames:
            asked = self.asked.get(stream_id)
            if asked is None:
                continue
            if kind == HEADERS and rest[1]:
                asked.end(*status_of(rest[0]))
            elif kind == DATA:
                asked.deframer.feed(rest[0])
            elif kind == RESET:
                asked.end(Status.UNAVAILABLE.value, f"stream reset {rest[0]}")

    def connection_lost(self, exc: BaseException | None) -> None:  # noqa: ARG002 - of no interest
        """End all calls."""
        if self._wire is not None:
            self._wire.cut = True
        asked, self.asked = self.asked, {}
        for one in asked.values():
            one.end(Status.UNAVAILABLE.value, "transport is closing")
