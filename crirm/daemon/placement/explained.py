"""The records of decisions for ``crirm explain``."""

from __future__ import annotations

import attrs

from crirm.model.trail import Move, Trail  # noqa: TC001 - Explained is read back by its annotations


@attrs.frozen
class Explained:
    """A trail with its time and the name of its container, which may be removed since."""

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
        why: as in the reply to the kubelet.
        code: see `model.refusal`.
        fits: changes with which it would have fitted, as the end of a sentence.
        times: number of consecutive refusals.
    """

    at_s: float
    name: str
    pod: str
    container: str
    why: str
    code: str
    times: int = 1
    fits: tuple[str, ...] = ()


@attrs.frozen
class Moved:
    """A move with its time."""

    at_s: float
    move: Move
