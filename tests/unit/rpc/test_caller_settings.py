"""Settings of the caller count when the runtime has acknowledged them; smaller windows at once."""

from __future__ import annotations

import pytest

from crirm.rpc.caller_settings import CallerSettings
from crirm.rpc.frames import HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE
from crirm.rpc.header_blocks import table_size


@pytest.mark.parametrize(
    ("steps", "windows"),
    [
        pytest.param([100_000, None], [65_535, 100_000], id="a larger window with the acknowledgement"),
        pytest.param([1000, None], [1000, 1000], id="a smaller one at once"),
        pytest.param([1000, 100_000, None, None], [1000, 1000, 1000, 100_000], id="the smallest of what is on its way"),
        pytest.param([None], [65_535], id="an acknowledgement of nothing"),
    ],
)
def test_windows(steps: list[int | None], windows: list[int]) -> None:
    settings, window = CallerSettings(), 65_535
    for step, expected in zip(steps, windows, strict=True):
        window += settings.acknowledged() if step is None else settings.said([(INITIAL_WINDOW_SIZE, step)])
        assert settings.stream_window_bytes == window == expected


def test_a_smaller_table_is_told_once_it_is_acknowledged() -> None:
    settings = CallerSettings()
    settings.said([(HEADER_TABLE_SIZE, 100)])
    settings.said([(HEADER_TABLE_SIZE, 8192)])
    assert settings.small_table == b""
    settings.acknowledged()
    assert settings.small_table == table_size(100)
    settings.acknowledged()
    assert settings.small_table == b""
