"""A daemon that only tells with what it was started."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm import logs
from crirm.cli.errors import _Process
from crirm.daemon import app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crirm.daemon.settings import Settings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Settings]]:
    """The settings that the daemon was started with, by whichever command."""
    seen: list[Settings] = []

    async def serve(settings: Settings) -> None:
        seen.append(settings)

    monkeypatch.setattr(app, "serve", serve)
    monkeypatch.setattr(_Process, "ends_at_once", False)  # and so again afterwards: the test process goes on
    yield seen
    logs.configure(logs.LogSettings())
