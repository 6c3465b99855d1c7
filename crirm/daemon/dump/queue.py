"""The bounded queue between the event loop and the writer of the message dump; reports what did not fit."""

from __future__ import annotations

from collections import deque

import trio

from crirm.daemon.dump.text import LeftOut, Record


class Queue:
    """Records for the writer, bounded by number and bytes.

    Args:
        max_bytes: of waiting messages; a single message may be larger.
        max_records: waiting.
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
        """Add *record*, or count it as dropped if there is no room."""
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
        """Remove and return the oldest records up to about these bounds, at least one if there are any."""
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
