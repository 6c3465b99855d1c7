"""A runtime on gRPC's C core that stops as CRI-O does: it says goodbye and finishes what it has begun."""

from __future__ import annotations

import threading
from concurrent import futures
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc

from crirm.cri.proto.runtime import v1

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATIENCE_S = 60.0


class CoreRuntime(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Says its version at once; every other call waits until it may go on, and gives back what it got."""

    def __init__(self, socket: Path) -> None:
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[self])
        self._server.add_insecure_port(f"unix:{socket}")
        self._server.start()

    def service(self, handler_call_details: Any) -> Any:
        known = handler_call_details.method.endswith("/Version")
        return grpc.unary_unary_rpc_method_handler(self._version if known else self._wait)

    def _version(self, _request: bytes, _context: Any) -> bytes:
        return bytes(v1.VersionResponse("0.1.0", "cri-o", "1.30.0", "v1"))

    def _wait(self, request: bytes, _context: Any) -> bytes:
        self.begun.set()
        self.may_go_on.wait(_PATIENCE_S)
        return request

    def begin_to_stop(self) -> threading.Event:
        """Take no more calls; the event is set when the last one is over."""
        over: threading.Event = self._server.stop(grace=_PATIENCE_S)
        return over


@contextmanager
def core_runtime(socket: Path) -> Iterator[CoreRuntime]:
    """Serve on *socket* while the block lasts."""
    runtime = CoreRuntime(socket)
    try:
        yield runtime
    finally:
        runtime.may_go_on.set()
        runtime.begin_to_stop().wait(_PATIENCE_S)
