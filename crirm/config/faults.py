"""Faults in a configuration, written as ``reason @ $.path (line N)``."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

import attrs

from crirm.errors import CrirmError, clipped, quoted

ROOT: Final = "$"


@attrs.frozen
class Fault:
    """A fault or a warning.

    Args:
        reason: what is wrong and what would be right.
        path: where, such as ``$.policy.Active``; ``$`` for the whole.
        line: in the file, counted from 1; None if unknown.
    """

    reason: str
    path: str = ROOT
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.reason} @ {self.path}" + ("" if self.line is None else f" (line {self.line})")


class ConfigFaults(CrirmError):  # noqa: N818  # it is several faults, and its name is part of the interface
    """A configuration is invalid; holds all its faults, in the order of their lines."""

    def __init__(self, name: str, faults: Iterable[Fault]) -> None:
        self.name = name
        self.faults = in_order(faults)
        super().__init__(name, self.faults)

    def __str__(self) -> str:
        if len(self.faults) == 1:
            return f"{self.name}: {self.faults[0]}"
        return "\n  ".join([f"{self.name}: {len(self.faults)} faults", *map(str, self.faults)])


class ValueFault(ValueError):  # noqa: N818  # becomes a Fault once its place is known
    """An option does not take a value; the message is the reason."""


def in_order(faults: Iterable[Fault]) -> tuple[Fault, ...]:
    """Return *faults* by line, those without a line first, without duplicates."""
    return tuple(sorted(dict.fromkeys(faults), key=lambda fault: (fault.line or 0, fault.path, fault.reason)))


def joined(*parts: str | int) -> str:
    """Return the path of *parts*: keys and list indexes."""
    return ROOT + "".join(f"[{part}]" if isinstance(part, int) else f".{clipped(part)}" for part in parts)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean ...?)`` with the *known* word nearest to *word*, or nothing."""
    by_folded = {one.casefold(): one for one in known}
    near = get_close_matches(word.casefold(), by_folded, n=1)
    return f" (did you mean {by_folded[near[0]]}?)" if near else ""


def kind_of(value: object) -> str:
    """Return what *value* is, as a configuration's author would name it."""
    match value:
        case None:
            return "nothing"
        case bool():
            return f"boolean {str(value).lower()}"
        case int() | float():
            return f"number {value}"
        case str():
            return f"string {quoted(value)}"
        case list():
            return "a list"
        case _:
            return "a mapping"
