"""Whose turn it is, in virtual time."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio.testing import MockClock

import trio
import trio.testing

from crirm.daemon.enforcer.turns import Turns
from crirm.model.workload import ContainerKey


def keys(count: int) -> list[ContainerKey]:
    return [ContainerKey(f"c{number:02}") for number in range(count)]


async def taken(turns: Turns, until_s: float) -> list[tuple[float, list[str]]]:
    """Take turns for a while; returns who had theirs when, counted from now."""
    start_s, found = trio.current_time(), []
    while trio.current_time() < start_s + until_s:
        if now := turns.take(100):
            found.append((trio.current_time() - start_s, [str(key) for key in now]))
        else:
            await turns.wait()
    return found


async def test_everybody_has_one_turn_a_round_spread_over_it(autojump_clock: MockClock) -> None:
    turns = Turns(30.0, 1.0)
    turns.share_out(keys(6))
    start_s = trio.current_time()
    assert start_s % 1 == 0
    found = await taken(turns, 59)
    assert [at_s for at_s, _ in found] == [5, 10, 15, 20, 25, 30, 35, 40, 45, 50, 55]
    assert [who for _, who in found[:6]] == [[str(key)] for key in keys(6)]


async def test_turns_of_many_are_taken_together_on_a_beat(autojump_clock: MockClock) -> None:
    turns = Turns(30.0, 1.0)
    turns.share_out(keys(90))
    found = await taken(turns, 30.5)
    assert len(found) == 30
    assert {len(who) for _, who in found} == {3}


async def test_one_that_asks_is_served_at_its_time_and_wakes_who_waits(autojump_clock: MockClock) -> None:
    turns, found = Turns(30.0, 1.0), []
    turns.share_out(keys(1))

    async def serve() -> None:
        found.extend(await taken(turns, 2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
        await trio.testing.wait_all_tasks_blocked()
        turns.ask(keys(1)[0], trio.current_time() + 0.25)
        turns.ask(keys(1)[0], trio.current_time() + 0.5)  # has its turn before that, which does for both
        nursery.start_soon(trio.sleep, 31)
    assert found == [(0.25, ["c00"])]


async def test_those_that_are_gone_have_no_turn_and_new_ones_have(autojump_clock: MockClock) -> None:
    turns = Turns(10.0, 1.0)
    turns.share_out(keys(2))
    turns.share_out(keys(3)[1:])
    assert [who for _, who in await taken(turns, 10.5)] == [["c01", "c02"]]


async def test_the_longest_waiting_come_first_where_not_all_are_taken(autojump_clock: MockClock) -> None:
    turns = Turns(4.0, 1.0)
    turns.share_out(keys(4))
    await trio.sleep(4)
    assert [turns.take(3), turns.take(3), turns.take(3)] == [keys(3), keys(4)[3:], []]
