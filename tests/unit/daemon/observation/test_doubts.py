"""What is doubted is asked about until the runtime answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trio.testing import MockClock

import attrs
import trio
from grpclib.const import Status

from crirm.daemon.observation.doubts import DOUBT_S, LONGEST_S, Doubts
from crirm.rpc.grpc_wire import RpcError


@attrs.define
class Asked:
    """When the runtime was asked; it fails *fails* times first."""

    fails: int
    at_s: list[float] = attrs.field(factory=list)

    async def settle(self) -> None:
        self.at_s.append(trio.current_time())
        if len(self.at_s) <= self.fails:
            raise RpcError(Status.DEADLINE_EXCEEDED, "slow")


async def test_a_question_that_fails_is_asked_again_with_growing_pauses(autojump_clock: MockClock) -> None:
    asked = Asked(fails=9)
    doubts = Doubts(asked.settle)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(doubts.run)
        begun_s = trio.current_time()
        doubts.doubt()
        await trio.sleep(3600)
        nursery.cancel_scope.cancel()
    pauses = [round(after - before) for before, after in zip([begun_s, *asked.at_s], asked.at_s, strict=False)]
    assert pauses == [DOUBT_S, 1, 2, 4, 8, 16, 32, LONGEST_S, LONGEST_S, LONGEST_S]
    assert not doubts.present


async def test_doubts_that_come_while_it_is_asked_have_it_asked_again(autojump_clock: MockClock) -> None:
    asked = Asked(fails=0)
    doubts = Doubts(asked.settle)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(doubts.run)
        for _ in range(3):
            doubts.doubt()
        await trio.sleep(10)
        doubts.doubt()
        await trio.sleep(10)
        nursery.cancel_scope.cancel()
    assert len(asked.at_s) == 2
