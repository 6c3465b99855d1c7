"""grpclib's server on a caller's socket while the runtime is away: every call is answered at once, with UNAVAILABLE."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpclib.config import Configuration
from grpclib.protocol import AbstractHandler, H2Protocol

from crirm.rpc import bridge
from crirm.rpc.grpc_wire import find, status_trailers
from crirm.rpc.http2 import h2_config

if TYPE_CHECKING:
    from collections.abc import Callable

    from grpclib.protocol import Stream

    from crirm.rpc.calls import Refusal


class LoneServer:
    """Serves one caller.

    Args:
        refuse: returns the refusal of the call of a path.
        transport: of the caller's socket.
    """

    def __init__(self, refuse: Callable[[bytes], Refusal], transport: bridge.Transport) -> None:
        config = Configuration().__for_server__()
        self._protocol = H2Protocol(_Refusing(refuse), config, h2_config(client_side=False))
        self._protocol.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes of the caller."""
        self._protocol.data_received(data)

    def close(self) -> None:
        """End; the caller's socket is closed."""
        self._protocol.connection_lost(None)


class _Refusing(AbstractHandler):
    """Refuses every call as soon as it begins."""

    def __init__(self, refuse: Callable[[bytes], Refusal]) -> None:
        self._refuse = refuse

    def accept(self, stream: Stream, headers: Any, release_stream: Callable[[], None]) -> None:
        refusal = self._refuse(find(headers, b":path") or b"")
        trailers: Any = status_trailers(refusal.status, refusal.message, alone=True)
        bridge.now(stream.send_headers(trailers, end_stream=True))
        if stream.closable:  # the rest of the request is not needed: RFC 9113 section 8.1
            stream.reset_nowait()
        release_stream()

    def cancel(self, stream: Stream) -> None:
        """Nothing: no call lasts."""

    def close(self) -> None:
        """Nothing: likewise."""
