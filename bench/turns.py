"""How long the event loop of the daemon does not turn, seen without a change to the daemon.

``python -m bench.turns FILE ARGS...`` is ``crirm ARGS...`` with one difference: the selector, which asyncio asks for
events once per turn, notes how long the loop was away. FILE takes the longest turn so far; the benchmark reads it and
sets it back to zero between two measurements.
"""

from __future__ import annotations

import mmap
import selectors
import sys
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, thread_time
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator

_NUMBERS = 2
_SIZE_BYTES = 8 * _NUMBERS
_WALL, _CPU = range(_NUMBERS)


@attrs.frozen
class LongestTurn:
    """The longest turn of an event loop.

    Args:
        wall_ms: by the clock; longer than what the loop did where other processes wanted the CPU.
        cpu_ms: by the CPU time of its thread.
    """

    wall_ms: float
    cpu_ms: float


class TurnRecord:
    """The file between the daemon, which writes it, and the benchmark."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._numbers = memoryview(mmap.mmap(file.fileno(), _SIZE_BYTES)).cast("d")

    @classmethod
    def create(cls, path: Path) -> TurnRecord:
        """Make the file."""
        path.write_bytes(bytes(_SIZE_BYTES))
        return cls(path)

    def note(self, wall_s: float, cpu_s: float) -> None:
        """Keep what is longer than before."""
        self._numbers[_WALL] = max(self._numbers[_WALL], wall_s)
        self._numbers[_CPU] = max(self._numbers[_CPU], cpu_s)

    def take(self) -> LongestTurn:
        """Return the longest turn since the last time, and begin anew."""
        longest = LongestTurn(self._numbers[_WALL] * 1e3, self._numbers[_CPU] * 1e3)
        self._numbers[_WALL] = self._numbers[_CPU] = 0.0
        return longest


@contextmanager
def noting_turns(record: TurnRecord) -> Iterator[None]:
    """Let event loops made in the block note their turns in *record*."""
    plain = selectors.DefaultSelector

    class TurnSelector(plain):  # type: ignore[valid-type,misc] # whichever is this system's best
        """A selector that knows when it was asked last."""

        _left_s = _left_cpu_s = 0.0

        def select(self, timeout: float | None = None) -> Any:
            """Wait for events, as it would anyway."""
            if self._left_s:
                record.note(perf_counter() - self._left_s, thread_time() - self._left_cpu_s)
            ready = super().select(timeout)
            self._left_s, self._left_cpu_s = perf_counter(), thread_time()
            return ready

    selectors.DefaultSelector = TurnSelector  # type: ignore[misc] # where asyncio looks for it
    try:
        yield
    finally:
        selectors.DefaultSelector = plain  # type: ignore[misc]


def _main() -> None:
    from crirm.cli.main import main  # noqa: PLC0415 - the benchmark itself does without

    record = TurnRecord(Path(sys.argv[1]))
    sys.argv[:2] = ["crirm"]
    with noting_turns(record):
        main()


if __name__ == "__main__":
    _main()
