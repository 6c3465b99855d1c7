"""Many callers at once, and how each of their calls ended."""

from __future__ import annotations

import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Self

import attrs

from tests.conformance.client import GrpcioClient, unary
from tests.conformance.cri import wait_until
from tests.integration.support import ECHO, OK

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.conformance.client import Reply

_CALL_TIMEOUT_S = 60.0  # far more than any call takes: one that is ended by it has hung
_AFTER_FAILURE_S = 0.02  # what fails at once is not tried again at once
_MOST_BYTES = 50_000


@attrs.define(eq=False)
class Load:
    """Callers, each with a connection of its own, that make one call after the other until the block is left.

    Attributes:
        ended: how many calls ended with each status.
        mixed_up: calls that were answered with something else than was asked.
    """

    path: Path
    callers: int
    ended: Counter[int] = attrs.field(factory=Counter)
    mixed_up: list[Reply] = attrs.field(factory=list)
    _stop: threading.Event = attrs.field(factory=threading.Event)
    _lock: threading.Lock = attrs.field(factory=threading.Lock)
    _threads: list[threading.Thread] = attrs.field(factory=list)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(self.callers)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _call(self, number: int) -> None:
        noise = random.Random(number)
        client = GrpcioClient(self.path)
        try:
            while not self._stop.is_set():
                request = noise.randbytes(noise.randrange(_MOST_BYTES))
                self._note(unary(client, ECHO, request, timeout_s=_CALL_TIMEOUT_S), request)
        finally:
            client.close()

    def _note(self, reply: Reply, request: bytes) -> None:
        with self._lock:
            self.ended[reply.code] += 1
            if reply.code == OK and reply.message != request:
                self.mixed_up.append(reply)
        if reply.code != OK:
            self._stop.wait(_AFTER_FAILURE_S)

    def wait_more(self, code: int, count: int = 1) -> None:
        """Wait until that many more calls have ended with *code*."""
        wanted = self.ended[code] + count
        wait_until(lambda: self.ended[code] >= wanted, _CALL_TIMEOUT_S)
