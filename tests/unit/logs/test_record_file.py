from __future__ import annotations

import errno
import os
import socket
import stat
from typing import TYPE_CHECKING

import pytest

from crirm.logs.record_file import RecordFile, RecordFileError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize(("truncate", "content"), [(True, "new\n"), (False, "old\nnew\n")])
def test_a_file_is_begun_or_continued(tmp_path: Path, truncate: bool, content: str) -> None:
    path = tmp_path / "records"
    path.write_text("old\n")
    file = RecordFile(str(path), truncate=truncate)
    assert file.write("new\n") is None
    file.close()
    assert path.read_text() == content


def test_only_the_owner_can_read_a_new_file(tmp_path: Path) -> None:
    RecordFile(str(tmp_path / "records"), truncate=True).close()
    assert (tmp_path / "records").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("name", "reason"), [("missing/records", "No such file or directory"), ("", "Is a directory")])
def test_a_path_that_cannot_be_written_is_refused_with_reason_and_remedy(
    tmp_path: Path, name: str, reason: str
) -> None:
    with pytest.raises(RecordFileError) as fault:
        RecordFile(str(tmp_path / name), truncate=True)
    assert str(fault.value).startswith(f"{tmp_path / name}: cannot open for writing: {reason}; use a file")


def test_a_full_disk_is_told_once_and_what_was_left_out_when_it_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "records"
    file = RecordFile(str(path), truncate=True)
    file.write("before\n")
    really = os.write

    def half_then_full(fd: int, data: bytes) -> int:
        if len(data) > 2:
            return really(fd, bytes(data[:2]))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", half_then_full)
        assert file.write("lost\n") == f"{path}: cannot write: No space left on device; will keep trying"
        assert file.write("lost\n") is None
    assert file.write("after\n") == f"{path}: writing works again, 2 messages were lost"
    assert file.write("later\n") is None
    file.close()
    assert path.read_text() == "before\nafter\nlater\n"  # no half record either


def test_a_file_that_would_grow_too_large_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "records"
    file = RecordFile(str(path), truncate=True, max_bytes=10)
    for text in ("12345\n", "123\n", "x\n"):
        file.write(text)
    file.close()
    assert (tmp_path / "records.1").read_text() == "12345\n123\n"
    assert path.read_text() == "x\n"


def test_a_file_that_somebody_moved_is_made_anew_when_it_is_full(tmp_path: Path) -> None:
    path = tmp_path / "records"
    file = RecordFile(str(path), truncate=True, max_bytes=4)
    file.write("123\n")
    path.rename(tmp_path / "moved")
    assert file.write("456\n") is None
    file.close()
    assert path.read_text() == "456\n"


def _link(path: Path) -> None:
    (path.parent / "precious").write_text("old\n")
    path.symlink_to(path.parent / "precious")


def _hard_link(path: Path) -> None:
    (path.parent / "precious").write_text("old\n")
    path.hardlink_to(path.parent / "precious")


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def _foreign(path: Path) -> None:
    path.write_text("old\n")
    os.chown(path, 12345, 12345)


def _device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 3))


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make such a file")


@pytest.mark.parametrize("truncate", [True, False])
@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        pytest.param(_link, "is a symbolic link", id="symbolic link"),
        pytest.param(_hard_link, "has other hard links", id="hard link"),
        pytest.param(os.mkfifo, "is not a regular file", id="named pipe, which must not hang"),
        pytest.param(_socket, "is not a regular file", id="socket"),
        pytest.param(_device, "is not a regular file", id="device", marks=AS_ROOT),
        pytest.param(_foreign, "belongs to user 12345", id="another user's file", marks=AS_ROOT),
    ],
)
def test_what_is_not_ours_is_refused_in_one_sentence_and_left_alone(
    tmp_path: Path, make: Callable[[Path], object], complaint: str, truncate: bool
) -> None:
    path = tmp_path / "records"
    make(path)
    before = path.lstat()
    with pytest.raises(RecordFileError, match=f"^{path}: {complaint}.*; crirm does not write to it; use another file$"):
        RecordFile(str(path), truncate=truncate)
    assert (before.st_mode, before.st_size) == (path.lstat().st_mode, path.lstat().st_size)
    if (tmp_path / "precious").exists():
        assert (tmp_path / "precious").read_text() == "old\n"


def test_a_file_that_is_there_already_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "records"
    path.write_text("old\n")
    path.chmod(0o644)
    RecordFile(str(path), truncate=False).close()
    assert (path.stat().st_mode & 0o777, path.read_text()) == (0o600, "old\n")


def test_what_is_put_in_the_place_of_a_full_file_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody wins the race between setting aside and making anew."""
    path, precious = tmp_path / "records", tmp_path / "precious"
    file = RecordFile(str(path), truncate=True, max_bytes=4)
    file.write("123\n")
    precious.write_text("old\n")
    really = type(path).replace

    def replace_and_link(source: Path, target: str) -> Path:
        moved = really(source, target)
        source.symlink_to(precious)
        return moved

    monkeypatch.setattr(type(path), "replace", replace_and_link)
    assert file.write("456\n") == f"{path}: cannot write: is a symbolic link; will keep trying"
    file.close()
    assert precious.read_text() == "old\n"
