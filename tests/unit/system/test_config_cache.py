"""The configuration that was accepted last, in its file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.system.config_cache import (
    ConfigCacheError,
    adjustments_in,
    forget_accepted,
    path_in,
    policy_in_use,
    read_accepted,
    write_accepted,
)
from crirm.system.store import Batch, Store
from crirm.system.store_file import FILE

if TYPE_CHECKING:
    from pathlib import Path

DATA = {"policy": "Active: none\n", "logger": "Debug: relay\n"}


def test_what_is_written_is_found(tmp_path: Path) -> None:
    home = str(tmp_path / "state")
    assert read_accepted(home) is None
    write_accepted(home, "node", {"policy": "x"})
    write_accepted(home, "node", DATA)
    assert read_accepted(home) == DATA
    assert path_in(home).stat().st_mode & 0o777 == 0o600
    assert [path_in(home)] == list((tmp_path / "state").iterdir())


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b'{"data": {"pol', id="torn"),
        pytest.param(b"[]", id="not an object"),
        pytest.param(b'{"data": {"policy": 1}}', id="a value that is no text"),
        pytest.param(b"\xff\xfe", id="no text at all"),
    ],
)
def test_a_file_that_cannot_be_used_says_so(content: bytes, tmp_path: Path) -> None:
    path_in(str(tmp_path)).write_bytes(content)
    with pytest.raises(ConfigCacheError, match="--reset-config"):
        read_accepted(str(tmp_path))


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    write_accepted(str(tmp_path), "node", DATA)
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(ConfigCacheError, match="cannot be written"):
        write_accepted(str(blocked / "state"), "node", DATA)
    assert read_accepted(str(tmp_path)) == DATA


def test_what_is_forgotten_is_gone(tmp_path: Path) -> None:
    write_accepted(str(tmp_path), "node", DATA)
    assert [forget_accepted(str(tmp_path)), forget_accepted(str(tmp_path))] == [True, False]
    assert read_accepted(str(tmp_path)) is None


@pytest.mark.parametrize("closed", [pytest.param(True, id="no daemon"), pytest.param(False, id="a daemon that runs")])
def test_the_policy_in_use_is_read_from_the_state(closed: bool, tmp_path: Path) -> None:
    store = Store.open(str(tmp_path))
    store.write(Batch(put={"meta": {"policy": '"static"'}}))
    if closed:
        store.close()
    assert policy_in_use(str(tmp_path)) == "static"
    if not closed:
        store.close()


@pytest.mark.parametrize(
    "content", [pytest.param(None, id="no state"), pytest.param(b"not a database", id="a damaged one")]
)
def test_no_policy_is_in_use_where_nothing_can_be_read(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    assert policy_in_use(str(tmp_path)) is None


def test_adjustments_are_forgotten_with_the_configuration(tmp_path: Path) -> None:
    home = str(tmp_path)
    assert not forget_accepted(home)
    adjustments_in(home).write_text("{}")
    assert forget_accepted(home)
    adjustments_in(home).write_text("{}")
    write_accepted(home, "node", DATA)
    assert forget_accepted(home)
    assert list(tmp_path.iterdir()) == []
