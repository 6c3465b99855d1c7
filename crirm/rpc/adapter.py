"""Until held calls have a server of their own: a `Handler` in the place of an `Interceptor`, as a Trio task.

It goes when the frame splice comes. asyncio-flavoured but for what says that it is Trio-flavoured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio
from grpclib.const import Status

from crirm.errors import OUR_FAULT
from crirm.logs import get_logger
from crirm.rpc.calls import Answer, CallRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.rpc import held
    from crirm.rpc.calls import Handler

log = get_logger("relay")


def handled(handler: Handler, nursery: trio.Nursery) -> Handled:
    """Return what has *handler* handle one call, as a task in *nursery*."""
    return Handled(handler, nursery)


@attrs.define(eq=False)
class Handled:
    """Takes part in one call; see ``held.Interceptor``."""

    handler: Handler
    nursery: trio.Nursery
    message: bytes = b""
    _held: held.Held | None = attrs.field(default=None, init=False)
    _answer: Answer | None = attrs.field(default=None, init=False)
    _answered: trio.Event = attrs.field(factory=trio.Event, init=False)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope, init=False)
    _then: Callable[[bytes | None], None] | None = attrs.field(default=None, init=False)

    def request(self, message: bytes, held: held.Held) -> None:
        """See ``held.Interceptor``."""
        self.message, self._held = message, held
        self.nursery.start_soon(self._handle, held)

    def abandoned(self) -> None:
        """See ``held.Interceptor``."""
        self._scope.cancel()

    def reply(self, answer: held.Answer, then: Callable[[bytes | None], None]) -> None:
        """Have the handler see *answer*, and *then* called with the bytes to reply with."""
        self._answer, self._then = Answer(answer.status, answer.message, answer.certain), then
        self._answered.set()

    async def forward(self, message: bytes) -> Answer:
        """Trio-flavoured: see ``calls.HeldCall``."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._held is not None:
            self._held.forward(message)
        with trio.CancelScope(shield=True):
            await self._answered.wait()
        return self._answer or Answer(Status.UNKNOWN.value, None, certain=False)

    async def _handle(self, held: held.Held) -> None:
        other = None
        with self._scope:
            try:
                other = await self.handler(self)
            except CallRefusedError as refusal:
                held.refuse(refusal.status, refusal.message)
            except Exception:
                log.exception("a request could not be decided about")
                if self._answer is None:
                    held.refuse(Status.INTERNAL, OUR_FAULT)
        if self._then is not None:
            self._then(other)
