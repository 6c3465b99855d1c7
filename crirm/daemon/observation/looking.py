"""Before somebody is refused, or gets a poorer place than the machine has: the runtime is asked what has ended.

Not every end is told in time: runtimes without events tell when they are asked. So whoever would suffer from it waits
for one question, asked after it came, and everything is decided afresh with the answer. One question is under way at a
time, and answers all who waited when it was asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
from grpclib.const import Status

from crirm.cri.ended import LIST_EXITED
from crirm.errors import OUR_FAULT
from crirm.logs import get_logger
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from crirm.daemon.observation.observing import Observing
    from crirm.daemon.relay.asking import Runtime
    from crirm.rpc.held import Held

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
    _waiting: list[tuple[Callable[[], None], Held]] = attrs.field(factory=list, init=False)
    _asking: bool = attrs.field(default=False, init=False)

    def look(self, again: Callable[[], None], held: Held) -> bool:
        """Have *again* called once the runtime was asked; False, and nothing happens, where nothing can have ended.

        Args:
            again: decides afresh, with everything checked once more; if it fails, the call is refused.
            held: the call that waits.
        """
        if not self.observing.alive():
            return False
        self._waiting.append((again, held))
        if not self._asking:
            self._asking = True
            self.nursery.start_soon(self._ask_while_somebody_waits)
        return True

    async def _ask_while_somebody_waits(self) -> None:
        try:
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                await self._ask()
                for again, held in waiting:
                    decide_afresh(again, held)
        finally:
            self._asking = False

    async def _ask(self) -> None:
        try:
            answer = await self.runtime.call("ListContainers", LIST_EXITED, timeout_s=WITHIN_S)
        except RpcError as error:
            log.debug("the runtime does not tell what has ended", reason=str(error))
            return
        try:
            await self.observing.read("ListContainers", answer)
        except Exception:  # those who wait are decided about as before
            log.exception("a list could not be taken note of, this is a bug in crirm")


def decide_afresh(again: Callable[[], None], held: Held) -> None:
    """Call *again*; a bug in it refuses the call that it is about."""
    try:
        again()
    except Exception:
        log.exception("a request could not be decided about")
        held.refuse(Status.INTERNAL, OUR_FAULT)
