from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from crirm.logs.record_file import RecordFile, RecordFileError

if TYPE_CHECKING:
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
    assert str(fault.value).startswith(f"{tmp_path / name}: cannot be opened for writing: {reason}; name a file")


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
        assert file.write("lost\n") == f"{path} cannot be written: No space left on device; trying on"
        assert file.write("lost\n") is None
    assert file.write("after\n") == f"{path} can be written again, 2 records were left out"
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
