"""How commands query the running daemon: one line of JSON each way over its control socket."""

from __future__ import annotations

import json
import socket
from typing import Any

from crirm.daemon.places import RELAY_SOCKET, control_socket_beside
from crirm.errors import CrirmError

DEFAULT_CONTROL_SOCKET = control_socket_beside(RELAY_SOCKET)
ANSWER_WITHIN_S = 10.0


class NoDaemonError(CrirmError):
    """No daemon is running, or it does not answer."""


def ask(path: str, question: dict[str, Any], *, within_s: float = ANSWER_WITHIN_S) -> dict[str, Any]:
    """Send *question* to the daemon whose control socket is at *path*, and return its answer.

    Raises:
        NoDaemonError: no daemon serves there, or permission is denied.
        CrirmError: the daemon answered with an error, in its words.
    """
    try:
        reply = _exchange(path, json.dumps(question).encode() + b"\n", within_s)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise NoDaemonError(
            f"{path}: crirm is not running; start it, or set its socket with --control-socket"
        ) from error
    except PermissionError as error:
        raise NoDaemonError(
            f"{path}: permission denied; run this command as the user that crirm runs as (root)"
        ) from error
    except (ConnectionResetError, BrokenPipeError) as error:
        raise NoDaemonError(
            f"{path}: crirm closed the connection before it answered; it was stopped, or its log says more"
        ) from error
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
                raise ConnectionResetError("connection closed")
            reply += received
        return reply
