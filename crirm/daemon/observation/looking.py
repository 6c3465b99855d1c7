"""Before a container is refused or gets a worse place than the machine allows, exited containers are listed.

Not every end is reported in time: runtimes without events report it only in lists. So a request that would suffer waits
for one list, requested after it arrived, and is decided again with the result. One list is in flight at a time, and
serves all requests that waited when it was requested.
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

WITHIN_S: Final = 2.0  # the kubelet waits 2 minutes; after this the request is decided without the list


@attrs.define
class Looking:
    """Lists exited containers for requests that wait.

    Args:
        runtime: to list from.
        observing: processes the list.
        nursery: outlives every call.
    """

    runtime: Runtime
    observing: Observing
    nursery: trio.Nursery
    _next: trio.Event | None = attrs.field(default=None, init=False)  # set when the next list has arrived
    _asking: bool = attrs.field(default=False, init=False)

    async def look(self) -> None:
        """Wait until the runtime's list has been processed, or takes too long."""
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
        except Exception:  # the requests are decided without the list
            log.exception("could not process a list of containers; this is a bug in crirm")
