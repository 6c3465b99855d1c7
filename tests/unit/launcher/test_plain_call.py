from __future__ import annotations

from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import pytest
import trio

from crirm.launcher.plain_call import Answer, call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path


PATH = "/runtime.v1.RuntimeService/Version"


async def _with_server(
    tmp_path: Path, respond: Callable[..., None], use: Callable[[Path], Awaitable[Answer]]
) -> Answer:
    """Answer one connection's calls with *respond*, which is given the request's bytes."""
    path = tmp_path / "s.sock"
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    with listener:
        await listener.bind(str(path))
        listener.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_serve, listener, respond)
            answer = await use(path)
            nursery.cancel_scope.cancel()
    return answer


async def _serve(listener: trio.socket.SocketType, respond: Callable[..., None]) -> None:
    connection, _ = await listener.accept()
    http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
    http.initiate_connection()
    body = b""
    with connection:
        while received := await connection.recv(65536):
            for event in http.receive_data(received):
                match event:
                    case h2.events.DataReceived(data=data):
                        body += data or b""
                    case h2.events.StreamEnded(stream_id=stream):
                        respond(http, stream, body)
            await connection.send(http.data_to_send())


def _echo(http: h2.connection.H2Connection, stream: int, body: bytes) -> None:
    http.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    http.send_data(stream, body)
    http.send_headers(stream, [("grpc-status", "0")], end_stream=True)


def _refuse(http: h2.connection.H2Connection, stream: int, _body: bytes) -> None:
    trailers_only = [(":status", "200"), ("grpc-status", "12"), ("grpc-message", "unknown method")]
    http.send_headers(stream, trailers_only, end_stream=True)


def _reset(http: h2.connection.H2Connection, stream: int, _body: bytes) -> None:
    http.reset_stream(stream)


async def test_message_comes_back_whole(tmp_path: Path) -> None:
    message = bytes(range(256)) * 40
    answer = await _with_server(tmp_path, _echo, lambda path: call(path, PATH, message))
    assert answer == Answer(0, "", message)


async def test_refusal_is_an_answer(tmp_path: Path) -> None:
    answer = await _with_server(tmp_path, _refuse, lambda path: call(path, PATH, b""))
    assert answer == Answer(12, "unknown method", b"")


async def test_call_that_is_broken_off_is_an_error(tmp_path: Path) -> None:
    with pytest.RaisesGroup(ConnectionResetError):
        await _with_server(tmp_path, _reset, lambda path: call(path, PATH, b""))


async def test_nobody_listens(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        await call(tmp_path / "none.sock", PATH, b"")
