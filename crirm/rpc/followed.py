"""An observed call: its frames are assembled into messages for a tap."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

from crirm.rpc.grpc_wire import Deframer, find, status_of
from crirm.rpc.tap import Latency, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc.budget import Account
    from crirm.rpc.header_blocks import Headers
    from crirm.rpc.tap import CallTap


class Followed:
    """The `spliced_streams.Watch` of one call.

    Args:
        headers: of the request.
        tap: receives whole messages; None if not tapped.
        account: memory of the caller's calls.
        finished: called with the outcome.
    """

    def __init__(
        self, headers: Headers, tap: CallTap | None, account: Account, finished: Callable[[Outcome], None]
    ) -> None:
        self._tap = tap
        self._account = account
        self._finished = finished
        self._looks = True
        self._passed_s = monotonic()  # the request received so far
        self._request = _deframer(tap.request, headers) if tap is not None else None
        self._reply: Deframer | None = None

    def request(self, piece: bytes) -> None:
        """See `Watch`."""
        self._passed_s = monotonic()
        self._feed(self._request, piece)

    def reply_headers(self, headers: Headers) -> None:
        """See `Watch`."""
        if self._tap is not None and self._looks and self._reply is None:
            self._reply = _deframer(self._tap.reply, headers)

    def reply(self, piece: bytes) -> None:
        """See `Watch`."""
        self._feed(self._reply, piece)

    def _feed(self, deframer: Deframer | None, piece: bytes) -> None:
        if deframer is not None:
            before_bytes = deframer.buffered_bytes
            deframer.feed(piece)
            self._account.hold(self, deframer.buffered_bytes - before_bytes)

    def let_go(self, why: str) -> None:  # noqa: ARG002 - the call itself goes on
        """Stop observing: too much is buffered."""
        self._looks, self._request, self._reply = False, None, None

    def answered(self, trailers: Headers) -> None:
        """See `Watch`."""
        self._end(*status_of(trailers), certain=True)

    def broken(self, status: int, message: str) -> None:
        """See `Watch`."""
        self._end(status, message, certain=False)

    def _end(self, status: int, message: str, *, certain: bool) -> None:
        self._account.release(self)
        runtime_s = max(0.0, monotonic() - self._passed_s)
        outcome = Outcome(status, message, Latency(before_s=0.0, runtime_s=runtime_s, after_s=0.0), certain)
        if self._tap is not None:
            self._tap.close(outcome)
        self._finished(outcome)


def _deframer(deliver: Callable[[bytes], None], headers: Headers) -> Deframer:
    return Deframer(deliver, find(headers, b"grpc-encoding"), unpacks=False)
