"""Between the event loop and the writer of the message dump: bounded, and honest about what did not fit."""

from __future__ import annotations

from collections import deque

import trio

from crirm.daemon.dump.text import LeftOut, Record


class Queue:
    """Records on their way from the event loop to the writer, bounded by number and by bytes.

    Args:
        max_bytes: of message bytes that wait; one message alone may be larger.
        max_records: that wait.
    """

    def __init__(self, max_bytes: int, max_records: int) -> None:
        self._max_bytes = max_bytes
        self._max_records = max_records
        self._records: deque[tuple[Record, int]] = deque()
        self._bytes = 0
        self._left_out = 0
        self._filled = trio.Event()

    def __len__(self) -> int:
        return len(self._records) + self._left_out

    def put(self, record: Record, size_bytes: int) -> None:
        """Add *record*, or count it as left out when there is no room."""
        too_many = len(self._records) >= self._max_records
        if too_many or (self._records and self._bytes + size_bytes > self._max_bytes):
            self._left_out += 1
        else:
            self._records.extend((note, 0) for note in self._left_out_so_far())
            self._records.append((record, size_bytes))
            self._bytes += size_bytes
        self._filled.set()

    async def wait(self) -> None:
        """Return once there is something to take."""
        await self._filled.wait()

    def take(self, max_bytes: int, max_records: int) -> list[Record]:
        """Remove and return the oldest records, at least one if there are any, up to about these bounds."""
        batch: list[Record] = []
        taken_bytes = 0
        while self._records and len(batch) < max_records and taken_bytes < max_bytes:
            record, size_bytes = self._records.popleft()
            batch.append(record)
            taken_bytes += size_bytes
        self._bytes -= taken_bytes
        if not self._records:
            batch += self._left_out_so_far()
            self._filled = trio.Event()
        return batch

    def _left_out_so_far(self) -> list[Record]:
        left_out, self._left_out = self._left_out, 0
        return [LeftOut(left_out)] if left_out else []
