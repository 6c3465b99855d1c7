"""Virtual time: for Trio by a clock that jumps, for everybody else by other functions in the module ``time``.

crirm takes the time from ``time.time``, ``time_ns`` and ``monotonic``, often as default arguments and by ``from time
import``; so they are exchanged before crirm is imported, and the simulation has a process of its own.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import attrs
import trio

if TYPE_CHECKING:
    from tests.simulation.loop import VirtualLoop

EPOCH_S = 1_700_000_000.0  # wall-clock time at which every run begins
BOOT_S = 1000.0  # the monotonic clock then
MOST_IDLE = 1000  # looks

real_time, cpu_time = time.time, time.process_time


class DeadlockError(Exception):
    """Every task waits, and none for a time."""


class JumpingClock(trio.abc.Clock):
    """Goes on only when nothing is left to do, and then straight to the next deadline.

    Trio asks for the time to sleep exactly when no task can run, so that is the moment to jump.
    """

    def __init__(self) -> None:
        self.now_s = 0.0
        self._idle = 0
        self.loop: VirtualLoop | None = None

    def start_clock(self) -> None:
        """Nothing runs by itself."""

    def current_time(self) -> float:
        """Return seconds since the run began."""
        return self.now_s

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Jump to *deadline*, or to a callback before it, which may have made a task ready."""
        if self.loop is not None and (next_s := self.loop.call_until(self, deadline)) is not None:
            return next_s
        deadline = trio._core._run.GLOBAL_RUN_CONTEXT.runner.deadlines.next_deadline()
        if math.isinf(deadline):  # a task that is to run may just be on its way to the queue
            self._idle += 1
            if self._idle > MOST_IDLE:
                raise DeadlockError("every task waits, and none for a time")
            return 0.001
        self._idle = 0
        self.now_s = max(self.now_s, deadline)
        return 0.0


@attrs.define
class _Present:
    clock: JumpingClock | None = None
    skew_s: float = 0.0  # of the wall clock, which somebody may set


_present = _Present()


def use(clock: JumpingClock | None) -> None:
    """Take the time from *clock* from now on; None: from the real one."""
    _present.clock, _present.skew_s = clock, 0.0


def set_wall_clock(by_s: float) -> None:
    """Set the wall clock forward, or back."""
    _present.skew_s += by_s


def wall_s() -> float:
    """Stand for ``time.time``."""
    clock = _present.clock
    return real_time() if clock is None else EPOCH_S + clock.now_s + _present.skew_s


def monotonic_s() -> float:
    """Stand for ``time.monotonic``."""
    clock = _present.clock
    return time.perf_counter() if clock is None else BOOT_S + clock.now_s


def install() -> None:
    """Exchange the functions of the module ``time``, once and for the life of this process."""
    time.time = wall_s
    time.time_ns = lambda: int(wall_s() * 1e9)
    time.monotonic = monotonic_s
