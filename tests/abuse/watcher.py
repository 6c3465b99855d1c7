"""Somebody else: a caller with a connection of its own, which makes one call again and again."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

import attrs

from tests.conformance.client import GrpcioClient, unary
from tests.conformance.cri import wait_until
from tests.integration.support import OK, VERSION

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_PAUSE_S = 0.005
PATIENCE_S = 20.0  # a call that takes longer hangs


@attrs.frozen
class Figures:
    """What the caller has seen.

    Args:
        calls: that it made.
        failed: those that ended with another status than OK.
        p50_ms: half of the calls took no longer, in milliseconds.
        p99_ms: likewise, 99 of 100.
        longest_ms: likewise, all.
    """

    calls: int
    failed: int
    p50_ms: float
    p99_ms: float
    longest_ms: float

    def __str__(self) -> str:
        return (
            f"another caller: {self.calls} calls, {self.failed} failed, p50 {self.p50_ms:.1f} ms, "
            f"p99 {self.p99_ms:.1f} ms, longest {self.longest_ms:.1f} ms"
        )


class Watcher:
    """Calls in a thread of its own while the block lasts.

    Args:
        socket: crirm's.
        path: what is called.
        request: with what.
        expected: the gRPC code that it ends with when all is well.
    """

    def __init__(self, socket: Path, path: str = VERSION, request: bytes = b"", expected: int = OK) -> None:
        self._call, self._expected = (path, request), expected
        self._client = GrpcioClient(socket)
        self._over = threading.Event()
        self._took_s: list[float] = []
        self._codes: list[int] = []
        self._thread = threading.Thread(target=self._call_for_ever, name="another caller")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self._client.close()

    def _call_for_ever(self) -> None:
        while not self._over.wait(_PAUSE_S):
            began_s = time.monotonic()
            self._codes.append(unary(self._client, *self._call, timeout_s=PATIENCE_S).code)
            self._took_s.append(time.monotonic() - began_s)

    def figures(self) -> Figures:
        """What it has seen until now; it must not have been kept waiting."""
        wait_until(lambda: bool(self._took_s), PATIENCE_S + 1)
        took_s = sorted(self._took_s)
        assert took_s[-1] < PATIENCE_S, "a call hung"
        failed = sum(code != self._expected for code in self._codes)
        p50_s, p99_s = took_s[len(took_s) // 2], took_s[len(took_s) * 99 // 100]
        return Figures(len(took_s), failed, p50_s * 1e3, p99_s * 1e3, took_s[-1] * 1e3)
