"""Runtimes that are broken, each in its own way; a table.

A ``FakeRuntime`` is a runtime that says its version and that it has nothing; what it does with a call of ``TARGETS``,
or with a new connection, is the way in which it is broken.
"""

from __future__ import annotations

import gzip
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded
from h2.exceptions import ProtocolError

from crirm.cri.proto.runtime import v1
from tests.abuse import wire

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from types import TracebackType

RELAYED, HELD = "/runtime.v1.RuntimeService/Status", "/runtime.v1.RuntimeService/StopContainer"
TARGETS = frozenset({RELAYED, HELD})
_VERSION = bytes(v1.VersionResponse("0.1.0", "containerd", "1.7.0", "v1"))
_REPLY = [(b":status", b"200"), (b"content-type", b"application/grpc")]
_OK = [(b"grpc-status", b"0")]
_MIB = 1 << 20


class Connection:
    """A connection of crirm's, as the runtime sees it; knows just enough to answer, and says whatever it likes."""

    def __init__(self, runtime: FakeRuntime, sock: socket.socket) -> None:
        self.runtime = runtime
        self._sock = sock
        self._h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self._paths: dict[int, str] = {}

    def say(self, words: bytes) -> None:
        """Send *words*, after what is due."""
        self._sock.sendall(self._h2.data_to_send() + words)

    def hang_up(self) -> None:
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        """Until the other side is gone, or what it says cannot be followed any more."""
        with self._sock, suppress(OSError, ProtocolError):
            if greet := self.runtime.greets:
                greet(self)
                while self._sock.recv(1 << 16):
                    pass
                return
            self._h2.initiate_connection()
            self.say(b"")
            while data := self._sock.recv(1 << 16):
                for event in self._h2.receive_data(data):
                    if isinstance(event, RequestReceived):
                        self._paths[event.stream_id] = dict(event.headers)[b":path"].decode()
                    elif isinstance(event, DataReceived):
                        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, StreamEnded):
                        self._answer(event.stream_id)
                self.say(b"")

    def _answer(self, stream: int) -> None:
        path = self._paths.pop(stream, "")
        if path in TARGETS and (answer := self.runtime.answers):
            answer(self, stream)
        elif path.endswith("/GetContainerEvents"):
            self.say(wire.headers(stream, _REPLY))
        elif path.startswith("/runtime.v1alpha2."):
            self.say(wire.headers(stream, [*_REPLY, (b"grpc-status", b"12")], end=True))
        else:
            self.say(whole(stream, _VERSION if path.endswith("/Version") else b""))


class FakeRuntime:
    """Listens while the block lasts."""

    def __init__(self, path: Path) -> None:
        self.answers: Callable[[Connection, int], None] | None = None
        self.greets: Callable[[Connection], None] | None = None
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._connections: list[Connection] = []
        self._threads = [threading.Thread(target=self._accept, name="broken runtime")]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self.drop()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def drop(self) -> None:
        """Hang up on everybody."""
        connections, self._connections = self._connections, []
        for connection in connections:
            connection.hang_up()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:  # shut down
                return
            self._connections.append(connection := Connection(self, sock))
            thread = threading.Thread(target=connection.serve, name="broken runtime's connection")
            self._threads.append(thread)
            thread.start()


def body(stream: int, message: bytes, flags: int = 0) -> bytes:
    """A message in DATA frames."""
    framed = b"\0" + wire.number(len(message)) + message
    return b"".join(
        wire.frame(wire.DATA, flags, stream, framed[at : at + (1 << 14)]) for at in range(0, len(framed), 1 << 14)
    )


def trailers(stream: int, *pairs: tuple[bytes, bytes]) -> bytes:
    return wire.headers(stream, pairs, end=True)


def whole(stream: int, message: bytes = b"") -> bytes:
    """A good reply."""
    return wire.headers(stream, _REPLY) + body(stream, message) + trailers(stream, *_OK)


def says(make: Callable[[int], bytes]) -> Callable[[Connection, int], None]:
    """The runtime answers a call with what *make* makes for its stream."""
    return lambda connection, stream: connection.say(make(stream))


def greets(words: bytes) -> Callable[[Connection], None]:
    return lambda connection: connection.say(words)


def _never(_connection: Connection, _stream: int) -> None:
    """Does nothing."""


def _closes(words: Callable[[int], bytes]) -> Callable[[Connection, int], None]:
    def answer(connection: Connection, stream: int) -> None:
        connection.say(words(stream))
        connection.hang_up()

    return answer


def _floods(
    words: Callable[[int], bytes], first: Callable[[int], bytes] = lambda _: b""
) -> Callable[[Connection, int], None]:
    def answer(connection: Connection, stream: int) -> None:
        connection.say(first(stream))
        until_s = time.monotonic() + 20.0
        piece = words(stream) * 200
        while time.monotonic() < until_s and connection.runtime.answers is not None:
            connection.say(piece)  # OSError: hung up on, at last

    return answer


def _byte_by_byte(connection: Connection, stream: int) -> None:
    for octet in whole(stream, b"\x0a\x00"):
        connection.say(bytes((octet,)))


def _packed(stream: int, packed: bytes, encoding: bytes) -> bytes:
    framed = b"\1" + wire.number(len(packed)) + packed
    pieces = [framed[at : at + (1 << 14)] for at in range(0, len(framed), 1 << 14)]
    said = b"".join(wire.frame(wire.DATA, 0, stream, piece) for piece in pieces)
    return wire.headers(stream, [*_REPLY, (b"grpc-encoding", encoding)]) + said + trailers(stream, *_OK)


def _head(stream: int) -> bytes:
    return wire.headers(stream, _REPLY)


_BOMB = gzip.compress(bytes(100 * _MIB))
# After these the connection is of no use, by the rules of HTTP/2, until the runtime gives what it has taken.
SPOILED = frozenset({"a window of nothing", "no streams"})
ANSWERS: Mapping[str, Callable[[Connection, int], None]] = {
    "never answers": _never,
    "noise": says(lambda _: bytes(range(256)) * 64),
    "HTTP/1": says(lambda _: b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"),
    "a frame of megabytes": says(lambda s: wire.frame(wire.DATA, 0, s, b"x", length=(1 << 24) - 1)),
    "hangs up within a frame": _closes(lambda s: wire.frame(wire.HEADERS, 4, s, b"", length=9000)),
    "refuses the stream": says(lambda s: wire.frame(wire.RST_STREAM, 0, s, wire.number(7))),
    "resets in the reply": says(lambda s: _head(s) + wire.frame(wire.RST_STREAM, 0, s, wire.number(2))),
    "resets twice": says(lambda s: wire.frame(wire.RST_STREAM, 0, s, wire.number(8)) * 2),
    "answers twice": says(lambda s: whole(s) * 2),
    "answers a stream that is not open": says(lambda s: whole(s + 2000)),
    "answers an even stream": says(lambda _: whole(2)),
    "pushes": says(lambda s: wire.frame(wire.PUSH_PROMISE, 4, s, wire.number(2) + wire.block(_REPLY))),
    "says goodbye": says(lambda s: wire.frame(wire.GOAWAY, payload=wire.number(s) + wire.number(0)) + whole(s)),
    "says goodbye to this call": says(lambda _: wire.frame(wire.GOAWAY, payload=wire.number(0) * 2)),
    "says goodbye in anger": says(lambda _: wire.frame(wire.GOAWAY, payload=wire.number(0) + wire.number(2))),
    "hangs up": _closes(lambda _: b""),
    "hangs up within a message": _closes(lambda s: _head(s) + wire.frame(wire.DATA, 0, s, b"\0\0\0\1\0abc")),
    "hangs up before the trailers": _closes(lambda s: _head(s) + body(s, b"")),
    "half a message, then all is well": says(
        lambda s: _head(s) + wire.frame(wire.DATA, 0, s, b"\0\0\0\1\0abc") + trailers(s, *_OK)
    ),
    "ends without trailers": says(lambda s: _head(s) + body(s, b"", wire.END_STREAM)),
    "trailers without a status": says(lambda s: _head(s) + trailers(s, (b"x", b"y"))),
    "a status of 5000 digits": says(lambda s: _head(s) + trailers(s, (b"grpc-status", b"1" * 5000))),
    "a status that is no number": says(lambda s: _head(s) + trailers(s, (b"grpc-status", b"fine"))),
    "an odd status": says(lambda s: _head(s) + trailers(s, (b"grpc-status", b"4242"))),
    "HTTP status 500": says(lambda s: wire.headers(s, [(b":status", b"500")]) + wire.frame(wire.DATA, 1, s, b"<html>")),
    "no HTTP status": says(lambda s: wire.headers(s, [(b"a", b"b")]) + trailers(s, *_OK)),
    "two answers to one question": says(lambda s: _head(s) + body(s, b"") * 2 + trailers(s, *_OK)),
    "no message": says(lambda s: _head(s) + trailers(s, *_OK)),
    "a message that is none": says(lambda s: whole(s, b"\xff" * 100)),
    "says that it is packed": says(
        lambda s: _head(s) + wire.frame(wire.DATA, 0, s, b"\1\0\0\0\3abc") + trailers(s, *_OK)
    ),
    "broken gzip": says(lambda s: _packed(s, b"\x1f\x8b\x08\0abc", b"gzip")),
    "a gzip bomb": says(lambda s: _packed(s, _BOMB, b"gzip")),
    "an unknown packing": says(lambda s: _packed(s, b"abc", b"snappy")),
    "a message of gigabytes": says(
        lambda s: _head(s) + wire.frame(wire.DATA, 0, s, b"\0\xff\xff\xff\xff" + b"x" * 9000)
    ),
    "a message without end": _floods(
        lambda s: wire.frame(wire.DATA, 0, s, b"x" * 80),
        lambda s: _head(s) + wire.frame(wire.DATA, 0, s, b"\0\3\0\0\0"),
    ),
    "a million headers": says(lambda s: wire.long_headers(s, wire.block(_REPLY) + b"\0\1x\0" * 1_000_000, end=True)),
    "20 MiB of headers": says(
        lambda s: wire.headers(s, [*_REPLY, (b"grpc-status", b"2"), (b"grpc-message", b"m" * (20 * _MIB))], end=True)
    ),
    "headers without end": _floods(
        lambda s: wire.frame(wire.CONTINUATION, 0, s, b"x" * 2000), lambda s: wire.frame(wire.HEADERS, 0, s)
    ),
    "invalid headers": says(lambda s: wire.frame(wire.HEADERS, 5, s, b"\xff\xff\xff\xff\xff\xff")),
    "a message before its headers": says(lambda s: body(s, b"") + trailers(s, *_OK)),
    "frames of the connection itself": says(lambda _: wire.frame(wire.DATA, 0, 0, b"x")),
    "more padding than frame": says(lambda s: _head(s) + wire.frame(wire.DATA, wire.PADDED, s, b"\xff")),
    "a window of nothing": says(lambda s: wire.settings((wire.INITIAL_WINDOW_SIZE, 0)) + whole(s)),
    "no streams": says(lambda s: wire.settings((wire.MAX_CONCURRENT_STREAMS, 0)) + whole(s)),
    "one stream": says(lambda s: wire.settings((wire.MAX_CONCURRENT_STREAMS, 1)) + whole(s)),
    "a window that overflows": says(
        lambda s: wire.frame(wire.WINDOW_UPDATE, 0, 0, wire.number((1 << 31) - 1)) + whole(s)
    ),
    "a stream's window that overflows": says(
        lambda s: wire.frame(wire.WINDOW_UPDATE, 0, s, wire.number((1 << 31) - 1))
    ),
    "a window update of nothing": says(lambda s: wire.frame(wire.WINDOW_UPDATE, 0, s, wire.number(0))),
    "a window that cannot be": says(lambda _: wire.settings((wire.INITIAL_WINDOW_SIZE, (1 << 32) - 1))),
    "frames of a size that cannot be": says(lambda _: wire.settings((wire.MAX_FRAME_SIZE, 1))),
    "byte by byte": _byte_by_byte,
    "interim answers": _floods(lambda s: wire.headers(s, [(b":status", b"100")])),
    "pings": _floods(lambda _: wire.frame(wire.PING, payload=b"01234567")),
    "settings": _floods(lambda _: wire.settings((wire.INITIAL_WINDOW_SIZE, 70_000))),
    "empty data": _floods(lambda s: wire.frame(wire.DATA, 0, s), _head),
    "resets of nothing": _floods(lambda _: wire.frame(wire.RST_STREAM, 0, 1, wire.number(8))),
}

GREETINGS: Mapping[str, Callable[[Connection], None]] = {
    "greets with noise": greets(bytes(range(256)) * 64),
    "greets in HTTP/1": greets(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "says nothing": greets(b""),
    "hangs up at once": Connection.hang_up,
    "greets with a ping": greets(wire.frame(wire.PING, payload=b"01234567")),
    "greets with settings that cannot be": greets(wire.settings((wire.INITIAL_WINDOW_SIZE, (1 << 32) - 1))),
    "greets, and hears nothing": greets(wire.settings()),
}
