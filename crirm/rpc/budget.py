"""The memory that callers' calls may occupy: bounded per caller and in total; the largest call ends first.

Bytes are buffered where a decision needs a whole message, where a call waits for a stream of the runtime, and where
one side reads more slowly than the other sends. asyncio-flavoured: nothing waits.
"""

from __future__ import annotations

from typing import Protocol

MOST_OF_ONE_BYTES = 80 << 20  # of one caller: one message of maximum size, and many usual ones
MOST_BYTES = 160 << 20  # of all callers


class Holder(Protocol):
    """A call with buffered bytes."""

    def let_go(self, why: str) -> None:
        """End now, to free the memory; *why* is for the caller."""


class Budget:
    """The limit for all callers together."""

    def __init__(self, most_bytes: int = MOST_BYTES, most_of_one_bytes: int = MOST_OF_ONE_BYTES) -> None:
        self._most_bytes = most_bytes
        self._most_of_one_bytes = most_of_one_bytes
        self.held_bytes = 0
        self.accounts: set[Account] = set()  # of callers with buffered bytes

    def enforce(self, account: Account, holder: Holder) -> None:
        """End calls until the rest fits, after *holder* has buffered more."""
        if account.held_bytes > self._most_of_one_bytes:
            account.end(holder, f"this caller's calls buffer more than {self._most_of_one_bytes} bytes in crirm")
        while self.held_bytes > self._most_bytes:
            largest = max(self.accounts, key=lambda each: each.held_bytes)
            largest.end(
                largest.largest(),
                f"all calls together buffer more than {self._most_bytes} bytes in crirm, and this caller's the most",
            )


class Account:
    """The memory of one caller's calls."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._held: dict[Holder, int] = {}
        self.held_bytes = 0

    def hold(self, holder: Holder, more_bytes: int) -> None:
        """Note that *holder* has buffered *more_bytes*, or freed them if negative; it may be ended as a result."""
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
        """Note that *holder* has nothing buffered any more."""
        if holder in self._held:
            self.hold(holder, -self._held[holder])

    def largest(self) -> Holder:
        """Return the call with the most buffered bytes."""
        return max(self._held, key=self._held.__getitem__)

    def end(self, holder: Holder, why: str) -> None:
        """End *holder*."""
        self.release(holder)
        holder.let_go(why)
