"""What is kept of decisions for those who ask why."""

from __future__ import annotations

import attrs

from crirm.model.trail import Move, Trail  # noqa: TC001 - Explained is read back by its annotations


@attrs.frozen
class Explained:
    """A trail with when it was made and the name that its container had, which may be gone since."""

    at_s: float
    name: str
    trail: Trail


@attrs.frozen
class Refused:
    """The latest refusal of a container that has not been placed since.

    Args:
        at_s: wall-clock time.
        name: ``namespace/pod/container``.
        pod: ``namespace/pod``.
        container: the last part of the name.
        why: as the kubelet was told.
        times: it was refused one after the other.
    """

    at_s: float
    name: str
    pod: str
    container: str
    why: str
    times: int = 1


@attrs.frozen
class Moved:
    """A move with when it was made."""

    at_s: float
    move: Move
