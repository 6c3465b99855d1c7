"""A connection whose runtime does not finish a frame is closed: garbage looks like the header of a huge frame.

All later data would be taken for the rest of that frame, and no call would ever be answered.
"""

from __future__ import annotations

from typing import Protocol

from crirm.rpc import bridge

REST_WITHIN_S = 5.0  # a frame has 16 KiB, which a runtime writes at once


class Connection(Protocol):
    """To the runtime."""

    @property
    def half_a_frame(self) -> int:
        """Size of an incomplete frame."""

    @property
    def lost(self) -> bool:
        """Whether it is closed."""

    def fail(self, reason: str) -> None:
        """Close it."""


class RestOfFrames:
    """Watches one connection to the runtime."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._received_bytes = 0
        self._watching = False
        self._reads = self._has_read = True  # now, and since it was looked last

    def reads(self, *, wanted: bool) -> None:
        """Note whether crirm reads the connection; while it does not, nothing can arrive."""
        self._reads = wanted
        self._has_read = self._has_read and wanted

    def received(self, size_bytes: int) -> None:
        """Note *size_bytes* more bytes of progress."""
        self._received_bytes += size_bytes
        if not self._watching and self._connection.half_a_frame and not self._connection.lost:
            self._watch()

    @property
    def _read_bytes(self) -> int:
        return self._received_bytes - self._connection.half_a_frame

    def _watch(self) -> None:
        self._watching = True
        bridge.loop().call_later(REST_WITHIN_S, self._look, self._read_bytes)

    def _look(self, read_bytes: int) -> None:
        self._watching = False
        if self._connection.lost or not self._connection.half_a_frame:
            return
        has_read, self._has_read = self._has_read, self._reads
        if self._read_bytes == read_bytes and has_read:
            self._connection.fail(f"rest of a frame did not arrive within {REST_WITHIN_S:g} s")
        else:
            self._watch()
