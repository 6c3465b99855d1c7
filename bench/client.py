"""The caller: grpcio's C core, which shares nothing with crirm; messages go in and out as bytes."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import TYPE_CHECKING, Any

import attrs
import grpc

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT_S = 120.0  # sent as the deadline of each call, as the kubelet does
_OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.use_local_subchannel_pool", 1),  # two clients are two connections
    ("grpc.enable_retries", 0),  # a failed call fails the benchmark
]


@attrs.frozen
class Burst:
    """Calls of which several were in flight at a time: how long each took, and all of them, in seconds."""

    each_s: list[float]
    whole_s: float

    @property
    def per_second(self) -> float:
        """Throughput, in calls a second."""
        return len(self.each_s) / self.whole_s


class Client:
    """One connection to a CRI socket."""

    def __init__(self, socket_path: Path) -> None:
        self._channel = grpc.insecure_channel(f"unix:{socket_path}", options=_OPTIONS)
        self._methods: dict[str, Any] = {}

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def call(self, method: str, request: bytes = b"") -> bytes:
        """Call *method* of the runtime service.

        Raises:
            grpc.RpcError: it failed.
        """
        reply: bytes = self._method(method)(request, timeout=_TIMEOUT_S)
        return reply

    def timed(self, timings_s: list[float], method: str, request: bytes = b"") -> bytes:
        """Call *method*, and add the seconds that it took to *timings_s*."""
        call = self._method(method)
        begun_s = perf_counter()
        reply: bytes = call(request, timeout=_TIMEOUT_S)
        timings_s.append(perf_counter() - begun_s)
        return reply

    def burst(self, method: str, requests: list[bytes], width: int) -> Burst:
        """Call *method* with each of *requests*, *width* of them in flight at a time.

        Raises:
            grpc.RpcError: one of the calls failed.
        """
        call = self._method(method)
        room = threading.Semaphore(width)
        each_s: list[float] = []

        def start(request: bytes) -> Any:
            begun_s = perf_counter()

            def done(_: Any) -> None:
                each_s.append(perf_counter() - begun_s)
                room.release()

            future = call.future(request, timeout=_TIMEOUT_S)
            future.add_done_callback(done)
            return future

        futures = []
        begun_s = perf_counter()
        for request in requests:
            room.acquire()
            futures.append(start(request))
        for _ in range(width):
            room.acquire()
        whole_s = perf_counter() - begun_s
        for future in futures:
            future.result()
        return Burst(each_s, whole_s)

    def _method(self, name: str) -> Any:
        if name not in self._methods:
            self._methods[name] = self._channel.unary_unary(f"/runtime.v1.RuntimeService/{name}")
        return self._methods[name]
