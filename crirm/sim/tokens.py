"""The URLs under which a client finds the stream that Exec, Attach or PortForward prepared for it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from grpclib import GRPCError
from grpclib.const import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    import betterproto

LIFE_NS = 60 * 10**9
"""A URL that nobody asked for is good for one minute, as in containerd."""
IN_FLIGHT = 1000


class Tokens:
    """Requests that wait for their client, each under a token that is good for one use."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self.base_url = ""
        self._clock = clock
        self._waiting: dict[str, tuple[int, betterproto.Message]] = {}

    def url(self, kind: str, request: betterproto.Message) -> str:
        """Keep *request* and return the URL for it; *kind* is ``exec``, ``attach`` or ``portforward``.

        Raises:
            GRPCError: RESOURCE_EXHAUSTED where too many wait.
        """
        now = self._clock()
        self._waiting = {token: kept for token, kept in self._waiting.items() if kept[0] > now}
        if len(self._waiting) >= IN_FLIGHT:
            raise GRPCError(Status.RESOURCE_EXHAUSTED, "maximum number of in-flight requests exceeded")
        token = secrets.token_urlsafe(6)
        self._waiting[token] = (now + LIFE_NS, request)
        return f"{self.base_url}/{kind}/{token}"

    def take(self, token: str) -> betterproto.Message | None:
        """Return the request kept under *token*, once; None if there is none or its time is over."""
        due, request = self._waiting.pop(token, (0, None))
        return request if due > self._clock() else None
