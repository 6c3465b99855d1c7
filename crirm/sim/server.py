"""The gRPC shell of the embedded runtime: grpclib's server, with connections that can be dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpclib.protocol import H2Protocol
from grpclib.server import Handler, Server
from h2.settings import SettingCodes

from crirm.rpc.bytes_codec import BytesCodec
from crirm.sim.codec import BytesDetailsCodec
from crirm.sim.gathered import GatheredTransport

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from grpclib.protocol import Stream

MAX_STREAMS = (1 << 31) - 1
"""On one connection; containerd has no limit, and h2 would set one of 100."""
MAX_HEADER_LIST_BYTES = 1 << 20
"""Of one request; h2 would allow 64 KiB."""


class _Handler(Handler):
    """Keeps the headers of a request, of which grpclib shows handlers only a part."""

    def accept(self, stream: Stream, headers: list[tuple[str, str]], release_stream: Callable[[], Any]) -> None:
        """Start to handle a call."""
        stream.headers = headers
        super().accept(stream, headers, release_stream)


class _Connection(H2Protocol):
    """Is known to its server as long as it is open."""

    def __init__(self, open_connections: set[_Connection], *args: Any) -> None:
        super().__init__(*args)
        self._open_connections = open_connections

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        super().connection_made(GatheredTransport(transport))  # type: ignore[arg-type]  # has all that grpclib uses
        h2 = self.connection._connection
        h2.update_settings(
            {SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS, SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST_BYTES}
        )
        h2.decoder.max_header_list_size = MAX_HEADER_LIST_BYTES
        self.connection.flush()
        self._open_connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End."""
        self._open_connections.discard(self)
        super().connection_lost(exc)


class SimServer(Server):
    """Serves bytes; made and used on the asyncio side."""

    def __init__(self, handlers: Any) -> None:
        super().__init__([], codec=BytesCodec(), status_details_codec=BytesDetailsCodec())
        self._mapping = handlers
        self._open_connections: set[_Connection] = set()

    @property
    def connection_count(self) -> int:
        """How many clients are connected."""
        return len(self._open_connections)

    def _protocol_factory(self) -> H2Protocol:
        handler = _Handler(self._mapping, self._codec, self._status_details_codec, self.__dispatch__)
        self._handlers.add(handler)
        self.__gc_step__()
        return _Connection(self._open_connections, handler, self._config, self._h2_config)

    def drop_connections(self) -> None:
        """Close every connection at once, as a runtime that was killed does."""
        for connection in list(self._open_connections):
            connection.processor.close("The runtime was stopped")

    async def stop(self) -> None:
        """asyncio-flavoured: stop listening, drop the connections, and wait until no handler is left."""
        self.close()
        self.drop_connections()
        await self.wait_closed()


async def start_server(handlers: Any, sock: socket.socket) -> SimServer:
    """asyncio-flavoured: serve *handlers*, by path, on *sock*, which is bound."""
    server = SimServer(handlers)
    await server.start(sock=sock)
    return server
