"""Decoding requests and processing replies, whatever they contain.

If a reply cannot be read, or crirm has a bug, the decision is undone and the runtime's lists are read. The kubelet
gets the runtime's reply anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from grpclib.const import Status

from crirm.cri.message import MalformedError
from crirm.cri.reading import read
from crirm.logs import get_logger
from crirm.model.refusal import RefusalCode, RefusalReason, RefusedError
from crirm.rpc.calls import Answer, CallRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.cri.reading import M

T = TypeVar("T")
log = get_logger("runtime")

STATUSES: Final = {
    RefusalReason.NO_ROOM: Status.RESOURCE_EXHAUSTED,
    RefusalReason.BAD_REQUEST: Status.INVALID_ARGUMENT,
    RefusalReason.BAD_STATE: Status.FAILED_PRECONDITION,
    RefusalReason.FAULT: Status.INTERNAL,
    RefusalReason.NOT_NOW: Status.UNAVAILABLE,
}
NOTHING_KNOWN: Final = Answer(Status.UNKNOWN.value, None, certain=False)
_GONE: Final = (Status.OK.value, Status.NOT_FOUND.value)  # both mean that it no longer exists


def decoded(method: str, cls: type[M], message: bytes) -> M:
    """Return *message* decoded.

    Raises:
        CallRefusedError: it is malformed.
    """
    try:
        return read(cls, message)
    except MalformedError as error:
        refuse(malformed(method, error))


def malformed(method: str, error: Exception) -> RefusedError:
    """Return the refusal of a request of *method* that cannot be understood."""
    return RefusedError(RefusalCode.MALFORMED_REQUEST, f"{method}: {error}")


def unsaved(why: str) -> RefusedError:
    """Return the refusal of a request whose decision cannot be saved."""
    return RefusedError(RefusalCode.STATE_NOT_SAVED, why)


def refuse(refusal: RefusedError) -> NoReturn:
    """End the call with a refusal."""
    raise CallRefusedError(STATUSES[refusal.reason], str(refusal)) from refusal


def noted(method: str, note: Callable[[Answer], T], answer: Answer) -> T | None:
    """Return the result of *note* for *answer*; if it fails, call it again with an unknown outcome."""
    try:
        return note(answer)
    except MalformedError as error:
        log.warning(
            "cannot read a reply of the runtime; listing its containers instead", method=method, reason=str(error)
        )
    except Exception:
        log.exception("could not process a reply of the runtime; this is a bug in crirm", method=method)
    note(NOTHING_KNOWN)
    return None


def succeeded(answer: Answer) -> bool:
    """Whether the runtime has certainly done what was requested."""
    return answer.certain and answer.status == Status.OK.value


def is_gone(answer: Answer) -> bool:
    """Whether what was stopped or removed is certainly gone."""
    return answer.certain and answer.status in _GONE
