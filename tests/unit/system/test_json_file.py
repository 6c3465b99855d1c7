from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.system.json_file import JsonFileError, read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_written_is_read_and_only_by_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "file.json"
    assert read_json(path) is None
    write_json(path, {"a": [1, "ä"]})
    assert read_json(path) == {"a": [1, "ä"]}
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_a_document_that_cannot_be_written_leaves_the_one_of_before(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, 1)
    with pytest.raises(TypeError):
        write_json(path, object())
    assert ([path], 1) == (list(tmp_path.iterdir()), read_json(path))


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"a": ', id="torn"),
        pytest.param(b"\xff", id="not UTF-8"),
        pytest.param(b"[" * 100_000, id="nested beyond all measure"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(JsonFileError, match=r"file\.json: cannot be read"):
        read_json(path)


def test_a_place_that_takes_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JsonFileError, match=r"x\.json: cannot be written"):
        write_json(tmp_path / "file" / "x.json", 1)
