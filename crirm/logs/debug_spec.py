"""The syntax of debug switches: a comma-separated list of ``[state:]source``.

A state holds for the sources that follow until the next state; it starts as *on*. ``*`` and ``all`` mean every source
that is not named itself, wherever in the list they stand.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING

from crirm.errors import CrirmError
from crirm.logs.source import EVERY_SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterable

STATES = {
    **dict.fromkeys(("on", "enable", "enabled", "true", "yes", "1"), True),
    **dict.fromkeys(("off", "disable", "disabled", "false", "no", "0"), False),
}


class DebugSpecError(CrirmError):
    """A debug list is malformed."""


def parse_debug(text: str, *, where: str) -> dict[str, bool]:
    """Read a debug list.

    Args:
        text: for example ``relay,off:cri,message`` or ``*``; spaces around entries and empty entries do not matter.
        where: what *text* came from, for the fault: ``LOGGER_DEBUG``, ``--logger-debug``, ``$.logger.Debug``.

    Returns:
        source name (or ``*``) to on or off; the last word on a source counts.

    Raises:
        DebugSpecError: the first entry that cannot be read, with what would be right.
    """
    states: dict[str, bool] = {}
    state = True
    for entry in filter(None, map(str.strip, text.split(","))):
        head, colon, tail = map(str.strip, entry.partition(":"))
        source = tail if colon else head
        if colon:
            if head.lower() not in STATES or not tail or ":" in tail:
                raise DebugSpecError(_fault(entry, head, tail, where))
            state = STATES[head.lower()]
        states[EVERY_SOURCE if source == "all" else source] = state
    return states


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Return `` (did you mean ...?)`` with the candidate nearest to *word*, or nothing when none is near."""
    near = get_close_matches(word, list(candidates), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def _fault(entry: str, head: str, tail: str, where: str) -> str:
    if tail.lower() in STATES:
        right = f"write the state first, {tail.lower()}:{head}"
    elif not tail:
        right = f"name a source after the colon, for example {head or 'on'}:relay"
    elif ":" in tail:
        right = "separate entries by commas, for example on:relay,off:message"
    else:
        right = f"unknown state {head!r}{nearest(head.lower(), STATES)}; use on or off, for example on:{tail}"
    return f"{where}: cannot read {entry!r}: {right}"
