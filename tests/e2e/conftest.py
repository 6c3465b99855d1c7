from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.trio_thread import TrioThread, open_trio_thread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def trio_thread(short_path: Path) -> Iterator[TrioThread]:
    """For tests that are synchronous and need a Trio-flavoured thing to live beside them, in `short_path`."""
    assert short_path.is_dir()  # asked for so that it goes last
    with open_trio_thread() as thread:
        yield thread
