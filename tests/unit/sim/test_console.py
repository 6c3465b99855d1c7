from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.sim.console import LINE_BYTES, LogFiles, log_lines

if TYPE_CHECKING:
    from pathlib import Path

NOW_NS = 1_700_000_000_000_000_042
START = b"2023-11-14T22:13:20.000000042Z "


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        pytest.param(b"a\nb\n", [b"stdout F a", b"stdout F b"], id="a line each"),
        pytest.param(b"a", [b"stdout P a"], id="an open line is partial"),
        pytest.param(b"\n", [b"stdout F "], id="an empty line"),
        pytest.param(b"", [], id="nothing"),
        pytest.param(
            b"x" * (LINE_BYTES + 1) + b"\n", [b"stdout P " + b"x" * LINE_BYTES, b"stdout F x"], id="a long line is cut"
        ),
    ],
)
def test_log_lines(data: bytes, lines: list[bytes]) -> None:
    assert log_lines(data, NOW_NS, is_error=False) == b"".join(START + line + b"\n" for line in lines)


def test_renamed_file_is_written_until_the_log_is_reopened(tmp_path: Path) -> None:
    logs, path = LogFiles(), tmp_path / "pod" / "c.log"
    logs.open(str(path))
    path.rename(tmp_path / "old.log")
    logs.write(str(path), b"a\n", NOW_NS, is_error=False)
    logs.open(str(path))
    logs.write(str(path), b"b\n", NOW_NS, is_error=True)
    logs.close_all()
    assert (tmp_path / "old.log").read_bytes().endswith(b"stdout F a\n")
    assert path.read_bytes().endswith(b"stderr F b\n")


def test_log_goes_on_after_a_restart(tmp_path: Path) -> None:
    logs, path = LogFiles(), tmp_path / "c.log"
    logs.open(str(path))
    logs.close_all()
    logs.write(str(path), b"a\n", NOW_NS, is_error=False)
    logs.close_all()
    assert path.read_bytes().count(b"\n") == 1


def test_no_path_means_no_log(tmp_path: Path) -> None:
    logs = LogFiles()
    logs.open("")
    logs.write("", b"a\n", NOW_NS, is_error=False)
    logs.close("")
    assert list(tmp_path.iterdir()) == []
