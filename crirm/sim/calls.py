"""Calls in flight, and the outcomes of finished ones."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Calls:
    """Counters by path, ``/package.Service/Method``."""

    def __init__(self) -> None:
        self.in_flight: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.cancelled: Counter[str] = Counter()

    @contextmanager
    def track(self, path: str) -> Iterator[None]:
        """Count a call of *path* while the body runs.

        An Exception is a failure; any other interruption of the body is caused by the client: it disconnected, or its
        deadline passed.
        """
        self.in_flight[path] += 1
        try:
            yield
        except Exception:
            self.failed[path] += 1
            raise
        except BaseException:
            self.cancelled[path] += 1
            raise
        else:
            self.answered[path] += 1
        finally:
            self.in_flight[path] -= 1

    def summary(self) -> dict[str, dict[str, int]]:
        """Return all counters that are not 0."""
        kinds = {
            "in_flight": self.in_flight,
            "answered": self.answered,
            "failed": self.failed,
            "cancelled": self.cancelled,
        }
        return {kind: {path: count for path, count in counter.items() if count} for kind, counter in kinds.items()}
