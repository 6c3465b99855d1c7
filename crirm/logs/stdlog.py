"""The records of libraries that use Python's standard logging, as records of crirm.

They come at warning and above, or entirely when their source is switched to debug; the same message at most once a
minute, because a library that complains once per packet must not drown the log.
"""

from __future__ import annotations

import logging
import re
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.logs.source import SourceLogger

INTERVAL_S: Final = 60.0
REMEMBERED_MESSAGES: Final = 256
RATE_LIMITED: Final = "<rate-limited>"  # the tag of CRI Resource Manager
GRPC_LIBRARIES: Final = ("grpclib", "h2", "hpack", "hyperframe")
_NUMBERS: Final = re.compile(r"0x[0-9a-f]+|\d+")


class RateLimit:
    """Lets the same message through once per interval and counts what it holds back.

    Args:
        interval_s: seconds from one passage to the next.
        clock: seconds, never going backwards.
    """

    def __init__(self, interval_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._seen: dict[str, tuple[float, int]] = {}

    def admit(self, message: str) -> int | None:
        """Return how many like *message* were held back since the last one that passed, or None to hold it back too.

        Messages that differ in numbers only (addresses, stream ids) are the same message.
        """
        kind = _NUMBERS.sub("#", message)
        now = self._clock()
        since, held_back = self._seen.get(kind, (now - self._interval_s, 0))
        if now - since < self._interval_s:
            self._seen[kind] = (since, held_back + 1)
            return None
        self._seen.pop(kind, None)
        if len(self._seen) >= REMEMBERED_MESSAGES:
            del self._seen[next(iter(self._seen))]
        self._seen[kind] = (now, 0)
        return held_back


class StdlogHandler(logging.Handler):
    """Hands standard logging's records on to the sources ``grpc`` and ``stdlog``."""

    def __init__(self, grpc: SourceLogger, others: SourceLogger, limit: RateLimit) -> None:
        super().__init__()
        self._grpc = grpc
        self._others = others
        self._limit = limit

    def emit(self, record: logging.LogRecord) -> None:
        """Log *record* unless its like passed within the last interval."""
        try:
            message = record.getMessage()
            held_back = self._limit.admit(f"{record.name} {message}")
            if held_back is not None:
                self._pass_on(record, message, held_back)
        except Exception:  # noqa: BLE001  a library's broken format string is reported, and never ends its caller
            self.handleError(record)

    def _pass_on(self, record: logging.LogRecord, message: str, held_back: int) -> None:
        facts: dict[str, Any] = {"logger": record.name}
        if held_back:
            message = f"{RATE_LIMITED} {message}"
            facts["held_back"] = held_back
        if record.exc_info:
            facts["exc_info"] = record.exc_info
        log = self._grpc if record.name.partition(".")[0] in GRPC_LIBRARIES else self._others
        log.emit(_level_name(record.levelno), message, **facts)


def route(handler: StdlogHandler, *, grpc_debug: bool, all_debug: bool) -> None:
    """Let *handler* have the records of all libraries, those below warning only where debug is wanted."""
    root = logging.getLogger()
    if handler not in root.handlers:
        root.addHandler(handler)
    root.setLevel(logging.DEBUG if all_debug else logging.WARNING)
    for library in GRPC_LIBRARIES:
        logging.getLogger(library).setLevel(logging.DEBUG if grpc_debug or all_debug else logging.WARNING)


def _level_name(number: int) -> str:
    names = (
        (logging.CRITICAL, "critical"),
        (logging.ERROR, "error"),
        (logging.WARNING, "warning"),
        (logging.INFO, "info"),
    )
    return next((name for level, name in names if number >= level), "debug")
