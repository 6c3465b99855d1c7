"""Observing relayed calls: a tap is notified of every call, and gets the messages of those that it selects.

All methods run on the event loop between two socket operations: they store references and return.
"""

from __future__ import annotations

from typing import Protocol

import attrs


@attrs.frozen
class Latency:
    """How long a call took, in seconds: in crirm before the runtime, in the runtime, in crirm after it."""

    before_s: float
    runtime_s: float
    after_s: float


@attrs.frozen
class Outcome:
    """How a call ended.

    Args:
        status: gRPC status code, 0 is OK.
        message: gRPC status message, empty when OK.
        latency: see `Latency`.
        certain: False if the runtime may or may not have acted: the call was cancelled or interrupted.
    """

    status: int
    message: str
    latency: Latency
    certain: bool = True


class CallTap(Protocol):
    """The watcher of one call; ``close`` comes once and last."""

    def request(self, message: bytes) -> None:
        """Take one whole request message without its 5-byte prefix; compressed ones are ``compression.Packed``."""

    def reply(self, message: bytes) -> None:
        """Take one whole reply message, likewise."""

    def close(self, outcome: Outcome) -> None:
        """Note that the call has ended."""


class Tap(Protocol):
    """The watcher of all calls."""

    def open(self, path: str) -> CallTap | None:
        """Return the watcher of a new call to the gRPC method *path*, or None.

        Args:
            path: ``/package.Service/Method`` as the caller sent it.
        """


@attrs.frozen
class Both:
    """Passes a call to two watchers."""

    first: CallTap
    second: CallTap

    def request(self, message: bytes) -> None:
        """See `CallTap`."""
        self.first.request(message)
        self.second.request(message)

    def reply(self, message: bytes) -> None:
        """See `CallTap`."""
        self.first.reply(message)
        self.second.reply(message)

    def close(self, outcome: Outcome) -> None:
        """See `CallTap`."""
        self.first.close(outcome)
        self.second.close(outcome)
