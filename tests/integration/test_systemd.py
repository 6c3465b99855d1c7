"""``crirm serve`` as a systemd unit of Type=notify, with a watchdog and with a socket unit, played without systemd."""

from __future__ import annotations

import os
import signal
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.conformance.client import unary
from tests.integration.support import OK, VERSION, Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TICK_S = 0.1
FIRST_FD = 3
# What systemd does between fork and exec: the sockets from descriptor 3 on, and whom they are meant for.
ACTIVATE = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3, inheritable=True); "
    "os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[2], sys.argv[2:])"
)


class Manager:
    """The end of the notification socket that systemd holds."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.said: list[str] = []

    def hear(self, within_s: float = 30.0) -> list[str]:
        """Return the assignments of the next message."""
        self.sock.settimeout(within_s)
        assignments = self.sock.recv(4096).decode().split("\n")
        self.said += assignments
        return assignments

    def wait(self, assignment: str) -> None:
        while assignment not in self.hear():
            pass

    def empty(self) -> None:
        """Take what is there already."""
        self.sock.settimeout(0)
        try:
            while self.sock.recv(4096):
                pass
        except BlockingIOError:
            return


@pytest.fixture
def manager(short_path: Path) -> Iterator[Manager]:
    manager = Manager(short_path / "notify")
    with manager.sock:
        yield manager


def test_systemd_learns_when_calls_are_answered_and_when_they_are_not(stage: Stage, manager: Manager) -> None:
    relay = stage.starting_relay(environment={"NOTIFY_SOCKET": str(manager.path)})
    relay.wait_log("waiting for the runtime")
    assert manager.said == []
    stage.runtime()
    manager.wait("READY=1")
    assert unary(stage.client(), VERSION, b"").code == OK
    relay.send(signal.SIGTERM)
    manager.wait("STOPPING=1")
    assert relay.wait_exit() == 0
    assert [word for word in manager.said if "=1" in word] == ["READY=1", "STOPPING=1"]


def test_the_watchdog_ticks_while_crirm_waits_and_while_it_serves(stage: Stage, manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": str(int(2 * TICK_S * 1e6))}
    relay = stage.starting_relay(environment=environment)
    relay.wait_log("waiting for the runtime")
    manager.empty()
    manager.wait("WATCHDOG=1")
    stage.runtime()
    manager.wait("READY=1")
    manager.wait("WATCHDOG=1")
    manager.wait("WATCHDOG=1")


def test_the_watchdog_of_a_stuck_process_does_not_tick(stage: Stage, manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": str(int(2 * TICK_S * 1e6))}
    stage.starting_runtime()
    relay = stage.starting_relay(environment=environment)
    manager.wait("READY=1")
    relay.send(signal.SIGSTOP)
    os.waitpid(relay.process.pid, os.WUNTRACED)
    manager.empty()
    with pytest.raises(TimeoutError):
        manager.hear(within_s=10 * TICK_S)
    relay.send(signal.SIGCONT)
    manager.wait("WATCHDOG=1")


def test_crirm_serves_on_the_socket_that_systemd_hands_over(stage: Stage) -> None:
    stage.starting_runtime()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(stage.relay_socket))
        listener.listen()
        listener.set_inheritable(True)
        client = stage.client()
        early = client.start(VERSION, b"")  # before there is a crirm
        relay = stage.starting_relay(
            prefix=[sys.executable, "-c", ACTIVATE, listener.fileno()],
            environment={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "crirm.socket"},
        )
        assert early.finish().code == OK
        assert relay.stop() == 0
        assert stage.relay_socket.is_socket()  # systemd's, not ours to remove
