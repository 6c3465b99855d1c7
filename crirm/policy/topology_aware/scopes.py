"""For what a pool is chosen: for each container, or for the pod; see `pods`."""

from __future__ import annotations

import enum

from crirm.errors import CrirmError, quoted


class Scope(enum.Enum):
    """For what a pool is chosen."""

    CONTAINER = "container"
    POD = "pod"


class ScopeError(CrirmError, ValueError):
    """A text names no scope."""


def scope_of(text: str) -> Scope:
    """Return the scope that *text* names.

    Raises:
        ScopeError: it names none.
    """
    try:
        return Scope(text.strip())
    except ValueError:
        raise ScopeError(f"{quoted(text)} is not a placement scope; write container or pod") from None
