"""What can be wrong with a configuration, and how it is told: ``reason @ $.path (line N)``."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

import attrs

from crirm.errors import CrirmError, clipped, quoted

ROOT: Final = "$"


@attrs.frozen
class Fault:
    """One thing that is wrong, or that one should know.

    Args:
        reason: what it is and what would be right.
        path: where, as ``$.policy.Active``; ``$`` for the whole.
        line: in the file, counted from 1; None where there is none.
    """

    reason: str
    path: str = ROOT
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.reason} @ {self.path}" + ("" if self.line is None else f" (line {self.line})")


class ConfigFaults(CrirmError):  # noqa: N818  # it is several faults, and its name is part of the interface
    """A configuration cannot be used; all that is wrong with it, in the order of its lines."""

    def __init__(self, name: str, faults: Iterable[Fault]) -> None:
        self.name = name
        self.faults = in_order(faults)
        super().__init__(name, self.faults)

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return f"{self.name}: {self.faults[0]}"
        return "\n  ".join([f"{self.name}: {len(self.faults)} faults", *map(str, self.faults)])


class ValueFault(ValueError):  # noqa: N818  # becomes a Fault once its place is known
    """A value is not what its option takes; the text is the reason."""


def in_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Return *faults* by line, those of the whole first, each once."""
    return tuple(sorted(dict.fromkeys(faults), key=lambda fault: (fault.line or 0, fault.path, fault.reason)))


def joined(*parts: str | int) -> str:
    """Return the path of *parts*: keys and places in lists."""
    return ROOT + "".join(f"[{part}]" if isinstance(part, int) else f".{clipped(part)}" for part in parts)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean ...?)`` with the *known* word nearest to *word*, nothing when none is near."""
    by_folded = {one.casefold(): one for one in known}
    near = get_close_matches(word.casefold(), by_folded, n=1)
    return f" (did you mean {by_folded[near[0]]}?)" if near else ""


def kind_of(value: object) -> str:
    """Return what *value* is, in the words of a person who writes configuration."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"the boolean {str(value).lower()}"
        case int() | float():
            return f"the number {value}"
        case str():
            return f"the text {quoted(value)}"
        case list():
            return "a list"
        case _:
            return "a mapping"
