from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crirm.system import unix_socket
from crirm.system.unix_socket import (
    MAX_PATH_BYTES,
    SocketInUseError,
    SocketOwner,
    SocketPathError,
    SocketState,
    SocketUnusableError,
    give_owner,
    open_listener,
    owner_of,
    socket_path,
    state_of,
)

if TYPE_CHECKING:
    from pathlib import Path

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to other users")

OPEN_AND_WAIT = """
import os, sys
from crirm.errors import CrirmError
from crirm.system.unix_socket import open_listener
if len(sys.argv) > 2:  # once all is imported: the interpreter may lie where only root can read
    os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
try:
    sock = open_listener(sys.argv[1], None)
except CrirmError as error:
    print(f"{type(error).__name__} {error}", flush=True)
else:
    print("listening", flush=True)
    sys.stdin.read()
"""


def start(path: Path, user: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN_AND_WAIT, str(path), *([] if user is None else [str(user)])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=10)


def make_stale(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


@pytest.mark.parametrize(
    ("text", "path"),
    [
        pytest.param("/run/a.sock", "/run/a.sock", id="a bare path"),
        pytest.param("unix:///run/a.sock", "/run/a.sock", id="as the kubelet writes it"),
        pytest.param("unix:/run/a.sock", "/run/a.sock", id="as gRPC may write it"),
        pytest.param("/run/a:1.sock", "/run/a:1.sock", id="a colon in a path is no port"),
        pytest.param("/" + "a" * (MAX_PATH_BYTES - 1), "/" + "a" * (MAX_PATH_BYTES - 1), id="the longest"),
    ],
)
def test_addresses_that_name_a_socket(text: str, path: str) -> None:
    assert socket_path(text) == path


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("unix://run/a.sock", "write unix:///run/a.sock", id="a slash too few"),
        pytest.param("run/a.sock", "write unix:///run/a.sock", id="relative"),
        pytest.param("", "not an absolute path", id="empty"),
        pytest.param("unix://", "not an absolute path", id="nothing after the prefix"),
        pytest.param("@crirm", "abstract", id="abstract"),
        pytest.param("unix://@crirm", "abstract", id="abstract with a prefix"),
        pytest.param("unix-abstract:crirm", "abstract", id="abstract as gRPC writes it"),
        pytest.param("tcp://127.0.0.1:2376", "needs a Unix socket", id="TCP"),
        pytest.param("127.0.0.1:2376", "needs a Unix socket", id="an IPv4 address"),
        pytest.param("[::1]:2376", "needs a Unix socket", id="an IPv6 address"),
        pytest.param("dns:///localhost", "needs a Unix socket", id="a host name"),
        pytest.param("npipe:////./pipe/containerd", "needs a Unix socket", id="a Windows pipe"),
        pytest.param("/run/crirm/", "a directory; add", id="a directory"),
        pytest.param("/run/\0a", "not an absolute path", id="a NUL byte"),
        pytest.param("/" + "a" * MAX_PATH_BYTES, "108 bytes long; the limit for sockets is 107", id="a byte too long"),
        pytest.param("/" + "ä" * 54, "109 bytes long", id="bytes count, not characters"),
    ],
)
def test_addresses_that_name_none(text: str, complaint: str) -> None:
    with pytest.raises(SocketPathError) as caught:
        socket_path(text, what="relay socket")
    assert complaint in str(caught.value)
    assert str(caught.value).startswith("relay socket ")
    assert caught.value.exit_code == 2


@given(st.text())
def test_an_accepted_address_can_be_bound(text: str) -> None:
    try:
        path = socket_path(text)
    except SocketPathError:
        return
    assert path.startswith("/")
    assert len(os.fsencode(path)) <= MAX_PATH_BYTES
    assert "\0" not in path


def test_a_new_socket_has_the_default_mode_and_its_directories_too(short_path: Path) -> None:
    path = short_path / "new" / "dir" / "a.sock"
    with open_listener(str(path), None) as sock, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        assert not sock.get_inheritable()
        assert [oct(stat.S_IMODE(p.stat().st_mode)) for p in (path, path.parent, path.parent.parent)] == [
            "0o660",
            "0o711",
            "0o711",
        ]


def test_a_directory_that_exists_keeps_its_mode(short_path: Path) -> None:
    short_path.chmod(0o750)
    open_listener(str(short_path / "a.sock"), None).close()
    assert stat.S_IMODE(short_path.stat().st_mode) == 0o750


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_the_umask_changes_nothing(short_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        open_listener(str(short_path / "d" / "a.sock"), SocketOwner(os.getuid(), os.getgid(), 0o666)).close()
    finally:
        os.umask(before)
    assert stat.S_IMODE((short_path / "d").stat().st_mode) == 0o711
    assert stat.S_IMODE((short_path / "d" / "a.sock").stat().st_mode) == 0o666


@AS_ROOT
def test_owner_and_mode_are_those_of_the_runtime(short_path: Path) -> None:
    runtime, relay = short_path / "runtime.sock", short_path / "relay.sock"
    make_stale(runtime)
    os.chown(runtime, 12, 34)
    runtime.chmod(0o640)
    open_listener(str(relay), owner_of(str(runtime))).close()
    assert owner_of(str(relay)) == SocketOwner(uid=12, gid=34, mode=0o640)


def test_no_runtime_socket_has_no_owner(short_path: Path) -> None:
    assert owner_of(str(short_path / "none")) is None


def test_nobody_connects_before_the_mode_is_right(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(short_path / "a.sock")
    refused: list[int] = []

    def try_to_connect_first(path: str, owner: SocketOwner | None) -> None:
        with socket.socket(socket.AF_UNIX) as early:
            refused.append(early.connect_ex(path))
        give_owner(path, owner)

    monkeypatch.setattr(unix_socket, "give_owner", try_to_connect_first)
    open_listener(path, None).close()
    assert refused == [errno.ECONNREFUSED]


@AS_ROOT
def test_who_cannot_give_files_away_withholds_the_group_bits(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_args: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    open_listener(str(short_path / "a.sock"), SocketOwner(12, 34, 0o666)).close()
    assert owner_of(str(short_path / "a.sock")) == SocketOwner(os.getuid(), os.getgid(), 0o600)
    assert "only this user may connect" in capfd.readouterr().err


def test_a_stale_socket_is_replaced_with_a_warning(short_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = short_path / "a.sock"
    make_stale(path)
    with open_listener(str(path), None):
        assert state_of(str(path)) is SocketState.LIVE
    assert "stale socket" in capfd.readouterr().err


def test_a_live_socket_refuses_the_second_with_a_code_of_its_own(short_path: Path) -> None:
    path = str(short_path / "a.sock")
    with (
        open_listener(path, None),
        pytest.raises(SocketInUseError, match=r"in use by another process.*--relay-socket") as two,
    ):
        open_listener(path, None)
    assert two.value.exit_code == 73


def test_a_listener_with_a_full_queue_is_alive(short_path: Path) -> None:
    path = str(short_path / "a.sock")
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as client:
        sock.bind(path)
        sock.listen(0)
        client.connect(path)
        assert state_of(path) is SocketState.LIVE


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        pytest.param(lambda path: path.write_text("mine"), "a regular file", id="regular file"),
        pytest.param(lambda path: path.mkdir(), "a directory", id="directory"),
        pytest.param(lambda path: path.symlink_to("/nowhere"), "a symbolic link", id="symbolic link"),
        pytest.param(os.mkfifo, "a special file", id="named pipe"),
    ],
)
def test_what_is_no_socket_is_never_deleted(short_path: Path, make: object, kind: str) -> None:
    path = short_path / "a.sock"
    assert callable(make)
    make(path)
    before = path.lstat()
    with pytest.raises(SocketUnusableError, match=f"{kind}, not a socket"):
        open_listener(str(path), None)
    assert os.path.samestat(before, path.lstat())


def test_a_file_in_the_place_of_the_directory_is_named(short_path: Path) -> None:
    (short_path / "file").write_text("mine")
    with pytest.raises(SocketUnusableError, match="/file: not a directory"):
        open_listener(str(short_path / "file" / "a.sock"), None)


@AS_ROOT
def test_no_permission_names_directory_and_user(short_path: Path) -> None:
    short_path.chmod(0o755)
    process = start(short_path / "sub" / "a.sock", user=65534)
    try:
        line = first_line(process)
    finally:
        end(process)
    assert line.startswith(f"SocketUnusableError {short_path}/sub: user 65534 ")
    assert "run crirm as root" in line


def test_a_failed_start_leaves_no_socket(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(unix_socket, "give_owner", fail)
    with pytest.raises(SocketUnusableError, match="No space left"):
        open_listener(str(short_path / "a.sock"), None)
    assert list(short_path.iterdir()) == []


def test_of_many_starts_over_a_stale_socket_one_wins(short_path: Path) -> None:
    path = short_path / "a.sock"
    make_stale(path)
    processes = [start(path) for _ in range(4)]
    try:
        lines = [first_line(process).split()[0] for process in processes]
    finally:
        for process in processes:
            end(process)
    assert sorted(lines) == ["SocketInUseError"] * 3 + ["listening"]


def test_after_kill_9_the_next_start_takes_over(short_path: Path) -> None:
    path = short_path / "a.sock"
    process = start(path)
    try:
        assert first_line(process) == "listening"
        assert state_of(str(path)) is SocketState.LIVE
        process.send_signal(signal.SIGKILL)
    finally:
        end(process)
    assert state_of(str(path)) is SocketState.STALE
    open_listener(str(path), None).close()


@pytest.mark.parametrize("closed_first", [True, False])
def test_the_own_file_is_removed(short_path: Path, *, closed_first: bool) -> None:
    sock = open_listener(str(short_path / "a.sock"), None)
    if closed_first:
        sock.close()
    sock.remove_file()
    sock.close()
    assert list(short_path.iterdir()) == []


def test_the_file_of_a_successor_stays(short_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = short_path / "a.sock"
    old = open_listener(str(path), None)
    old.close()
    with open_listener(str(path), None):
        old.remove_file()
        assert state_of(str(path)) is SocketState.LIVE
    assert "replaced by another file" in capfd.readouterr().err


def test_a_file_that_is_gone_is_no_trouble(short_path: Path) -> None:
    with open_listener(str(short_path / "a.sock"), None) as sock:
        (short_path / "a.sock").unlink()
        sock.remove_file()


def test_a_lock_that_is_held_for_long_is_named(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unix_socket, "LOCK_WAIT_S", 0.0)
    fd = os.open(short_path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with pytest.raises(SocketUnusableError, match=r"locked .*lsof"):
            open_listener(str(short_path / "a.sock"), None)
    finally:
        os.close(fd)
