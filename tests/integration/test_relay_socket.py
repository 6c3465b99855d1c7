"""The socket that the kubelet connects to: where it may be, whose it is, and when it goes."""

from __future__ import annotations

import os
import signal
import socket
import stat
from typing import TYPE_CHECKING

from tests.conformance.client import unary
from tests.integration.support import OK, VERSION, Program, Stage, unprivileged

if TYPE_CHECKING:
    from pathlib import Path

IN_USE = 73


def _sentence(relay: Program) -> str:
    (sentence,) = relay.sentences()
    assert sentence.startswith("crirm")
    return sentence


def _leave_stale_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def test_a_stale_socket_is_replaced(stage: Stage) -> None:
    _leave_stale_socket(stage.relay_socket)
    _, relay = stage.both()
    assert "stale socket" in relay.log
    assert unary(stage.client(), VERSION, b"").code == OK


def test_a_second_instance_is_refused_and_the_first_goes_on(stage: Stage) -> None:
    _, first = stage.both()
    second = stage.starting_relay()
    assert second.wait_exit() == IN_USE
    assert str(stage.relay_socket) in _sentence(second)
    assert "runtime is ready" not in second.log, "it finds out before it does anything to containers"
    assert unary(stage.client(), VERSION, b"").code == OK
    assert first.stop() == 0


def test_what_is_not_a_socket_stays_as_it_is(stage: Stage) -> None:
    stage.runtime()
    stage.relay_socket.write_text("precious")
    relay = stage.starting_relay()
    assert relay.wait_exit() == 1
    assert "regular file" in _sentence(relay)
    assert stage.relay_socket.read_text() == "precious"


def test_a_path_that_no_socket_can_have_is_a_usage_error(stage: Stage) -> None:
    path = stage.place / ("x" * 100)
    relay = stage.starting_relay("--relay-socket", path)
    assert relay.wait_exit() == 2
    assert f"{len(str(path))} bytes" in _sentence(relay)


def test_missing_directories_are_made_so_that_everybody_can_pass(stage: Stage) -> None:
    path = stage.place / "one" / "two" / "r.sock"
    stage.both("--relay-socket", path)
    modes = [stat.S_IMODE(directory.stat().st_mode) for directory in (path.parent, path.parent.parent)]
    assert modes == [0o711, 0o711]


def test_a_directory_that_may_not_be_written_is_named(stage: Stage) -> None:
    stage.place.chmod(0o755)
    stage.runtime()
    stage.runtime_socket.chmod(0o666)
    (stage.place / "locked").mkdir(mode=0o555)
    path = stage.place / "locked" / "r.sock"
    relay = stage.starting_relay("--relay-socket", path, prefix=unprivileged())
    assert relay.wait_exit() == 1
    assert str(path.parent) in _sentence(relay)


def test_the_socket_gets_the_mode_and_the_owner_of_the_runtimes_and_goes_with_its_daemon(stage: Stage) -> None:
    stage.runtime()
    if os.geteuid() == 0:  # others cannot give files away
        os.chown(stage.runtime_socket, 1234, 2345)
    for mode in (0o600, 0o666):
        stage.runtime_socket.chmod(mode)
        relay = stage.relay()
        ours, theirs = stage.relay_socket.stat(), stage.runtime_socket.stat()
        assert (ours.st_uid, ours.st_gid, stat.S_IMODE(ours.st_mode)) == (theirs.st_uid, theirs.st_gid, mode)
        relay.send(signal.SIGINT)
        assert relay.wait_exit() == 0
        assert not stage.relay_socket.exists()


def test_a_socket_that_took_the_place_of_ours_stays(stage: Stage) -> None:
    _, relay = stage.both()
    stage.relay_socket.unlink()
    _leave_stale_socket(stage.relay_socket)
    assert relay.stop() == 0
    assert stage.relay_socket.is_socket()


def test_the_pid_file_names_the_daemon_and_goes_with_it(stage: Stage) -> None:
    pid_file = stage.place / "pid"
    _, relay = stage.both("--pid-file", pid_file)
    assert pid_file.read_text() == f"{relay.process.pid}\n"
    assert relay.stop() == 0
    assert not pid_file.exists()
