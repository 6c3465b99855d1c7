"""Things that listen on a runtime's socket and are no runtime."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HTTP1 = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_PREFACE_BYTES = 1 << 16  # more than a client says before it waits for an answer
NOISE = bytes(range(256)) * 64


@contextmanager
def pretender(path: Path, greeting: bytes | None) -> Iterator[None]:
    """Accept on *path*, listen, say *greeting* and hang up; empty: hang up at once; None: say nothing for ever."""
    kept: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed: the test is over
                return
            if greeting is None:
                kept.append(connection)
                continue
            with connection:
                if greeting:
                    connection.recv(_PREFACE_BYTES)
                    connection.sendall(greeting)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, name="pretender")
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:
                connection.close()
