"""A runtime that hides nothing: a grpcio server that answers as a request's metadata asks, and remembers what it saw.

What containerd received cannot be seen from outside; what this one received can. It runs in the tests' own process.

Metadata that steers an answer (each optional):
    x-status                   the status to end with; its text in x-status-text or x-status-text-bin
    x-details-bin              the ``grpc-status-details-bin`` trailer to send
    x-count                    how many copies of the request to answer with; 1 if not given, -1 for endless
    x-hold                     wait until the call is over before answering
    x-compress                 answer with gzip
    x-return-*                 sent back as initial metadata; x-trail-* as trailing metadata
"""

from __future__ import annotations

import threading
from concurrent import futures
from typing import TYPE_CHECKING, Any

import attrs
import grpc

from crirm.cri.proto.runtime import v1

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.client import Metadata

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_HELD_S = 30.0


@attrs.define(eq=False)
class SeenCall:
    """One call as the server saw it."""

    path: str
    request: bytes
    metadata: Metadata
    time_remaining_s: float | None
    over: threading.Event = attrs.field(factory=threading.Event)  # set when it ended, in whatever way
    cancelled: bool = False


class EchoRuntime:
    """The server, listening on a Unix socket from construction until `close`."""

    def __init__(self, socket: Path) -> None:
        self.seen: list[SeenCall] = []
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
        ]
        self._server = grpc.server(futures.ThreadPoolExecutor(16), handlers=[_Handlers(self)], options=options)
        self._server.add_insecure_port(f"unix:{socket}")
        self._server.start()

    def answer(self, path: str, request: bytes, context: Any) -> Iterator[bytes]:
        if path.endswith("RuntimeService/Version"):
            yield bytes(v1.VersionResponse("0.1.0", "containerd", "0.0.0-echo", path.split(".")[1]))
            return
        call = SeenCall(path, request, tuple(context.invocation_metadata()), context.time_remaining())
        wishes = dict(call.metadata)
        context.add_callback(call.over.set)
        self.seen.append(call)
        if "x-compress" in wishes:
            context.set_compression(grpc.Compression.Gzip)
        context.send_initial_metadata([pair for pair in call.metadata if pair[0].startswith("x-return-")])
        context.set_trailing_metadata(_trailers(call.metadata, wishes))
        if "x-hold" in wishes:
            call.cancelled = call.over.wait(_HELD_S)
        yield from _copies(request, int(wishes.get("x-count", 1)), call)
        context.set_code(_CODES[int(wishes.get("x-status", 0))])
        context.set_details(wishes.get("x-status-text-bin", wishes.get("x-status-text", "")))

    def close(self) -> None:
        self._server.stop(grace=None).wait()


class _Handlers(grpc.GenericRpcHandler):  # type: ignore[misc]
    def __init__(self, runtime: EchoRuntime) -> None:
        self._runtime = runtime

    def service(self, handler_call_details: Any) -> Any:
        path = handler_call_details.method
        return grpc.unary_stream_rpc_method_handler(
            lambda request, context: self._runtime.answer(path, request, context)
        )


def _trailers(metadata: Metadata, wishes: dict[str, Any]) -> list[tuple[str, str | bytes]]:
    trailers = [pair for pair in metadata if pair[0].startswith("x-trail-")]
    if "x-details-bin" in wishes:
        trailers.append(("grpc-status-details-bin", wishes["x-details-bin"]))
    return trailers


def _copies(request: bytes, count: int, call: SeenCall) -> Iterator[bytes]:
    while count != 0 and not call.over.is_set():
        yield request
        count -= 1
