"""The control socket: local questions about what the daemon has decided, one line of JSON each way.

Mode 0600: the answers show command lines' names and placement, and later commands will change things.
"""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import attrs
import trio

from crirm.errors import CrirmError
from crirm.logs import get_logger
from crirm.system.unix_socket import ListeningSocket, SocketOwner, open_listener

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crirm.daemon.engine import Engine, Explained
    from crirm.model.workload import Container, ContainerKey

log = get_logger("control")

LONGEST_QUESTION_BYTES = 64 << 10
ANSWER_WITHIN_S = 10.0


class QuestionError(CrirmError):
    """A question that the daemon cannot answer."""


class Observed(Protocol):
    """What questions are answered from."""

    engine: Engine

    def drift(self) -> Mapping[ContainerKey, str]:
        """Return what the kernel has otherwise than decided, in words, by container."""


@contextmanager
def control_listener(path: str) -> Iterator[ListeningSocket]:
    """Listen on the control socket *path*, for our own user only, and remove it at the end."""
    sock = open_listener(path, SocketOwner(uid=os.geteuid(), gid=os.getegid(), mode=0o600))
    try:
        yield sock
    finally:
        sock.remove_file()
        sock.close()


async def serve_control(sock: ListeningSocket, observed: Observed | None) -> None:
    """Answer questions on *sock* until cancelled; *observed* is None when nothing is decided here."""
    plain = socket.socket(fileno=os.dup(sock.fileno()))  # Trio takes nothing but the class itself
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(plain))

    async def serve(stream: trio.SocketStream) -> None:
        with trio.move_on_after(ANSWER_WITHIN_S):
            await _serve_one(stream, observed)

    await trio.serve_listeners(serve, [listener])


async def _serve_one(stream: trio.SocketStream, observed: Observed | None) -> None:
    question = b""
    while not question.endswith(b"\n") and len(question) < LONGEST_QUESTION_BYTES:
        received = await stream.receive_some()
        if not received:
            return
        question += received
    try:
        reply = answer(json.loads(question), observed)
    except (QuestionError, ValueError) as error:
        reply = {"error": str(error)}
    await stream.send_all(json.dumps(reply).encode() + b"\n")


def answer(question: Any, observed: Observed | None) -> dict[str, Any]:
    """Answer one question.

    Args:
        question: ``{"ask": "status"}`` or ``{"ask": "explain", "what": "namespace/pod/container or a part of it"}``.
        observed: what there is to tell about.

    Raises:
        QuestionError: it is none of these, or about something that is not there.
    """
    match question:
        case {"ask": "status"}:
            return status(observed)
        case {"ask": "explain", "what": str(what)}:
            return {"explained": [_explained(e) for e in explained(what, observed)]}
        case _:
            raise QuestionError("this is no question that crirm knows; ask status or explain")


def status(observed: Observed | None) -> dict[str, Any]:
    """Return the policy and what each container has."""
    if observed is None:
        return {"policy": "none", "containers": []}
    engine, drift = observed.engine, observed.drift()
    containers = engine.state.workload.containers.values()
    return {
        "policy": engine.policy.name,
        "containers": [_container(c, engine, drift.get(c.key, "")) for c in sorted(containers, key=lambda c: c.key)],
    }


def _container(container: Container, engine: Engine, drift: str) -> dict[str, Any]:
    pod = engine.state.workload.pod_of(container)
    adjustment = engine.state.adjustments.get(container.key)
    trail = engine.trails.get(container.key)
    return {
        "name": engine.state.workload.full_name(container.key),
        "id": container.id,
        "state": container.state.value,
        "qos": pod.qos.value,
        "pool": trail.trail.chosen if trail else "",
        "cpus": str(adjustment.cpus) if adjustment and adjustment.cpus is not None else None,
        "mems": str(adjustment.mems) if adjustment and adjustment.mems is not None else None,
        "cpu_shares": adjustment.cpu_shares if adjustment else None,
        "drift": drift,
    }


def explained(what: str, observed: Observed | None) -> list[Explained]:
    """Return the trails of the containers that *what* names, the newest last.

    Args:
        what: ``namespace/pod/container``, ``namespace/pod``, ``pod/container``, ``pod`` or ``container``.
        observed: where they are kept.

    Raises:
        QuestionError: none of that name was placed.
    """
    if observed is None:
        raise QuestionError("policy none places nothing; start crirm with another policy")
    found = [e for e in observed.engine.trails.values() if _names(what, e.name)]
    if not found:
        known = sorted({e.name for e in observed.engine.trails.values()})
        listed = f"placed were {', '.join(known[:10])}{' and more' if len(known) > 10 else ''}" if known else "none was"
        raise QuestionError(f"{what}: no container of this name was placed; {listed}")
    return found


def _names(what: str, name: str) -> bool:
    """Tell whether *what* is a run of whole components of ``namespace/pod/container``."""
    parts, wanted = name.split("/"), what.strip("/").split("/")
    return any(parts[start : start + len(wanted)] == wanted for start in range(len(parts) - len(wanted) + 1))


def _explained(entry: Explained) -> dict[str, Any]:
    return {"name": entry.name, "at_s": entry.at_s, "trail": attrs.asdict(entry.trail)}
