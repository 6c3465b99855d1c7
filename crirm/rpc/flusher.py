"""One write per connection for the results of one batch of frames."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from crirm.rpc import bridge

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc.http2 import Http2Connection


class Flusher:
    """Gathers the writes of one batch of frames, over all connections, and stamps the calls that were sent with it."""

    def __init__(self) -> None:
        self._dirty: list[Http2Connection] = []
        self._sent: list[Callable[[float], None]] = []
        self._held = False  # in a batch: flush at its end
        self._scheduled = False

    def add(self, connection: Http2Connection) -> None:
        """Note that *connection* has something to send."""
        if connection.dirty:
            return
        connection.dirty = True
        self._dirty.append(connection)
        if not self._held and not self._scheduled:
            self._scheduled = True
            bridge.loop().call_soon(self.flush)

    def when_sent(self, stamp: Callable[[float], None]) -> None:
        """Call *stamp* with the monotonic time in seconds once the current batch is sent."""
        self._sent.append(stamp)

    def hold(self) -> None:
        """Begin a batch."""
        self._held = True

    def flush(self) -> None:
        """End the batch: one write per connection that has something to send."""
        self._held = self._scheduled = False
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            connection.dirty = False
            if not connection.lost and not connection.connection.is_closing():  # asyncio logs writes to a broken pipe
                connection.connection.flush()
        if self._sent:
            sent, self._sent = self._sent, []
            now_s = monotonic()
            for stamp in sent:
                stamp(now_s)
