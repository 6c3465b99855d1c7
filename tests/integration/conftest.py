"""The stage that integration tests play on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.support import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def stage(short_path: Path) -> Iterator[Stage]:
    """Sockets in a short directory; whatever a test starts on them is ended after it."""
    stage = Stage(short_path)
    try:
        yield stage
    finally:
        stage.close()
