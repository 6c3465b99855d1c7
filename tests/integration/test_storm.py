"""A few lives of the storm; ``python -m tests.storm`` plays a thousand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.storm.machines import Machine
from tests.storm.quick_start import QuickStage
from tests.storm.storm import Storm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.long

KILLS = 6


@pytest.mark.parametrize("policy", ["static", "topology-aware"])
def test_what_was_acknowledged_survives_kill_9(short_path: Path, policy: str) -> None:
    stage = QuickStage(short_path)
    try:
        storm = Storm(Machine(stage, policy), seed=f"integration {policy}")
        storm.rage(KILLS)
    finally:
        stage.close()
    assert storm.figures.kills >= KILLS
    assert storm.figures.own > 0, "nobody had CPUs to lose"
