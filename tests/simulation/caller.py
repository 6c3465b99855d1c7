"""A caller of crirm: the kubelet's gRPC client, which dials again for the next call when its connection was lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio
from grpclib.const import Status

from crirm.rpc.grpc_wire import RpcError
from tests.simulation.client import Asked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.simulation.client import Client

LOOKS = {"ListPodSandbox", "ListContainers", "ContainerStatus"}


@attrs.define(eq=False)
class Caller:
    """One client.

    Args:
        dial: returns a connection to crirm; None where nobody listens.
        overdue: told of a call that ended by its deadline, with its number and when it began.
        ungreeted: told of one whose connection was not greeted until then, and when it began.
        numbers: of calls, each used once.
        tells_deadline: whether calls carry it; else crirm only hears that the caller has gone.
    """

    dial: Callable[[], Client | None]
    overdue: Callable[[str, bytes, float], None]
    ungreeted: Callable[[str, float], None]
    numbers: Iterator[int]
    tells_deadline: bool = True
    in_flight: int = attrs.field(default=0, init=False)
    last_s: float = attrs.field(default=0.0, init=False)
    _client: Client | None = attrs.field(default=None, init=False)

    async def _room(self) -> Client:
        """Return a connection that takes a call now.

        Raises:
            RpcError: nobody listens, or no more.
        """
        while True:
            if self._client is None or self._client.leaving:
                self._client = self.dial()
            if (client := self._client) is None:
                raise RpcError(Status.UNAVAILABLE, "nobody listens")
            if await client.room():
                return client
            if client.lost:
                raise RpcError(Status.UNAVAILABLE, "connection lost before the call")

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
        asked = Asked(b"%d" % next(self.numbers), replies.append)
        client, stream_id = None, 0
        with trio.move_on_after(timeout_s):
            client = await self._room()
            told_s = timeout_s - (trio.current_time() - begun_s) if self.tells_deadline else None
            stream_id = client.ask(_path(method), message, told_s, asked)
            await asked.ended.wait()
        if not asked.ended.is_set():
            self._give_up(method, client, stream_id, asked, begun_s)
        code, text = asked.status
        if code:
            raise RpcError(Status(code), text)
        return replies[0] if replies else b""

    def _give_up(self, method: str, client: Client | None, stream_id: int, asked: Asked, begun_s: float) -> None:
        if client is not None:
            client.leave(stream_id)
            self.overdue(method, asked.number, begun_s)
        elif self._client is not None and not self._client.greeted:
            self.ungreeted(method, begun_s)
        raise RpcError(Status.DEADLINE_EXCEEDED, f"{method}: context deadline exceeded")

    async def listen(self, deliver: Callable[[bytes], None]) -> None:
        """Take events as they come, until the stream ends."""
        asked = Asked(b"%d" % next(self.numbers), deliver)
        try:
            client = await self._room()
        except RpcError:
            return
        stream_id = client.ask(_path("GetContainerEvents"), b"", None, asked)
        try:
            await asked.ended.wait()
        finally:
            client.leave(stream_id)

    def hang_up(self) -> None:
        """Close the connection, whatever is on its way."""
        if self._client is not None:
            self._client.close()


def _path(method: str) -> str:
    return f"/runtime.v1.RuntimeService/{method}"
