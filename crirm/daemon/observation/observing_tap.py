"""The tap of the relay: shows passing calls to whoever observes them for placement, beside what the dump wants to see.

Apart from what observes, so that a daemon that only relays stays small.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from crirm.cri.ended import TELLING
from crirm.daemon.relay.router import runtime_method

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc.tap import CallTap, Outcome, Tap

CALLS_WATCHED: Final = 8  # of each method that tells states, at once: a list is kept until it is whole


class Observing(Protocol):
    """Whoever observes calls."""

    def observer(self, method: str) -> CallTap | None:
        """See ``relay.Deciding``."""


@attrs.frozen
class ObservingTap:
    """The tap of the relay.

    Args:
        observing: returns who observes right now; None when nobody does.
        dump: the other tap.
    """

    observing: Callable[[], Observing | None]
    dump: Tap
    _watched: Counter[str] = attrs.field(factory=Counter, init=False)

    def open(self, path: str) -> CallTap | None:
        """See ``rpc.tap.Tap``."""
        dumped, method = self.dump.open(path), runtime_method(path)
        observing = self.observing() if method and self._watched[method] < CALLS_WATCHED else None
        observer = observing.observer(method) if observing is not None else None
        if observer is None:
            return dumped
        self._watched[method] += method in TELLING
        return _Call(method, observer, dumped, self._watched)


@attrs.frozen
class _Call:
    """The tap of one call."""

    method: str
    observer: CallTap
    dumped: CallTap | None
    watched: Counter[str]

    def request(self, message: bytes) -> None:
        """See ``rpc.tap.CallTap``."""
        self.observer.request(message)
        if self.dumped is not None:
            self.dumped.request(message)

    def reply(self, message: bytes) -> None:
        """See ``rpc.tap.CallTap``."""
        self.observer.reply(message)
        if self.dumped is not None:
            self.dumped.reply(message)

    def close(self, outcome: Outcome) -> None:
        """See ``rpc.tap.CallTap``."""
        self.watched[self.method] -= self.method in TELLING
        self.observer.close(outcome)
        if self.dumped is not None:
            self.dumped.close(outcome)
