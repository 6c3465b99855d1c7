"""A WebSocket client just large enough for the streaming server of a runtime: exec, attach, port-forward.

Source: RFC 6455, and Kubernetes' ``v4.channel.k8s.io``, whose binary frames each start with the number of a channel.
"""

from __future__ import annotations

import base64
import os
import socket
from collections import defaultdict
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader

CHANNELS = "v4.channel.k8s.io"

_BINARY = 0x82
_CLOSE = 0x8
_MASKED = 0x80


@attrs.define(eq=False)
class WebSocket:
    """An open connection, and what it has received so far by channel."""

    _socket: socket.socket
    _reader: BufferedReader
    received: dict[int, bytes] = attrs.field(factory=lambda: defaultdict(bytes))
    closed: bool = False

    def send(self, channel: int, data: bytes) -> None:
        payload = bytes((channel,)) + data
        key = os.urandom(4)
        masked = bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))
        assert len(payload) < 126
        self._socket.sendall(bytes((_BINARY, _MASKED | len(payload))) + key + masked)

    def read_until(self, enough: Callable[[dict[int, bytes]], bool]) -> None:
        """Collect frames until *enough* holds or the server closes."""
        while not self.closed and not enough(self.received):
            head = self._reader.read(2)
            self.closed = len(head) < 2 or head[0] & 0x0F == _CLOSE
            if not self.closed:
                payload = self._reader.read(self._length(head[1]))
                self.received[payload[0]] += payload[1:]

    def _length(self, short: int) -> int:
        extended = {126: 2, 127: 8}.get(short, 0)
        return int.from_bytes(self._reader.read(extended), "big") if extended else short

    def close(self) -> None:
        self._reader.close()
        self._socket.close()


def connect(url: str) -> WebSocket:
    """Open the stream behind a URL that Exec, Attach or PortForward handed back."""
    status, reader, connection = _request(
        url,
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {CHANNELS}\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n",
    )
    stream = WebSocket(connection, reader)
    if status != 101:
        stream.close()
    assert status == 101, f"{url} answered {status}"
    return stream


def get(url: str) -> int:
    """HTTP status of a plain GET."""
    status, reader, connection = _request(url, "Connection: close\r\n")
    reader.close()
    connection.close()
    return status


def _request(url: str, headers: str) -> tuple[int, BufferedReader, socket.socket]:
    parts = urlsplit(url)
    assert parts.hostname is not None
    connection = socket.create_connection((parts.hostname, parts.port or 80), timeout=10)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    connection.sendall(f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n{headers}\r\n".encode())
    reader = connection.makefile("rb")
    status = int(reader.readline().split()[1])
    while reader.readline().strip():
        pass
    return status, reader, connection
