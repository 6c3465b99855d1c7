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
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from tests.conformance.client import Reply

_CALL_TIMEOUT_S = 60.0  # far more than any call takes: one that is ended by it has hung
_AFTER_FAILURE_S = 0.02  # what fails at once is not tried again at once
_MOST_BYTES = 50_000


@attrs.frozen
class Question:
    """A call, and how to tell its answer from those to other calls."""

    path: str
    request: bytes
    is_answered_by: Callable[[bytes], bool]


def echo(noise: random.Random) -> Question:
    """Ask the embedded runtime for *noise*."""
    request = noise.randbytes(noise.randrange(_MOST_BYTES))
    return Question(ECHO, request, request.__eq__)


@attrs.define(eq=False)
class Load:
    """Callers, each with a connection of its own, that make one call after the other until the block is left.

    Attributes:
        ended: how many calls ended with each status.
        mixed_up: answers to something else than was asked.
    """

    socket: Path
    callers: int
    ask: Callable[[random.Random], Question] = echo
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
        client = GrpcioClient(self.socket)
        try:
            while not self._stop.is_set():
                question = self.ask(noise)
                self._note(question, unary(client, question.path, question.request, timeout_s=_CALL_TIMEOUT_S))
        finally:
            client.close()

    def _note(self, question: Question, reply: Reply) -> None:
        with self._lock:
            self.ended[reply.code] += 1
            if reply.code == OK and not question.is_answered_by(reply.message):
                self.mixed_up.append(reply)
        if reply.code != OK:
            self._stop.wait(_AFTER_FAILURE_S)

    def wait_more(self, code: int, count: int = 1) -> None:
        """Wait until that many more calls have ended with *code*."""
        wanted = self.ended[code] + count
        wait_until(lambda: self.ended[code] >= wanted, _CALL_TIMEOUT_S)
