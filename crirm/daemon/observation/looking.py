"""Before somebody is refused, or gets a poorer place than the machine has: the runtime is asked what has ended.

Not every end is told in time: runtimes without events tell when they are asked. So whoever would suffer from it waits
for one question, asked after it came, and everything is decided afresh with the answer. One question is under way at a
time, and answers all who waited when it was asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio

from crirm.cri.ended import LIST_EXITED
from crirm.logs import get_logger
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from crirm.daemon.observation.observing import Observing
    from crirm.daemon.relay.asking import Runtime

log = get_logger("runtime")

WITHIN_S: Final = 2.0  # the kubelet waits 2 minutes; who is not answered by then is decided about as before


@attrs.define
class Looking:
    """Asks which containers have ended, for those who wait.

    Args:
        runtime: is asked.
        observing: takes note of the answer.
        nursery: outlives every call.
    """

    runtime: Runtime
    observing: Observing
    nursery: trio.Nursery
    _next: trio.Event | None = attrs.field(default=None, init=False)  # set when the next question is answered
    _asking: bool = attrs.field(default=False, init=False)

    async def look(self) -> None:
        """Wait until the runtime was asked, and everything that it tells is known; or until it takes too long."""
        if self._next is None:
            self._next = trio.Event()
        answered = self._next
        if not self._asking:
            self._asking = True
            self.nursery.start_soon(self._ask_while_somebody_waits)
        await answered.wait()

    async def _ask_while_somebody_waits(self) -> None:
        try:
            while (answered := self._next) is not None:
                self._next = None
                await self._ask()
                answered.set()
        finally:
            self._asking = False

    async def _ask(self) -> None:
        try:
            answer = await self.runtime.call("ListContainers", LIST_EXITED, timeout_s=WITHIN_S)
            await self.observing.read("ListContainers", answer)
        except RpcError as error:
            log.debug("cannot list exited containers; deciding without the list", reason=str(error))
        except Exception:  # those who wait are decided about as before
            log.exception("could not process a list of containers; this is a bug in crirm")
