"""A few seeds of the simulation, as many as fit some minutes; ``nox -s simulate`` plays more.

Each chunk has a process of its own, since the simulation exchanges clocks and threads (see ``clocks``).
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHUNK = 10  # seeds; some 10 s of CPU time
CHUNKS = int(os.environ.get("CRIRM_SIMULATED_CHUNKS", "2"))


def simulate(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the simulation, and return what it says."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(command, cwd=ROOT, text=True, capture_output=True, check=False, timeout=900)


@pytest.mark.parametrize("chunk", range(CHUNKS), ids=lambda chunk: f"seeds {chunk * CHUNK}-{(chunk + 1) * CHUNK - 1}")
def test_nothing_is_found(chunk: int) -> None:
    done = simulate("--seeds", f"{chunk * CHUNK}-{(chunk + 1) * CHUNK - 1}")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_same_seed_is_the_same_run() -> None:
    runs = {simulate("--seeds", "3", "--fingerprint").stdout.splitlines()[0] for _ in range(2)}
    assert len(runs) == 1
    assert simulate("--seeds", "4", "--fingerprint").stdout.splitlines()[0] not in runs
