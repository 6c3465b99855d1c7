"""A few lives of the storm on real containers; ``python -m tests.storm --runtime containerd`` plays more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.storm.machines import real_machine
from tests.storm.quick_start import QuickStage
from tests.storm.storm import Storm

if TYPE_CHECKING:
    from pathlib import Path

    from crirm.launcher.containerd import Installation
    from tests.trio_thread import TrioThread

pytestmark = pytest.mark.containerd

KILLS = 3


def test_what_was_acknowledged_survives_kill_9(
    short_path: Path, installation: Installation, trio_thread: TrioThread
) -> None:
    stage = QuickStage(short_path)
    try:
        storm = Storm(real_machine(stage, "static", installation, trio_thread), seed="e2e")
        storm.rage(KILLS)
    finally:
        stage.close()
    assert storm.figures.kills >= KILLS
