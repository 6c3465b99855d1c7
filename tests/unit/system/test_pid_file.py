from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from crirm.system.pid_file import PidFileError, PidFileInUseError, held_pid_file

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")

HOLD = """
import sys
from crirm.system.pid_file import PidFileError, held_pid_file
try:
    with held_pid_file(sys.argv[1]):
        print("held", flush=True)
        sys.stdin.read()
except PidFileError as error:
    print(f"{type(error).__name__} {error}", flush=True)
"""


def start(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_it_holds_our_number_and_goes_with_us(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "a.pid"
    before = os.umask(umask)
    try:
        with held_pid_file(str(path)):
            assert path.read_text() == f"{os.getpid()}\n"
            assert stat.S_IMODE(path.stat().st_mode) == 0o644
    finally:
        os.umask(before)
    assert not path.exists()


def test_it_goes_when_the_daemon_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.pid"
    with pytest.raises(RuntimeError), held_pid_file(str(path)):
        raise RuntimeError
    assert not path.exists()


def test_a_living_owner_refuses_the_second(tmp_path: Path) -> None:
    path = tmp_path / "a.pid"
    with held_pid_file(str(path)):
        with (
            pytest.raises(PidFileInUseError, match=f"already running as process {os.getpid()}; ") as caught,
            held_pid_file(str(path)),
        ):
            pass
        assert path.read_text() == f"{os.getpid()}\n"
    assert caught.value.exit_code == 73


def test_the_file_of_a_killed_owner_is_taken_over(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.pid"
    process = start(path)
    assert first_line(process) == "held"
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=10)
    with held_pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
    assert f"stale_pid={process.pid}" in capfd.readouterr().err


def test_a_number_that_now_belongs_to_somebody_else_is_stale(tmp_path: Path) -> None:
    path = tmp_path / "a.pid"
    path.write_text("1\n")
    with held_pid_file(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"


def test_of_many_starts_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "a.pid"
    path.write_text("1\n")
    processes = [start(path) for _ in range(4)]
    try:
        lines = [first_line(process).split()[0] for process in processes]
    finally:
        for process in processes:
            process.communicate(timeout=10)
    assert sorted(lines) == ["PidFileInUseError"] * 3 + ["held"]
    assert not path.exists()


def test_a_successors_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "a.pid"
    with held_pid_file(str(path)):
        path.unlink()
        path.write_text("4711\n")
    assert path.read_text() == "4711\n"


@pytest.mark.parametrize("content", ["root:x:0:0\n", "12 34\n", "-1\n", "x" * 100])
def test_a_file_that_holds_something_else_is_never_written(tmp_path: Path, content: str) -> None:
    path = tmp_path / "precious"
    path.write_text(content)
    with pytest.raises(PidFileError, match="not a PID file"), held_pid_file(str(path)):
        pass
    assert path.read_text() == content


def _link(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")


def _hard_link(path: Path) -> None:
    (path.parent / "other").write_text("")
    path.hardlink_to(path.parent / "other")


def _foreign(path: Path) -> None:
    path.write_text("4711\n")
    os.chown(path, 12345, 12345)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        pytest.param(_link, "is a symbolic link", id="symbolic link"),
        pytest.param(Path.mkdir, "is a directory", id="directory"),
        pytest.param(os.mkfifo, "is not a regular file", id="named pipe"),
        pytest.param(_hard_link, "has other hard links", id="hard link"),
        pytest.param(_foreign, "belongs to user 12345", id="another user's file", marks=AS_ROOT),
    ],
)
def test_what_is_no_file_is_left_alone(tmp_path: Path, make: object, complaint: str) -> None:
    path = tmp_path / "a.pid"
    assert callable(make)
    make(path)
    before = path.lstat()
    with pytest.raises(PidFileError, match=complaint), held_pid_file(str(path)):
        pass
    assert os.path.samestat(before, path.lstat())
    assert not (tmp_path / "elsewhere").exists()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(PidFileError, match=f"directory {tmp_path}/none does not exist"),
        held_pid_file(f"{tmp_path}/none/a.pid"),
    ):
        pass
