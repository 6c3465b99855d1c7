"""The caller: one connection, frames by hand, so that what it costs hides little of what relaying costs."""

from __future__ import annotations

import socket
from time import perf_counter
from typing import TYPE_CHECKING, Final

import attrs

from bench.http2 import DATA, GOAWAY, HEADERS, Connection, Headers, body, message

if TYPE_CHECKING:
    from pathlib import Path

_TIMEOUT_S: Final = 120.0  # sent as the deadline of each call, as the kubelet does
_READ_BYTES: Final = 1 << 18


class CallError(Exception):
    """A call failed, and with it the benchmark."""


@attrs.frozen
class Burst:
    """So many calls, of which several were in flight at a time, and the seconds that all of them took."""

    calls: int
    whole_s: float

    @property
    def per_second(self) -> float:
        """Throughput, in calls a second."""
        return self.calls / self.whole_s


class Client:
    """One connection to a CRI socket; opened anew when the other side has said GOAWAY."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path
        self._open()

    def _open(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_TIMEOUT_S)
        self._socket.connect(str(self._path))
        self._connection = Connection(client=True)
        self._next_stream = 1
        self._going_away = False
        self._replies: dict[int, list[bytes]] = {}

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def call(self, method: str, request: bytes = b"") -> bytes:
        """Call *method* of the runtime service.

        Raises:
            CallError: it failed.
        """
        replies: list[bytes] = []
        self._begin(method, message(request))
        while not replies:
            replies += self._ended()
        return body(replies[0])

    def timed(self, timings_s: list[float], method: str, request: bytes = b"") -> bytes:
        """Call *method*, and add the seconds that it took to *timings_s*."""
        begun_s = perf_counter()
        reply = self.call(method, request)
        timings_s.append(perf_counter() - begun_s)
        return reply

    def burst(self, method: str, requests: list[bytes], width: int) -> Burst:
        """Call *method* with each of *requests*, *width* of them in flight at a time.

        Raises:
            CallError: one of the calls failed.
        """
        messages = [message(request) for request in requests]
        done = begun = 0
        begun_s = perf_counter()
        while done < len(messages):
            end = min(len(messages), done + width)
            for data in messages[begun:end]:
                self._begin(method, data)
            begun = end
            done += len(self._ended())
        return Burst(len(messages), perf_counter() - begun_s)

    def _begin(self, method: str, data: bytes) -> None:
        if self._going_away and not self._replies:
            self.close()
            self._open()
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        self._replies[stream] = []
        self._connection.send(stream, _headers(method), data)

    def _ended(self) -> list[bytes]:
        """Send what waits, read once, and return the replies of the calls that have ended by it."""
        self._flush()
        data = self._socket.recv(_READ_BYTES)
        if not data:
            raise CallError(f"{self._path} closed the connection")
        ended = []
        for kind, end, stream, payload in self._connection.feed(data):
            if kind == GOAWAY:
                self._going_away = True
            elif kind == DATA:
                self._replies[stream].append(payload)
            elif kind != HEADERS:
                raise CallError(f"{self._path} reset a call, code {int.from_bytes(payload, 'big')}")
            else:
                headers = self._connection.headers.decode(payload)
                if end:
                    _refuse_failure(headers)
            if end and kind != GOAWAY:
                ended.append(b"".join(self._replies.pop(stream)))
                self._connection.forget(stream)
        if self._connection.out:
            self._flush()
        return ended

    def _flush(self) -> None:
        if self._connection.out:
            self._socket.sendall(self._connection.out)
            self._connection.out.clear()


def _refuse_failure(trailers: dict[str, str]) -> None:
    if trailers.get("grpc-status") != "0":
        raise CallError(f"a call failed: {trailers}")


def _headers(method: str) -> Headers:
    return (
        (":method", "POST"),
        (":scheme", "http"),
        (":path", f"/runtime.v1.RuntimeService/{method}"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("user-agent", "crirm-bench"),
        ("te", "trailers"),
        ("grpc-timeout", f"{_TIMEOUT_S * 1000:.0f}m"),
    )
