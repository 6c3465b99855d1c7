"""The streaming endpoint: an HTTP server on the loopback interface, to which the URLs of `tokens` lead.

It speaks what it takes to run a command over a WebSocket, as kubectl does through the kubelet: binary messages whose
first byte is the channel. Attach and port-forward are refused once their URL is used, and so is SPDY.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import partial
from typing import TYPE_CHECKING, assert_never

import trio

from crirm.cri.proto.runtime.v1 import ExecRequest
from crirm.sim.programs import find_program, missing_program
from crirm.sim.shell import Say, Sleep, Step

if TYPE_CHECKING:
    from collections.abc import Generator

    from crirm.sim.tokens import Tokens

HOST = "127.0.0.1"
HEAD_BYTES = 16 * 1024
HEAD_WITHIN_S = 10.0
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDOUT, STDERR, ERROR = 1, 2, 3
_ACCEPT_SALT = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_BINARY, _CLOSE_NORMALLY = 0x82, b"\x88\x02\x03\xe8"


async def serve_streams(tokens: Tokens, *, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
    """Trio-flavoured: serve for ever; started with the base URL."""
    listeners = await trio.open_tcp_listeners(0, host=HOST)
    port = listeners[0].socket.getsockname()[1]
    task_status.started(f"http://{HOST}:{port}")
    await trio.serve_listeners(partial(_handle, tokens), listeners)


async def _handle(tokens: Tokens, stream: trio.SocketStream) -> None:
    try:
        with trio.fail_after(HEAD_WITHIN_S):
            target, headers = await _read_head(stream)
        await _answer(tokens, stream, target, headers)
    except (trio.BrokenResourceError, trio.TooSlowError, ValueError):
        return  # the client is gone, is too slow, or speaks no HTTP


async def _read_head(stream: trio.SocketStream) -> tuple[str, dict[str, str]]:
    head = b""
    while b"\r\n\r\n" not in head:
        chunk = await stream.receive_some(4096)
        if not chunk or len(head) > HEAD_BYTES:
            raise ValueError("no HTTP request")
        head += chunk
    first, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    _method, target, _version = first.split(" ")
    pairs = (line.partition(":") for line in lines)
    return target, {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _answer(tokens: Tokens, stream: trio.SocketStream, target: str, headers: dict[str, str]) -> None:
    request = tokens.take(target.partition("?")[0].rpartition("/")[2])
    if request is None:
        await _refuse(stream, "404 Not Found", "404 page not found")
    elif not isinstance(request, ExecRequest) or headers.get("upgrade", "").lower() != "websocket":
        await _refuse(stream, "400 Bad Request", "unable to upgrade: only exec over a WebSocket is simulated")
    else:
        await _upgrade(stream, headers)
        await _exec(stream, request)


async def _refuse(stream: trio.SocketStream, status: str, reason: str) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(reason) + 1}\r\nConnection: close\r\n\r\n"
    await stream.send_all(f"{head}{reason}\n".encode())


async def _upgrade(stream: trio.SocketStream, headers: dict[str, str]) -> None:
    key = headers.get("sec-websocket-key", "") + _ACCEPT_SALT
    accept = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
    offered = [name.strip() for name in headers.get("sec-websocket-protocol", "").split(",")]
    chosen = next((name for name in PROTOCOLS if name in offered), "")
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
    lines.append(f"Sec-WebSocket-Accept: {accept}")
    if chosen:
        lines.append(f"Sec-WebSocket-Protocol: {chosen}")
    await stream.send_all("\r\n".join((*lines, "", "")).encode())


async def _exec(stream: trio.SocketStream, request: ExecRequest) -> None:
    program = find_program(request.cmd)
    if program is None:
        reason = missing_program(request.cmd[0]) if request.cmd else "args must not be empty"
        status: dict[str, object] = {"metadata": {}, "status": "Failure", "reason": "InternalError", "message": reason}
    else:
        status = _outcome(request, await _run(stream, program.steps))
    await stream.send_all(_frame(ERROR, json.dumps(status).encode()) + _CLOSE_NORMALLY)


async def _run(stream: trio.SocketStream, steps: Generator[Step, None, int]) -> int:
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return int(end.value)
        match step:
            case Say():
                await stream.send_all(_frame(STDERR if step.is_error else STDOUT, step.data))
            case Sleep():
                await trio.sleep(step.seconds)
            case _:
                assert_never(step)


def _outcome(request: ExecRequest, code: int) -> dict[str, object]:
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    error = f"error executing command [{' '.join(request.cmd)}], exit code {code}"
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {error}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def _frame(channel: int, data: bytes) -> bytes:
    """Return one binary WebSocket message (RFC 6455 section 5.2), unmasked, as servers send them."""
    size = len(data) + 1
    if size < 126:
        length = bytes((size,))
    elif size < 1 << 16:
        length = b"\x7e" + size.to_bytes(2, "big")
    else:
        length = b"\x7f" + size.to_bytes(8, "big")
    return bytes((_BINARY,)) + length + bytes((channel,)) + data
