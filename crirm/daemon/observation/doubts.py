"""Doubt about what the runtime has: after a call whose outcome nobody knows, it is asked, until it has answered."""

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

DOUBT_S: Final = 1.0  # lets calls that are about to end tell for themselves
LONGEST_S: Final = 60.0  # between two tries


@attrs.define(eq=False)
class Doubts:
    """Has the runtime asked again.

    Args:
        settle: asks the runtime what it has, and tells the engine; raises RpcError where it does not tell.
    """

    settle: Callable[[], Coroutine[object, object, None]]
    _doubted: trio.Event = attrs.field(factory=trio.Event, init=False)

    def doubt(self) -> None:
        """Have the runtime asked soon."""
        self._doubted.set()

    @property
    def present(self) -> bool:
        """Whether the runtime is to be asked."""
        return self._doubted.is_set()

    async def run(self) -> None:
        """Settle doubts for ever."""
        while True:
            await self._doubted.wait()
            await trio.sleep(DOUBT_S)
            await self._settle()

    async def _settle(self) -> None:
        """Ask until there is an answer: who is doubted once is not doubted again, so no other try would come."""
        for again_in_s in doubling(DOUBT_S, LONGEST_S):
            self._doubted = trio.Event()
            try:
                await self.settle()
            except RpcError as error:
                log.debug("cannot list the runtime's containers; retrying", reason=str(error), again_in_s=again_in_s)
            else:
                return
            await trio.sleep(again_in_s)
