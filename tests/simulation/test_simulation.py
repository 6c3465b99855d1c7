"""As many seeds of the simulation as fit four minutes on two cores; ``nox -s simulate -- --seeds 0-9999`` plays more.

Each process of the simulation is its own, since it exchanges clocks and threads (see ``clocks``).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.mutations import MUTATIONS, made

ROOT = Path(__file__).parents[2]
CHUNK, CHUNKS = 100, 10  # seeds that two processes share, some 25 s; and how often
PATIENCE_S = 900.0


def started(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def first_line(*arguments: str) -> str:
    return started(*arguments).communicate(timeout=PATIENCE_S)[0].splitlines()[0]


@pytest.mark.parametrize("first", [pytest.param(one * CHUNK, id=f"from seed {one * CHUNK}") for one in range(CHUNKS)])
def test_nothing_is_found(first: int) -> None:
    middle, last = first + CHUNK // 2, first + CHUNK - 1
    halves = [started("--seeds", f"{first}-{middle - 1}"), started("--seeds", f"{middle}-{last}")]
    said = [half.communicate(timeout=PATIENCE_S)[0] for half in halves]
    assert [half.returncode for half in halves] == [0, 0], "\n".join(said)


def test_the_same_seed_is_the_same_run() -> None:
    runs = [first_line("--seeds", str(seed), "--fingerprint", "--no-shrink") for seed in (3, 3, 4)]
    assert runs[0] == runs[1]
    assert runs[0].split()[-1] != runs[2].split()[-1]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_what_a_mutation_takes_out_is_there(mutation: object, tmp_path: Path) -> None:
    made(mutation, tmp_path)  # type: ignore[arg-type] # of the table
