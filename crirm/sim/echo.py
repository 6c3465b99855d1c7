"""A service outside every proto file, to test that a relay loses nothing.

``/crirm.test.Echo/Unary``, ``ServerStream``, ``ClientStream`` and ``Bidi`` give back the bytes they get, whatever they
are; ``State`` tells, as JSON, which calls are under way and how the others ended.

Every pair of metadata comes back twice: among the initial metadata with ``echo-`` before its name, and among the
trailing metadata with ``trailer-``. ``echo-timeout`` and ``echo-authority`` show the received ``grpc-timeout`` and
``:authority``, unless the caller did not send them. Metadata of the request also say what the answer is to be:

- ``x-status``: number of the gRPC status; ``x-message`` or ``x-message-bin`` (UTF-8): its message;
  ``x-details-bin``: content of ``grpc-status-details-bin``;
- ``x-trailers-only``: with any value, no message and no initial metadata, just trailers;
- ``x-size``: bytes in each message, instead of those of the request;
- ``x-count``: messages of ``ServerStream``; with ``x-status``, that many come before it (0 in unary calls);
- ``x-delay``: seconds before each message.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
from grpclib.const import Cardinality, Handler, Status

from crirm.sim.waiting import sleep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from grpclib.server import Stream

    from crirm.sim.calls import Calls

    Messages = Callable[[Stream[bytes, bytes], "Wish"], AsyncIterator[bytes]]

SERVICE = "/crirm.test.Echo"
Pairs = list[tuple[str, str | bytes]]


@attrs.frozen
class Wish:
    """The behaviour that a request's metadata select."""

    pairs: Pairs
    transport_pairs: Pairs
    status: Status
    message: str | None
    details: bytes | None
    trailers_only: bool
    size_bytes: int | None
    count: int | None
    delay_s: float

    @classmethod
    def of(cls, stream: Stream[bytes, bytes]) -> Wish:
        """Read the metadata of *stream*."""
        metadata: Mapping[str, str | bytes] = stream.metadata or {}
        headers = dict(stream._stream.headers or ())  # hidden from handlers by grpclib, see `server`
        transport = (("timeout", headers.get("grpc-timeout")), ("authority", headers.get(":authority")))
        size, count = metadata.get("x-size"), metadata.get("x-count")
        message = metadata.get("x-message-bin") or metadata.get("x-message")
        details = metadata.get("x-details-bin")
        return cls(
            pairs=list(metadata.items()),
            transport_pairs=[(f"echo-{name}", value) for name, value in transport if value],
            status=Status(int(metadata.get("x-status", "0"))),
            message=message.decode() if isinstance(message, bytes) else message,
            details=details if isinstance(details, bytes) else None,
            trailers_only="x-trailers-only" in metadata,
            size_bytes=None if size is None else int(size),
            count=None if count is None else int(count),
            delay_s=float(metadata.get("x-delay", "0")),
        )

    def prefixed(self, prefix: str) -> Pairs:
        """Return the metadata of the request as metadata of the answer."""
        return [(f"{prefix}{name}", value) for name, value in self.pairs]


class Echo:
    """The handlers of the service."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def __mapping__(self) -> dict[str, Handler]:
        """Return the handlers by path."""
        return {
            f"{SERVICE}/Unary": self._handler("Unary", self._unary, Cardinality.UNARY_UNARY),
            f"{SERVICE}/ServerStream": self._handler("ServerStream", self._server_stream, Cardinality.UNARY_STREAM),
            f"{SERVICE}/ClientStream": self._handler("ClientStream", self._client_stream, Cardinality.STREAM_UNARY),
            f"{SERVICE}/Bidi": self._handler("Bidi", self._bidi, Cardinality.STREAM_STREAM),
            f"{SERVICE}/State": Handler(self._state, Cardinality.UNARY_UNARY, bytes, bytes),
        }

    def _handler(self, name: str, messages: Messages, cardinality: Cardinality) -> Handler:
        async def serve(stream: Stream[bytes, bytes]) -> None:
            with self._calls.track(f"{SERVICE}/{name}"):
                await answer(stream, messages)

        return Handler(serve, cardinality, bytes, bytes)

    async def _unary(self, stream: Stream[bytes, bytes], wish: Wish) -> AsyncIterator[bytes]:
        request = await stream.recv_message() or b""
        if wish.status is Status.OK:
            yield request

    async def _server_stream(self, stream: Stream[bytes, bytes], wish: Wish) -> AsyncIterator[bytes]:
        request = await stream.recv_message() or b""
        for _ in range(1 if wish.count is None else wish.count):
            yield request

    async def _client_stream(self, stream: Stream[bytes, bytes], wish: Wish) -> AsyncIterator[bytes]:
        request = b"".join([message async for message in stream])
        if wish.status is Status.OK:
            yield request

    async def _bidi(self, stream: Stream[bytes, bytes], _wish: Wish) -> AsyncIterator[bytes]:
        async for message in stream:
            yield message

    async def _state(self, stream: Stream[bytes, bytes]) -> None:
        """asyncio-flavoured: return how all calls ended, of any service."""
        await stream.recv_message()
        await stream.send_message(json.dumps(self._calls.summary()).encode())


async def answer(stream: Stream[bytes, bytes], messages: Messages) -> None:
    """asyncio-flavoured: answer one call with *messages*, metadata and status as requested."""
    wish = Wish.of(stream)
    if not wish.trailers_only:
        await stream.send_initial_metadata(metadata=wish.prefixed("echo-") + wish.transport_pairs)
        await _send(stream, messages(stream, wish), wish)
    await stream.send_trailing_metadata(
        status=wish.status,
        status_message=wish.message,
        status_details=wish.details,
        metadata=wish.prefixed("trailer-"),
    )


async def _send(stream: Stream[bytes, bytes], messages: AsyncIterator[bytes], wish: Wish) -> None:
    async for message in messages:
        if wish.delay_s:
            await sleep(wish.delay_s)
        await stream.send_message(message if wish.size_bytes is None else bytes(wish.size_bytes))
