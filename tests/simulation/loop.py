"""The loop that stands for asyncio's: callbacks in the order of virtual time.

They are called by the clock when no task can run, so that a callback costs no change of task.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING, Any

import attrs
import trio

from tests.simulation.clocks import monotonic_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.simulation.clocks import JumpingClock


@attrs.define(eq=False)
class Handle:
    """A callback that waits."""

    callback: Callable[..., object] | None
    args: tuple[Any, ...]
    owner: object = None

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
        self.called = 0

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Handle:
        """Call *callback* when everything that is due before it was called."""
        return self.call_later(0.0, callback, *args)

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Call *callback* in *delay_s* seconds."""
        return self.call_at(trio.current_time() + delay_s, callback, *args)

    def call_at(self, at_s: float, callback: Callable[..., object], *args: Any) -> Handle:
        """Call *callback* at *at_s*, after all that is to be called then already."""
        handle = Handle(callback, args)
        heapq.heappush(self._heap, (at_s, next(self._numbers), handle))
        return handle

    def now_s(self) -> float:
        """Return seconds since the run began."""
        return trio.current_time()

    def drop(self, owner: object) -> None:
        """Let nothing be called any more that is *owner*'s."""
        for _, _, handle in self._heap:
            if handle.owner is owner:
                handle.cancel()

    async def pause(self, delay_s: float, *, firmly: bool = False) -> None:
        """Sleep, at a part of what ``trio.sleep`` costs; *firmly*: cancelled or not."""
        handle = self.call_later(delay_s, trio.lowlevel.reschedule, trio.lowlevel.current_task())

        def abort(_raise_cancel: object) -> trio.lowlevel.Abort:
            if firmly:
                return trio.lowlevel.Abort.FAILED
            handle.cancel()
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def call_until(self, clock: JumpingClock, deadline_s: float) -> float | None:
        """Call what is due up to *deadline_s*; 0 as soon as a task is ready, None when none became so."""
        runner, heap = trio._core._run.GLOBAL_RUN_CONTEXT.runner, self._heap
        while heap and heap[0][0] <= deadline_s:
            at_s, _, handle = heapq.heappop(heap)
            if handle.callback is None:
                continue
            clock.now_s = max(clock.now_s, at_s)
            self.called += 1
            try:
                handle.callback(*handle.args)
            except Exception as error:  # noqa: BLE001 - as asyncio does
                self._failed(error)
            if runner.runq:
                return 0.0
            deadline_s = runner.deadlines.next_deadline()
        return None


@attrs.define(eq=False)
class LoopOfLife:
    """The loop of one process of crirm: what it has asked for is not done when it is dead.

    Args:
        loop: of everybody.
    """

    loop: VirtualLoop
    dead: bool = False

    def time(self) -> float:
        """Return what ``time.monotonic`` does."""
        return monotonic_s()

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Handle:
        """See `VirtualLoop`."""
        return self.call_later(0.0, callback, *args)

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> Handle:
        """See `VirtualLoop`."""
        if self.dead:
            return Handle(None, ())
        handle = self.loop.call_later(delay_s, callback, *args)
        handle.owner = self
        return handle

    def die(self) -> None:
        """Call nothing more."""
        self.dead = True
        self.loop.drop(self)
