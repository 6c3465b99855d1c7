"""Observing relayed replies: crirm knows that a container has exited before the caller does.

The kubelet lists everything every second and requests the status of what has changed, so on runtimes without events
its next request may count on CPUs that crirm would otherwise notice to be free only later. Only ends are taken from
replies to others: an end is final, and everything else may be older than what crirm knows.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

import attrs
import trio

from crirm.cri.ended import TELLING, ended_in
from crirm.cri.message import MalformedError
from crirm.daemon.observation.polling import take_event, tell_end
from crirm.logs import get_logger
from crirm.model.workload import ContainerState

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from crirm.daemon.placement.engine import Engine
    from crirm.daemon.placement.intake import Intake
    from crirm.model.workload import ContainerKey

log = get_logger("runtime")

AT_A_TIME: Final = 256  # items of a list read before other calls have their turn: about 0.5 ms
ENDS_AT_A_TIME: Final = 4  # processed likewise: each is a decision, up to 1 ms on a full node
UNREAD: Final = 4  # lists still being read; a newer one replaces the oldest
OVER: Final = b""  # no id
_ALIVE = (ContainerState.CREATED, ContainerState.RUNNING)


@attrs.define
class Observing:
    """Finds exited containers in replies.

    Args:
        engine: is told of them.
        intake: finds containers by id.
    """

    engine: Engine
    intake: Intake
    _unread: deque[Iterator[bytes | None]] = attrs.field(factory=lambda: deque(maxlen=UNREAD), init=False)
    _more: trio.Event = attrs.field(factory=trio.Event, init=False)
    _alive: dict[bytes, ContainerKey] = attrs.field(factory=dict, init=False)
    _alive_in: object = attrs.field(default=None, init=False)

    def observed(self, method: str, answer: bytes) -> None:
        """Process one whole message of the runtime; the rest of a long one soon.

        Args:
            method: of the RuntimeService; replies of most are irrelevant.
            answer: without its prefix; an unreadable one is ignored.
        """
        if method not in TELLING:
            return
        try:
            if method == "GetContainerEvents":
                _take(answer, self.engine, self.intake)
            reading = ended_in(method, answer, self.alive())
            if not self._read_some(reading):
                self._unread.append(reading)
                self._more.set()
        except Exception:  # the caller gets the reply anyway
            log.exception("could not process a relayed reply; this is a bug in crirm", method=method)

    async def read(self, method: str, answer: bytes) -> None:
        """Process all of *answer*, yielding to others in between."""
        reading = ended_in(method, answer, self.alive())
        while not self._read_some(reading):
            await trio.lowlevel.checkpoint()

    async def run(self) -> None:
        """Read the rest of long replies, until cancelled."""
        while True:
            await self._more.wait()
            self._more = trio.Event()
            while self._unread:
                reading = self._unread.popleft()
                while not self._read_some(reading):
                    await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()

    def alive(self) -> Mapping[bytes, ContainerKey]:
        """Return the containers that may exit: full ids as in replies, and crirm's keys."""
        containers = self.engine.state.workload.containers
        if self._alive_in is not containers:
            self._alive = {c.id.encode(): c.key for c in containers.values() if c.id and c.state in _ALIVE}
            self._alive_in = containers
        return self._alive

    def _read_some(self, reading: Iterator[bytes | None]) -> bool:
        """Read on for a moment; True at the end."""
        alive, ends = self.alive(), 0
        for _ in range(AT_A_TIME):
            container = next(reading, OVER)
            if container is OVER:
                return True
            if container is not None and (key := alive.get(container)):
                tell_end(key, self.engine)
                ends += 1
            if ends == ENDS_AT_A_TIME:
                break
        return False


def _take(event: bytes, engine: Engine, intake: Intake) -> None:
    try:
        take_event(event, engine, intake)
    except MalformedError as error:
        log.debug("cannot read a relayed container event", reason=str(error))
