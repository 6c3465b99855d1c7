"""How much of callers' calls is held in memory: bounded per caller and in total, and whoever holds the most pays.

Bytes are held where a message has to be whole before somebody decides, where a call waits for a stream of the runtime,
and where one side reads slower than the other sends. asyncio-flavoured: nothing waits.
"""

from __future__ import annotations

from typing import Protocol

MOST_OF_ONE_BYTES = 80 << 20  # of one caller: one message of the largest size, and many of the usual ones
MOST_BYTES = 160 << 20  # of all callers


class Holder(Protocol):
    """A call that holds bytes."""

    def let_go(self, why: str) -> None:
        """End now, so that what is held is free; *why* is for the caller."""


class Budget:
    """What all callers together may hold."""

    def __init__(self, most_bytes: int = MOST_BYTES, most_of_one_bytes: int = MOST_OF_ONE_BYTES) -> None:
        self._most_bytes = most_bytes
        self._most_of_one_bytes = most_of_one_bytes
        self.held_bytes = 0
        self.accounts: set[Account] = set()  # of callers that hold anything

    def enforce(self, account: Account, holder: Holder) -> None:
        """End calls until what is left fits, after *holder* has come to hold more."""
        if account.held_bytes > self._most_of_one_bytes:
            account.end(holder, f"this caller's calls buffer more than {self._most_of_one_bytes} bytes in crirm")
        while self.held_bytes > self._most_bytes:
            largest = max(self.accounts, key=lambda each: each.held_bytes)
            largest.end(
                largest.largest(),
                f"all calls together buffer more than {self._most_bytes} bytes in crirm, and this caller's the most",
            )


class Account:
    """What the calls of one caller hold."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held: dict[Holder, int] = {}
        self.held_bytes = 0

    def hold(self, holder: Holder, more_bytes: int) -> None:
        """Note that *holder* holds *more_bytes*, or less when that is negative; it may be ended because of it."""
        before = self._held.get(holder, 0)
        now = max(0, before + more_bytes)
        if now:
            self._held[holder] = now
        else:
            self._held.pop(holder, None)
        self.held_bytes += now - before
        self._budget.held_bytes += now - before
        (self._budget.accounts.add if self.held_bytes else self._budget.accounts.discard)(self)
        if more_bytes > 0:
            self._budget.enforce(self, holder)

    def release(self, holder: Holder) -> None:
        """Note that *holder* holds nothing any more."""
        if holder in self._held:
            self.hold(holder, -self._held[holder])

    def largest(self) -> Holder:
        """Return the call that holds the most."""
        return max(self._held, key=self._held.__getitem__)

    def end(self, holder: Holder, why: str) -> None:
        """End *holder*."""
        self.release(holder)
        holder.let_go(why)
