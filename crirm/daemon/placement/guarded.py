"""A participant that cannot fail halfway: its own failure is told to it as an answer of which nothing is known.

What a participant decides is undone, and the runtime asked what it has, when it cannot read an answer or has a bug. The
kubelet gets the runtime's bytes all the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from grpclib.const import Status

from crirm.cri.message import MalformedError
from crirm.logs import get_logger
from crirm.rpc.held import Answer

if TYPE_CHECKING:
    from crirm.rpc.held import Held, Interceptor

log = get_logger("runtime")

NOTHING_KNOWN = Answer(Status.UNKNOWN.value, None, certain=False)


@attrs.frozen
class Guarded:
    """An `Interceptor` around another.

    Args:
        method: of the RuntimeService, for people.
        inner: takes part.
    """

    method: str
    inner: Interceptor

    def request(self, message: bytes, held: Held) -> None:
        """See `Interceptor`; after a bug nothing stays reserved."""
        try:
            self.inner.request(message, held)
        except Exception:
            self.inner.abandoned()
            raise

    def reply(self, answer: Answer) -> bytes | None:
        """See `Interceptor`."""
        try:
            return self.inner.reply(answer)
        except MalformedError as error:
            log.warning(
                "an answer of the runtime cannot be read; it is asked what it has",
                method=self.method,
                reason=str(error),
            )
        except Exception:
            log.exception("an answer could not be taken note of, this is a bug in crirm", method=self.method)
        self.inner.reply(NOTHING_KNOWN)
        return None

    def abandoned(self) -> None:
        """See `Interceptor`."""
        self.inner.abandoned()
