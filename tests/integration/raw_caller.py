"""A caller made of a socket and h2, for what well-behaved gRPC clients never do."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import h2.events as h2e
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes

from crirm.rpc.grpc_wire import frame

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_LARGEST_WINDOW_BYTES = (1 << 31) - 1
_PATIENCE_S = 30.0
_READ_BYTES = 1 << 16


class RawCaller:
    """Takes whatever is sent to it, in windows that never close, but only when it is told to read; leaves abruptly."""

    def __init__(self, path: Path, *, preface: bool = True) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.settimeout(_PATIENCE_S)
        self._sock.connect(str(path))
        self._h2 = H2Connection(H2Configuration(header_encoding=None))
        self.replied = False
        self.received_bytes = 0
        self.trailers: dict[bytes, bytes] = {}
        if preface:
            self._h2.initiate_connection()
            self._h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: _LARGEST_WINDOW_BYTES})
            self._h2.increment_flow_control_window(_LARGEST_WINDOW_BYTES - self._h2.inbound_flow_control_window)
            self.say(self._h2.data_to_send())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sock.close()

    def say(self, words: bytes) -> None:
        self._sock.sendall(words)

    def call(self, path: str, *metadata: tuple[str, str], message: bytes = b"") -> None:
        """Make a call with one request message."""
        stream_id = self._h2.get_next_available_stream_id()
        fixed = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "localhost")]
        self._h2.send_headers(stream_id, [*fixed, ("content-type", "application/grpc"), ("te", "trailers"), *metadata])
        self._h2.send_data(stream_id, frame(message), end_stream=True)
        self.say(self._h2.data_to_send())

    def receive_headers(self) -> None:
        """Read until the reply has begun."""
        while not self.replied:
            assert self._receive(), "crirm hung up"

    def receive_at_least(self, more_bytes: int) -> None:
        """Read until that much of message bytes has come in addition."""
        wanted = self.received_bytes + more_bytes
        while self.received_bytes < wanted:
            assert self._receive(), "crirm hung up"

    def receive_trailers(self) -> dict[bytes, bytes]:
        """Read until a call is over, and return what it ended with."""
        while not self.trailers:
            assert self._receive(), "crirm hung up"
        return self.trailers

    def wait_closed(self) -> None:
        """Read until the other side hangs up, with or without having read everything."""
        with suppress(ConnectionResetError):
            while self._sock.recv(_READ_BYTES):
                pass

    def _receive(self) -> bool:
        data = self._sock.recv(_READ_BYTES)
        for event in self._h2.receive_data(data):
            match event:
                case h2e.ResponseReceived():
                    self.replied = True
                case h2e.DataReceived():
                    self.received_bytes += len(event.data)
                case h2e.TrailersReceived():
                    self.trailers = {bytes(key): bytes(value) for key, value in event.headers}
                case _:
                    pass
        return bool(data)
