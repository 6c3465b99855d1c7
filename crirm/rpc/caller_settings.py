"""The caller's settings on a spliced connection, as far as crirm's own replies must respect them.

The runtime acknowledges the caller's settings, and the caller relies on them only then (RFC 9113 section 6.5.3). So
crirm uses neither a larger window before the acknowledgement nor a larger table after it. Nor may it shrink the table
before: the runtime may still refer to entries that would go. A window that is too small for a moment does no harm.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from crirm.rpc import frames as h2
from crirm.rpc.header_blocks import USUAL_TABLE_BYTES, table_size

if TYPE_CHECKING:
    from collections.abc import Iterable


class CallerSettings:
    """The caller's settings, including those that the runtime has not acknowledged yet."""

    def __init__(self) -> None:
        self.stream_window_bytes = h2.USUAL_WINDOW_BYTES  # that a new stream has for a reply of ours
        self.small_table = b""  # prefix of our blocks if the caller wants a small table
        self._window_bytes = h2.USUAL_WINDOW_BYTES  # as acknowledged
        self._pending: deque[dict[int, int]] = deque()

    def said(self, values: Iterable[tuple[int, int]]) -> int:
        """Note a SETTINGS frame, and return by how many bytes the window of every stream changes."""
        self._pending.append(dict(values))
        return self._change()

    def acknowledged(self) -> int:
        """Note an acknowledgement of the oldest pending settings, and return the same."""
        values = self._pending.popleft() if self._pending else {}
        self._window_bytes = values.get(h2.INITIAL_WINDOW_SIZE, self._window_bytes)
        if (size_bytes := values.get(h2.HEADER_TABLE_SIZE)) is not None:
            self.small_table = table_size(size_bytes) if size_bytes < USUAL_TABLE_BYTES else b""
        return self._change()

    def _change(self) -> int:
        pending = (values[h2.INITIAL_WINDOW_SIZE] for values in self._pending if h2.INITIAL_WINDOW_SIZE in values)
        before_bytes, self.stream_window_bytes = self.stream_window_bytes, min((self._window_bytes, *pending))
        return self.stream_window_bytes - before_bytes
