"""The protocol between systemd and a service: readiness, watchdog, socket activation.

It is a datagram and three environment variables. The Python bindings to libsystemd need a compiler and the
library's headers on every node, and no maintained pure-Python package does both. So it is implemented here.

Source: sd_notify(3), sd_listen_fds(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import os
import socket
import stat
from typing import TYPE_CHECKING, Final

import attrs
import trio

from crirm.errors import CrirmError
from crirm.logs import get_logger

if TYPE_CHECKING:
    from collections.abc import MutableMapping

FIRST_FD: Final = 3  # Source: sd_listen_fds(3), SD_LISTEN_FDS_START
LISTEN_VARIABLES: Final = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")

log = get_logger("system")


class SocketActivationError(CrirmError):
    """What systemd handed over is not what crirm can serve on."""


@attrs.frozen
class InheritedSocket:
    """One listening socket that systemd opened for this process, and the name its unit gives it."""

    name: str  # FileDescriptorName= of the socket unit, by default the unit's name
    sock: socket.socket


def notify(*assignments: str) -> bool:
    """Tell systemd *assignments* such as ``READY=1`` in one message; safe to call from anywhere, at any rate.

    Returns:
        whether a service manager was told; False when none asked, or when it cannot be reached (which is logged,
        since a lost ``WATCHDOG=1`` may be the end of the process).
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return False
    if address[0] not in "/@":
        log.warning("cannot notify the service manager: no Unix socket", NOTIFY_SOCKET=address)
        return False
    name = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0)  # a service manager that does not read must not stop the event loop
            sock.sendto("\n".join(assignments).encode(), name)
    except OSError as error:
        log.warning("cannot notify the service manager", NOTIFY_SOCKET=address, error=error.strerror or str(error))
        return False
    return True


def notify_ready(status: str) -> bool:
    """Notify systemd that crirm is ready, after a start or a reload; *status* is for ``systemctl status``."""
    return notify("READY=1", f"STATUS={_one_line(status)}")


def notify_stopping(status: str) -> bool:
    """Say that crirm is on its way out."""
    return notify("STOPPING=1", f"STATUS={_one_line(status)}")


def notify_watchdog() -> bool:
    """Feed the watchdog; call this every ``watchdog_interval_s``."""
    return notify("WATCHDOG=1")


async def watchdog() -> None:
    """Feed the watchdog as long as the event loop runs; returns at once if there is none."""
    interval_s = watchdog_interval_s()
    while interval_s is not None:
        notify_watchdog()
        await trio.sleep(interval_s)


def _one_line(text: str) -> str:
    """A line end would start another assignment."""
    return " ".join(text.split())


def watchdog_interval_s() -> float | None:
    """Return how often ``notify_watchdog`` must be called: half of what the unit's ``WatchdogSec`` allows.

    Returns:
        seconds; None when no watchdog watches this process.

    Source: sd_watchdog_enabled(3) for the half.
    """
    text = os.environ.get("WATCHDOG_USEC", "")
    if not text or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    if not text.isdecimal() or int(text) == 0:
        log.warning("watchdog disabled: WATCHDOG_USEC is not a number", WATCHDOG_USEC=text)
        return None
    return int(text) / 1e6 / 2


def listen_fds(environ: MutableMapping[str, str] = os.environ) -> tuple[InheritedSocket, ...]:
    """Take over the listening sockets that systemd opened for this process.

    The variables that announce them are removed from *environ*, and the sockets are not inherited by children.

    Returns:
        the sockets in systemd's order, non-blocking; none when systemd activated nothing, or another process.

    Raises:
        SocketActivationError: the variables contradict themselves, or a socket is not a listening Unix stream socket.
    """
    pid, count, names = (environ.get(name, "") for name in LISTEN_VARIABLES[:3])
    if pid != str(os.getpid()):
        return ()  # meant for a parent that left its environment behind
    for name in LISTEN_VARIABLES:
        environ.pop(name, None)
    if not count.isdecimal():
        raise SocketActivationError(f"LISTEN_FDS={count!r}: not a number; start crirm through crirm.socket")
    labels = names.split(":") if names else []
    labels += ["unknown"] * (int(count) - len(labels))
    return tuple(InheritedSocket(label, _adopt(FIRST_FD + i, label)) for i, label in enumerate(labels[: int(count)]))


def inherited_listener() -> socket.socket | None:
    """Return the one socket that systemd opened for the relay, or None when crirm has to open its own.

    Raises:
        SocketActivationError: systemd handed over several, and crirm serves on one.
    """
    inherited = listen_fds()
    if len(inherited) > 1:
        names = ", ".join(one.name for one in inherited)
        raise SocketActivationError(
            f"systemd passed {len(inherited)} sockets ({names}), but crirm takes one; "
            "keep a single ListenStream= in crirm.socket"
        )
    return inherited[0].sock if inherited else None


def _adopt(fd: int, name: str) -> socket.socket:
    where = f"socket {name} (file descriptor {fd}) from systemd"
    try:
        mode = os.fstat(fd).st_mode
    except OSError as error:
        raise SocketActivationError(f"{where}: not open; start crirm through crirm.socket") from error
    if not stat.S_ISSOCK(mode):
        raise SocketActivationError(f"{where}: not a socket; set ListenStream= to a path in crirm.socket")
    sock = socket.socket(fileno=fd)
    fault = _fault(sock)
    if fault:
        sock.detach()  # the descriptor is systemd's business; only complain
        raise SocketActivationError(f"{where}: {fault}; set ListenStream= to a path in crirm.socket")
    os.set_inheritable(fd, False)  # noqa: FBT003  # its parameter has no name
    sock.settimeout(0)
    return sock


def _fault(sock: socket.socket) -> str:
    if sock.family is not socket.AF_UNIX:
        return f"family {socket.AddressFamily(sock.family).name}, but CRI needs a Unix socket"
    if sock.type is not socket.SOCK_STREAM:
        return f"type {socket.SocketKind(sock.type).name}, but CRI needs a stream socket"
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "not listening (set Accept=no; Accept=yes passes single connections)"
    return ""
