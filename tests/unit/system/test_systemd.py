from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from crirm.system import systemd
from crirm.system.systemd import (
    SocketActivationError,
    inherited_listener,
    listen_fds,
    notify,
    notify_ready,
    notify_stopping,
    notify_watchdog,
    watchdog,
    watchdog_interval_s,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio.testing import MockClock


@contextmanager
def receiver(address: str) -> Iterator[socket.socket]:
    """A service manager's end: *address* as in NOTIFY_SOCKET."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.bind("\0" + address[1:] if address.startswith("@") else address)
        yield sock


@pytest.fixture
def manager(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    monkeypatch.setenv("NOTIFY_SOCKET", str(short_path / "notify"))
    with receiver(str(short_path / "notify")) as sock:
        yield sock


@pytest.mark.parametrize("kind", ["path", "abstract"])
def test_both_kinds_of_address_are_reached(kind: str, short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"{'@' if kind == 'abstract' else ''}{short_path}/notify"
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with receiver(address) as sock:
        assert notify("READY=1", "STATUS=here")
        assert sock.recv(1000) == b"READY=1\nSTATUS=here"


def test_what_is_said_in_words_stays_in_one_line(manager: socket.socket) -> None:
    notify_ready("a\nREADY=1")
    assert manager.recv(1000) == b"READY=1\nSTATUS=a READY=1"


def test_the_stations_of_a_life(manager: socket.socket) -> None:
    notify_ready("serving")
    notify_watchdog()
    notify_stopping("draining")
    said = [manager.recv(1000).decode().split("\n") for _ in range(3)]
    assert said[0] == ["READY=1", "STATUS=serving"]
    assert said[1:] == [["WATCHDOG=1"], ["STOPPING=1", "STATUS=draining"]]


def test_without_a_service_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify_ready("serving")


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("/nowhere/notify", id="no such socket"),
        pytest.param("vsock:2:1234", id="another network"),
        pytest.param("/" + "a" * 200, id="too long"),
    ],
)
def test_an_unreachable_service_manager_is_logged(
    address: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    assert not notify_watchdog()
    assert "cannot notify" in capfd.readouterr().err


def test_a_service_manager_that_does_not_read_stops_nothing(manager: socket.socket) -> None:
    told = 0
    while notify("STATUS=" + "x" * 1000):
        told += 1
    assert told > 0
    assert manager.recv(2000)


@pytest.mark.parametrize(
    ("variables", "interval_s"),
    [
        pytest.param({}, None, id="no watchdog"),
        pytest.param({"WATCHDOG_USEC": "30000000"}, 15.0, id="half of what is allowed"),
        pytest.param({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0, id="for this process"),
        pytest.param({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None, id="for another process"),
        pytest.param({"WATCHDOG_USEC": "0"}, None, id="switched off"),
        pytest.param({"WATCHDOG_USEC": "soon"}, None, id="no number"),
    ],
)
def test_watchdog_interval(
    variables: dict[str, str], interval_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert watchdog_interval_s() == interval_s


async def test_the_watchdog_is_told_at_each_interval(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    with trio.move_on_after(46):
        await watchdog()
    told = 0
    while True:
        try:
            assert manager.recv(100) == b"WATCHDOG=1"
        except BlockingIOError:
            break
        told += 1
    assert told == 4  # at 0, 15, 30 and 45 s
    assert autojump_clock.rate == 0


async def test_without_a_watchdog_its_task_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    await watchdog()


LISTEN = """
import os, sys
os.environ["LISTEN_PID"] = str(os.getpid()) if sys.argv[1] == "own" else "1"
from crirm.errors import CrirmError
from crirm.system.systemd import inherited_listener, listen_fds
try:
    if sys.argv[2] == "all":
        for one in listen_fds():
            print(one.name, one.sock.getsockname(), one.sock.getblocking(), one.sock.get_inheritable())
    else:
        sock = inherited_listener()
        print(sock and sock.getsockname())
    print(sorted(name for name in os.environ if name.startswith("LISTEN")), inherited_listener())
except CrirmError as error:
    print(f"{type(error).__name__} {error}")
"""


def run_with(fds: list[int], variables: dict[str, str], pid: str = "own", wanted: str = "one") -> list[str]:
    """Run LISTEN in a process that has *fds* as 3, 4, and so on, as systemd starts services."""
    moves = "".join(f"exec {3 + i}<&{fd};" for i, fd in enumerate(fds))
    done = subprocess.run(
        ["/bin/bash", "-c", f'{moves} exec "$@"', "-", sys.executable, "-c", LISTEN, pid, wanted],
        pass_fds=fds,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(systemd.__file__).parents[2],
    )
    return done.stdout.splitlines()


def test_sockets_are_taken_over_with_their_names(short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        for sock, name in ((one, "1"), (two, "2")):
            sock.bind(str(short_path / name))
            sock.listen()
        lines = run_with([one.fileno(), two.fileno()], {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "relay:"}, wanted="all")
    assert lines == [
        f"relay {short_path}/1 False False",
        f" {short_path}/2 False False",
        "[] None",  # the variables are gone, so nobody takes the sockets over twice
    ]


def test_the_relay_socket_is_the_only_one(short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(short_path / "1"))
        sock.listen()
        assert run_with([sock.fileno()], {"LISTEN_FDS": "1"}) == [f"{short_path}/1", "[] None"]
        two = run_with([sock.fileno()] * 2, {"LISTEN_FDS": "2", "LISTEN_FDNAMES": "a:b"})
    assert two[0].startswith("SocketActivationError systemd passed 2 sockets (a, b), but crirm takes one; ")


def test_sockets_for_another_process_are_left_alone(short_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(short_path / "1"))
        sock.listen()
        lines = run_with([sock.fileno()], {"LISTEN_FDS": "1"}, pid="other")
    assert lines == ["None", "['LISTEN_FDS', 'LISTEN_PID'] None"]


def _plain(family: int, kind: int) -> socket.socket:
    return socket.socket(family, kind)


@pytest.mark.parametrize(
    ("family", "kind", "complaint"),
    [
        pytest.param(socket.AF_INET, socket.SOCK_STREAM, "family AF_INET", id="TCP"),
        pytest.param(socket.AF_UNIX, socket.SOCK_DGRAM, "type SOCK_DGRAM", id="datagrams"),
        pytest.param(socket.AF_UNIX, socket.SOCK_STREAM, "not listening", id="a single connection"),
    ],
)
def test_what_cannot_be_served_on_is_refused(family: int, kind: int, complaint: str) -> None:
    with _plain(family, kind) as sock:
        (line,) = run_with([sock.fileno()], {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "relay"})
    assert line.startswith("SocketActivationError socket relay (file descriptor 3) from systemd: ")
    assert complaint in line


def test_a_file_is_no_socket() -> None:
    with Path(os.devnull).open() as file:
        (line,) = run_with([file.fileno()], {"LISTEN_FDS": "1"})
    assert "not a socket" in line


def test_a_descriptor_that_is_not_open_is_refused() -> None:
    (line,) = run_with([], {"LISTEN_FDS": "1"})
    assert "(file descriptor 3) from systemd: not open" in line


def test_a_count_that_is_no_number_is_refused() -> None:
    environ = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "many"}
    with pytest.raises(SocketActivationError, match="LISTEN_FDS='many'"):
        listen_fds(environ)
    assert environ == {}


def test_without_socket_activation_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LISTEN_PID", raising=False)
    assert inherited_listener() is None


@pytest.mark.skipif(shutil.which("systemd-socket-activate") is None, reason="systemd is not installed")
def test_systemds_own_activator_is_understood(short_path: Path) -> None:
    path = short_path / "relay.sock"
    script = "from crirm.system.systemd import inherited_listener as i; print(i().getsockname(), flush=True)"
    activator = subprocess.Popen(
        ["systemd-socket-activate", "--listen", str(path), "--fdname", "relay", sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(systemd.__file__).parents[2],
    )
    assert activator.stderr is not None
    assert "Listening on" in activator.stderr.readline()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        out, _ = activator.communicate(timeout=10)
    assert out == f"{path}\n"
