"""Doubt about the runtime's containers: after a call with an unknown outcome its lists are read, with retries."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio

from crirm.daemon.relay.link import doubling
from crirm.logs import get_logger
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

log = get_logger("runtime")

DOUBT_S: Final = 1.0  # so that calls about to end can report themselves
LONGEST_S: Final = 60.0  # between two tries


@attrs.define(eq=False)
class Doubts:
    """Schedules synchronisation with the runtime.

    Args:
        settle: synchronises the engine with the runtime's lists; raises RpcError if they cannot be read.
    """

    settle: Callable[[], Coroutine[object, object, None]]
    _doubted: trio.Event = attrs.field(factory=trio.Event, init=False)

    def doubt(self) -> None:
        """Schedule a synchronisation."""
        self._doubted.set()

    @property
    def present(self) -> bool:
        """Whether a synchronisation is due."""
        return self._doubted.is_set()

    async def run(self) -> None:
        """Settle doubts until cancelled."""
        while True:
            await self._doubted.wait()
            await trio.sleep(DOUBT_S)
            await self._settle()

    async def _settle(self) -> None:
        """Retry until it succeeds: the same doubt is not raised again, so nothing else would retry."""
        for again_in_s in doubling(DOUBT_S, LONGEST_S):
            self._doubted = trio.Event()
            try:
                await self.settle()
            except RpcError as error:
                log.debug("cannot list the runtime's containers; retrying", reason=str(error), again_in_s=again_in_s)
            else:
                return
            await trio.sleep(again_in_s)
