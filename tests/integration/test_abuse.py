"""A little of what ``nox -s abuse`` does at length."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.abuse import play

if TYPE_CHECKING:
    from tests.integration.support import Stage

_RUNTIMES = [
    "greets with noise",
    "noise",
    "a frame of megabytes",
    "answers an even stream",
    "says goodbye in anger",
    "ends without trailers",
    "a status of 5000 digits",
    "broken gzip",
    "20 MiB of headers",
    "invalid headers",
    "settings",
]


def test_broken_runtimes_are_left_and_found_again(stage: Stage) -> None:
    outcomes = list(play.break_down(stage, _RUNTIMES))
    assert [outcome.name for outcome in outcomes] == [f"runtime: {name}" for name in _RUNTIMES]


@pytest.mark.parametrize("name", ["rapid reset", "settings", "continuations of nothing", "very many headers"])
def test_a_flood_disturbs_nobody_else(stage: Stage, name: str) -> None:
    for outcome in play.flood(stage, [name], 2.0):
        assert not outcome.others.failed
