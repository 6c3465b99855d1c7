"""Calls as the rest of crirm sees them: a held call, its handler, and the outcome.

A *held* call is handled by a function that is a Trio task of its own in the requests nursery:

    async def handler(call: HeldCall) -> bytes | None:
        ...                                    # decode, prepare, decide, save
        answer = await call.forward(message)   # the runtime acts
        ...                                    # note
        return None                            # the caller gets the runtime's reply

Deadline, disconnection and drain cancel the task like any Trio task. ``forward`` is shielded from that, because the
runtime may have acted: it always returns an `Answer`, even if the caller no longer waits.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

import attrs

from crirm.errors import CrirmError

if TYPE_CHECKING:
    from grpclib.const import Status


@attrs.frozen
class Answer:
    """How a held call ended at the runtime.

    Args:
        status: gRPC code, 0 for OK.
        message: the reply's bytes; None unless the status is OK.
        certain: False if the connection or the time ran out, or the reply is malformed: the runtime may or may not have
            acted.
    """

    status: int
    message: bytes | None
    certain: bool = True


@attrs.frozen
class Refusal:
    """Why a call is not forwarded, as sent to the caller."""

    status: Status
    message: str


class CallRefusedError(CrirmError):
    """Raised by a handler: the call ends with *status* and is not forwarded."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class HeldCall(Protocol):
    """A call whose request is complete and not yet forwarded."""

    @property
    def message(self) -> bytes:
        """The request, uncompressed."""

    async def forward(self, message: bytes) -> Answer:
        """Send *message* to the runtime in place of the request, once, and return the outcome.

        Not interrupted by a cancelled scope; raises only `trio.Cancelled`, and that only where nothing was sent.
        """


Handler = Callable[[HeldCall], Awaitable[bytes | None]]
"""Handles one call; returns the reply's bytes to send in place of the runtime's, or None for the runtime's own."""
