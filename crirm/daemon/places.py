"""Where files are if nobody says otherwise; apart from the settings, so that a command that asks starts at once."""

from __future__ import annotations

from pathlib import Path
from typing import Final

RELAY_SOCKET: Final = "/var/run/cri-resmgr/cri-resmgr.sock"
STATE_DIR: Final = "/var/lib/cri-resmgr"


def control_socket_beside(relay_socket: str) -> str:
    """Return the path of the control socket that goes with a relay socket."""
    return socket_beside(relay_socket, "control")


def socket_beside(relay_socket: str, what: str) -> str:
    """Return the path of the socket for *what* that goes with a relay socket."""
    relay = Path(relay_socket)
    return str(relay.with_name(f"{relay.stem}-{what}.sock"))
