"""The tap of the relay that shows answers in which nobody takes part to who takes note of them.

Apart from `observing`, so that a daemon that only relays stays small.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from crirm.cri.ended import TELLING
from crirm.cri.methods import INTERCEPTED, PACKAGES, RUNTIME_SERVICE

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc.tap import CallTap, Outcome, Tap

CALLS_WATCHED: Final = 8  # of each method at once: an answer is kept until it is whole
PASSING: Final = {
    f"/{package}.{RUNTIME_SERVICE}/{method}": method for package in PACKAGES for method in TELLING - INTERCEPTED
}
"""Paths of the calls that nobody takes part in, but whose answers tell of ends; of the others, participants tell."""


class Observer(Protocol):
    """Whoever takes note of answers."""

    def observed(self, method: str, answer: bytes) -> None:
        """See ``Observing``."""


@attrs.frozen
class ObservingTap:
    """The tap of the relay: shows passing answers that tell of ends, beside what the dump wants to see.

    Args:
        observer: returns who takes note right now; None when nobody does.
        dump: the other tap.
    """

    observer: Callable[[], Observer | None]
    dump: Tap
    _watched: Counter[str] = attrs.field(factory=Counter, init=False)

    def open(self, path: str) -> CallTap | None:
        """See ``rpc.tap.Tap``."""
        dumped = self.dump.open(path)
        method = PASSING.get(path)
        if method is None or self._watched[method] >= CALLS_WATCHED or (observer := self.observer()) is None:
            return dumped
        self._watched[method] += 1
        return _Call(method, observer, dumped, self._watched)


@attrs.frozen
class _Call:
    """The tap of one call."""

    method: str
    observer: Observer
    dumped: CallTap | None
    watched: Counter[str]

    def request(self, message: bytes) -> None:
        """See ``rpc.tap.CallTap``."""
        if self.dumped is not None:
            self.dumped.request(message)

    def reply(self, message: bytes) -> None:
        """See ``rpc.tap.CallTap``; the caller does not have the last bytes of *message* yet."""
        self.observer.observed(self.method, message)
        if self.dumped is not None:
            self.dumped.reply(message)

    def close(self, outcome: Outcome) -> None:
        """See ``rpc.tap.CallTap``."""
        self.watched[self.method] -= 1
        if self.dumped is not None:
            self.dumped.close(outcome)
