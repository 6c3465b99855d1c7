"""How commands ask the running daemon: one line of JSON each way over its control socket."""

from __future__ import annotations

import json
import socket
from typing import Any

from crirm.daemon.settings import Settings, control_socket_beside
from crirm.errors import CrirmError

DEFAULT_CONTROL_SOCKET = control_socket_beside(Settings().relay_socket)
ANSWER_WITHIN_S = 10.0


class NoDaemonError(CrirmError):
    """There is no daemon to ask, or it does not answer."""


def ask(path: str, question: dict[str, Any], *, within_s: float = ANSWER_WITHIN_S) -> dict[str, Any]:
    """Ask the daemon whose control socket is at *path*.

    Raises:
        NoDaemonError: it is not there, or we may not ask.
        CrirmError: it has no answer; its own words.
    """
    try:
        reply = _exchange(path, json.dumps(question).encode() + b"\n", within_s)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoDaemonError(
            f"{path}: no crirm serves here; start it, or name its socket with --control-socket"
        ) from error
    except PermissionError as error:
        raise NoDaemonError(f"{path}: no permission to ask; run this as the user that crirm runs as (root)") from error
    except OSError as error:
        raise NoDaemonError(f"{path}: crirm did not answer within {within_s:g} s ({error})") from error
    answer: dict[str, Any] = json.loads(reply)
    if "error" in answer:
        raise CrirmError(answer["error"])
    return answer


def _exchange(path: str, question: bytes, within_s: float) -> bytes:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(within_s)
        sock.connect(path)
        sock.sendall(question)
        reply = b""
        while not reply.endswith(b"\n"):
            received = sock.recv(1 << 16)
            if not received:
                raise ConnectionResetError("it hung up")
            reply += received
        return reply
