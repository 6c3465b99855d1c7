"""The round of generated tests with other examples each time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests import random_run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pytest

FAILING = """
from hypothesis import given, strategies as st
drawn = []
@given(st.integers(0, 10**9))
def test_small(number):
    drawn.append(number)
    assert number < 1000 or not print("drew", drawn[:5])
"""


def test_a_failure_names_its_seed_and_the_seed_plays_it_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "test_failing.py"
    file.write_text(FAILING.replace("or not", "or bool(").replace("drawn[:5])", "drawn[:5]))"))
    (tmp_path / "conftest.py").write_text("import tests.conftest\n")
    assert random_run.main(["--seconds", "60", str(file)]) == 1
    first = capfd.readouterr().out
    (seed,) = re.findall(r"nox -s random -- --seed (\d+) ", first)
    assert random_run.main(["--seed", seed, str(file)]) == 1
    drawn = [re.findall(r"drew (\[.*?\])", text)[0] for text in (first, capfd.readouterr().out)]
    assert drawn[0] == drawn[1]


def test_time_that_is_up_is_no_failure(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    codes: list[int | None] = [0, 0, None]
    seeds: list[int] = []

    def play(seed: int, _tests: Sequence[str], _within_s: float | None) -> int | None:
        seeds.append(seed)
        return codes[len(seeds) - 1]

    monkeypatch.setattr(random_run, "play", play)
    assert random_run.main(["--seconds", "60", "x"]) == 0
    assert capsys.readouterr().out.startswith("2 whole rounds of 1 files")
    assert len(set(seeds)) == 3


def test_a_run_without_one_whole_round_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(random_run, "play", lambda *_: None)
    assert random_run.main(["--seconds", "60", "x"]) == 1
    assert capsys.readouterr().out.startswith("not one round was over after 60 s")


def test_it_finds_the_generated_tests() -> None:
    found = random_run.generated()
    assert {"tests/unit/model/test_cpuset.py", "tests/unit/policy/test_policies.py"} <= set(found)
    assert "tests/unit/cli/test_main.py" not in found
