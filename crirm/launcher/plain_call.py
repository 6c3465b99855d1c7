"""One unary gRPC call over a Unix socket, on Trio alone: enough to ask a runtime whether it is ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import h2.config
import h2.connection
import h2.events
import trio

if TYPE_CHECKING:
    from pathlib import Path

_UNKNOWN = 2
_CHUNK_BYTES = 65536


@attrs.frozen
class Answer:
    """A finished call: gRPC status code and its message, and the first reply message if there was one."""

    status: int
    text: str
    message: bytes


async def call(socket: Path, path: str, message: bytes) -> Answer:
    """Make one unary call on a connection of its own.

    Args:
        socket: Unix socket that a gRPC server listens on.
        path: ``/package.Service/Method``.
        message: the encoded request; at most 64 kB, the window that HTTP/2 starts with.

    Raises:
        OSError: nobody listens, or the server hung up before it had answered.
    """
    http = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    http.initiate_connection()
    stream = http.get_next_available_stream_id()
    http.send_headers(stream, _headers(path))
    http.send_data(stream, b"\0" + len(message).to_bytes(4, "big") + message, end_stream=True)
    async with await trio.open_unix_socket(str(socket)) as connection:
        return await _converse(connection, http)


def _headers(path: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]


async def _converse(connection: trio.SocketStream, http: h2.connection.H2Connection) -> Answer:
    body = bytearray()
    trailers: dict[str, str] = {}
    while True:
        await connection.send_all(http.data_to_send())
        received = await connection.receive_some(_CHUNK_BYTES)
        if not received:
            raise ConnectionResetError("runtime closed the connection during a call")
        for event in http.receive_data(received):
            match event:
                case h2.events.ResponseReceived(headers=headers) | h2.events.TrailersReceived(headers=headers):
                    trailers.update((str(name), str(value)) for name, value in headers or ())
                case h2.events.DataReceived(data=data, flow_controlled_length=length, stream_id=stream):
                    body += data or b""
                    http.acknowledge_received_data(length or 0, stream or 0)
                case h2.events.StreamEnded():
                    status = int(trailers.get("grpc-status", _UNKNOWN))
                    return Answer(status, trailers.get("grpc-message", ""), bytes(body[5:]))
                case h2.events.StreamReset() | h2.events.ConnectionTerminated():
                    raise ConnectionResetError("runtime aborted a call")
