from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from bench.turns import LongestTurn, TurnRecord, noting_turns

if TYPE_CHECKING:
    from pathlib import Path


def test_the_longest_is_kept_and_taken_once(tmp_path: Path) -> None:
    record = TurnRecord.create(tmp_path / "turns")
    record.note(0.002, 0.001)
    record.note(0.001, 0.0015)
    assert record.take() == LongestTurn(wall_ms=2.0, cpu_ms=1.5)
    assert record.take() == LongestTurn(0.0, 0.0)


def test_two_processes_may_hold_the_record(tmp_path: Path) -> None:
    reader = TurnRecord.create(tmp_path / "turns")
    TurnRecord(tmp_path / "turns").note(0.5, 0.25)
    assert reader.take() == LongestTurn(wall_ms=500.0, cpu_ms=250.0)


def test_a_loop_that_does_not_turn_is_noted(tmp_path: Path) -> None:
    record = TurnRecord.create(tmp_path / "turns")

    async def block() -> None:
        await asyncio.sleep(0)
        until_s = time.thread_time() + 0.02
        while time.thread_time() < until_s:
            pass
        await asyncio.sleep(0)

    with noting_turns(record):
        loop = asyncio.new_event_loop()
    loop.run_until_complete(block())
    loop.close()
    longest = record.take()
    assert longest.cpu_ms >= 20
    assert longest.wall_ms > 0


def test_other_loops_are_left_alone(tmp_path: Path) -> None:
    record = TurnRecord.create(tmp_path / "turns")
    with noting_turns(record):
        pass
    asyncio.run(asyncio.sleep(0))
    assert record.take() == LongestTurn(0.0, 0.0)
