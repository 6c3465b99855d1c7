"""What tests about the state begin with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.model.events import PodAdded
from tests.unit.daemon.lives import Process
from tests.unit.policy.test_pipeline import pod

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> str:
    return str(tmp_path / "state")


@pytest.fixture
def first(home: str) -> Process:
    process = Process(home)
    process.engine.apply(PodAdded(pod("p1")))
    return process
