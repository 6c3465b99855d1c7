"""What the soak finds fault with."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.soak.figures import MIB, Sample, faults, sample, trend

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def samples(
    rss_mib: Callable[[int], float],
    descriptors: Callable[[int], int] = lambda _: 20,
    state_mib: Callable[[int], float] = lambda _: 20,
) -> list[Sample]:
    return [
        Sample(done, int(rss_mib(done) * MIB), descriptors(done), int(state_mib(done) * MIB))
        for done in range(0, 1001, 10)
    ]


def test_a_trend_is_of_the_second_half() -> None:
    found = trend([(done, 100.0 if done < 500 else 200 + done / 10) for done in range(0, 1001, 10)])
    assert (round(found.first), round(found.last), round(found.slope)) == (250, 300, 100)
    assert round(found.growth, 3) == 0.2


@pytest.mark.parametrize(
    ("taken", "words"),
    [
        pytest.param(samples(lambda _: 60), [], id="all flat"),
        pytest.param(samples(lambda done: min(done, 400)), [], id="flat once it is warm"),
        pytest.param(samples(lambda done: 60 + done % 20 / 10), [], id="up and down"),
        pytest.param(samples(lambda done: 60 + done / 100), ["resident memory grew by 7.7%"], id="memory grows"),
        pytest.param(samples(lambda _: 60, lambda done: 20 + done // 100), ["descriptors grew: from 20"], id="leaks"),
        pytest.param(samples(lambda _: 60, lambda done: 29 if done == 100 else 20), [], id="a few files at a time"),
        pytest.param(samples(lambda _: 60, state_mib=lambda done: done / 20), ["grew to 50.0 MiB"], id="state grows"),
    ],
)
def test_only_what_grows_is_found_fault_with(taken: list[Sample], words: list[str]) -> None:
    found = faults(taken, long=True)
    assert len(found) == len(words)
    assert all(word in sentence for word, sentence in zip(words, found, strict=True))


def test_memory_is_not_judged_before_it_can_have_come_to_rest() -> None:
    assert faults(samples(lambda done: 60 + done / 100), long=False) == []


def test_a_sample_tells_what_a_process_has(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file").write_bytes(b"x" * 1000)
    taken = sample(os.getpid(), tmp_path, 7)
    assert (taken.done, taken.state_bytes) == (7, 1000)
    assert taken.rss_bytes > MIB
    assert taken.descriptors >= 3
