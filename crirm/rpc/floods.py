"""Limits on frames that do not advance a call, before the peer's connection is closed.

An HTTP/2 peer can cause work for the other side with frames that cost it nothing: calls that are cancelled as soon as
they begin (CVE-2023-44487), pings and settings that want an answer (CVE-2019-9512, CVE-2019-9515), empty frames
(CVE-2019-9518). Each kind has an allowance that refills with time; a normal caller stays far below it, and one that
exceeds it loses its connection with ENHANCE_YOUR_CALM (RFC 9113 section 10.5).
"""

from __future__ import annotations

import enum

import attrs


class Kind(enum.Enum):
    """A counted kind: size of the allowance, refill per second, and name."""

    RESET = (2000, 200.0, "cancelled calls")  # a kubelet that gives up cancels hundreds at once, and then closes
    SETTINGS = (100, 1.0, "settings")  # each visits every stream
    PING = (10_000, 2000.0, "pings")  # grpc-go sends one per read while it measures the bandwidth
    IDLE = (20_000, 5000.0, "empty frames")  # empty DATA, PRIORITY, unknown frames, updates of closed streams
    UNREAD = (1000, 1.0, "calls or frames while not reading replies")

    def __init__(self, most: int, per_s: float, called: str) -> None:
        self.most = most
        self.per_s = per_s
        self.called = called


@attrs.define
class Allowances:
    """The remaining allowances of one peer."""

    _spent: dict[Kind, float] = attrs.field(factory=dict)
    _at_s: dict[Kind, float] = attrs.field(factory=dict)

    def spend(self, kind: Kind, now_s: float) -> bool:
        """Use one of *kind*, at the monotonic time *now_s* in seconds; False if none is left."""
        back = (now_s - self._at_s.get(kind, now_s)) * kind.per_s
        spent = max(0.0, self._spent.get(kind, 0.0) - back) + 1
        self._spent[kind], self._at_s[kind] = spent, now_s
        return spent <= kind.most
