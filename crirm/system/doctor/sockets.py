"""The relay socket, before crirm starts or while it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.system.doctor.finding import Finding, Verdict
from crirm.system.unix_socket import SocketState, SocketUnusableError, owner_of, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crirm.system.doctor.host import Host


def check_relay_socket(host: Host, relay_socket: str, runtime_socket: str) -> Iterator[Finding]:
    """Check what is at the relay socket's path, and that those may connect who may connect to the runtime."""
    path = str(host.path(relay_socket))
    try:
        state = state_of(path)
    except SocketUnusableError as error:
        yield Finding("relay socket", Verdict.SKIPPED, str(error), where=relay_socket, fix="run crirm doctor as root")
        return
    match state:
        case SocketState.ABSENT:
            yield Finding("relay socket", Verdict.OK, "free; crirm is not running", where=relay_socket)
        case SocketState.STALE:
            found = "left behind by a killed process; crirm is not running"
            yield Finding(
                "relay socket", Verdict.WARNING, found, where=relay_socket, fix="start crirm, which replaces it"
            )
        case SocketState.NOT_A_SOCKET:
            found = "not a socket; crirm does not delete it"
            fix = "move it away, or choose another --relay-socket"
            yield Finding("relay socket", Verdict.FAIL, found, where=relay_socket, fix=fix)
        case SocketState.LIVE:
            yield _judge_owner(path, relay_socket, str(host.path(runtime_socket)))


def _judge_owner(path: str, relay_socket: str, runtime_path: str) -> Finding:
    ours, runtimes = owner_of(path), owner_of(runtime_path)
    if ours is None or runtimes is None or ours == runtimes:
        return Finding("relay socket", Verdict.OK, "in use by a running server", where=relay_socket)
    found = (
        f"has owner {ours.uid}:{ours.gid} and mode {ours.mode:o}, "
        f"but the runtime's socket has {runtimes.uid}:{runtimes.gid} and {runtimes.mode:o}"
    )
    fix = "restart crirm as root; with crirm.socket, set SocketUser=, SocketGroup= and SocketMode= there"
    return Finding("relay socket", Verdict.WARNING, found, where=relay_socket, fix=fix)
