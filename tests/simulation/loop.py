"""The loop that stands for asyncio's: callbacks in the order of virtual time, run by one Trio task."""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Any

import attrs
import trio

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.define(eq=False)
class Handle:
    """A callback that waits."""

    callback: Callable[..., object] | None
    args: tuple[Any, ...]

    def cancel(self) -> None:
        """Let it not be called."""
        self.callback, self.args = None, ()


class VirtualLoop:
    """Callbacks by time.

    Args:
        failed: told of what a callback raises; asyncio would log it and go on.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._heap: list[tuple[float, int, Handle]] = []
        self._numbers = itertools.count()
        self._wake = trio.Event()
        self._next_s = float("inf")  # until when the task sleeps
        self.called = 0

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Handle:
        """Call *callback* when everything that is due before it was called."""
        return self.call_later(0.0, callback, *args)

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Call *callback* in *delay_s* seconds."""
        handle = Handle(callback, args)
        at_s = trio.current_time() + delay_s
        heapq.heappush(self._heap, (at_s, next(self._numbers), handle))
        if at_s < self._next_s:
            self._next_s = at_s
            self._wake.set()
        return handle

    async def run(self) -> None:
        """Call them, for ever."""
        while True:
            self._call_due()
            self._wake = trio.Event()
            self._next_s = self._heap[0][0] if self._heap else float("inf")
            with trio.move_on_at(self._next_s):
                await self._wake.wait()

    def _call_due(self) -> None:
        heap, now_s, self._next_s = self._heap, trio.current_time(), float("-inf")
        while heap and heap[0][0] <= now_s:
            _, _, handle = heapq.heappop(heap)
            if handle.callback is None:
                continue
            self.called += 1
            try:
                handle.callback(*handle.args)
            except Exception as error:  # noqa: BLE001 - as asyncio does
                self._failed(error)
