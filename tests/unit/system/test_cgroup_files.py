"""How reads and writes of cgroup files fail."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from crirm.system.cgroup_files import CgroupError, CgroupGoneError, Files, Trouble, refused

FILES = Files()


def test_a_file_is_read_whole_and_stripped(tmp_path: Path) -> None:
    (tmp_path / "f").write_text(",".join(str(cpu) for cpu in range(0, 4096, 2)) + "\n")
    assert FILES.read(tmp_path / "f") == ",".join(str(cpu) for cpu in range(0, 4096, 2))


def test_a_file_that_is_not_there_reads_as_none(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("")
    assert FILES.read(tmp_path / "none") is None
    assert FILES.read(tmp_path / "f" / "none") is None


def test_what_cannot_be_read_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(CgroupError, match=r"x: cannot be read: Is a directory") as caught:
        FILES.read(_folder(tmp_path / "x"))
    assert caught.value.trouble is Trouble.UNREADABLE


def test_a_value_is_written_with_its_newline_so_that_an_empty_one_arrives(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("0-3")
    FILES.write(tmp_path / "f", "")
    assert (tmp_path / "f").read_text().startswith("\n")


def test_a_cgroup_that_has_vanished_is_told_from_a_missing_controller(tmp_path: Path) -> None:
    with pytest.raises(CgroupGoneError):
        FILES.write(tmp_path / "gone" / "cpuset.cpus", "0")
    with pytest.raises(CgroupError, match="not enabled") as caught:
        FILES.write(tmp_path / "cpuset.cpus", "0")
    assert (caught.value.trouble, caught.value.tried) == (Trouble.NO_CONTROLLER, "0")


def test_a_write_that_is_not_permitted_says_what_was_tried(tmp_path: Path) -> None:
    with pytest.raises(CgroupError, match=r"x: cannot write '0-1' .*run crirm as root") as caught:
        FILES.write(_folder(tmp_path / "x"), "0-1")
    assert caught.value.trouble is Trouble.NOT_PERMITTED


def test_what_the_kernel_refuses_is_told_with_value_code_and_reason() -> None:
    with pytest.raises(
        CgroupError, match=r"/dev/full: kernel rejected '5' \(ENOSPC\): the cgroup has processes"
    ) as caught:
        FILES.write(Path("/dev/full"), "5")
    assert (caught.value.trouble, caught.value.path, caught.value.tried) == (Trouble.REFUSED, Path("/dev/full"), "5")


def test_a_code_without_a_reason_of_ours_has_the_systems(tmp_path: Path) -> None:
    assert "(EIO): Input/output error" in str(refused(tmp_path, "1", OSError(errno.EIO, os.strerror(errno.EIO))))


def _folder(path: Path) -> Path:
    """A directory cannot be read or opened for writing, not even by root."""
    path.mkdir()
    return path
