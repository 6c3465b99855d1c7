"""Command lines as in Go's flag package: ``-x``, ``--x``, ``-x=v`` and ``-x v``.

A boolean takes no separate value, and the first argument that is neither a flag nor a value ends the flags.
Source: Go's package flag, "Command line flag syntax".
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, Final

import attrs

from crirm.cli.errors import did_you_mean
from crirm.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TRUE: Final = frozenset(("1", "t", "T", "TRUE", "true", "True"))  # Source: Go's strconv.ParseBool
FALSE: Final = frozenset(("0", "f", "F", "FALSE", "false", "False"))
DURATION_PART: Final = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")  # Source: Go's time.ParseDuration
DURATION: Final = re.compile(rf"[+-]?(0|({DURATION_PART.pattern})+)")
UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class FlagError(UsageError):
    """The command line has an unknown flag or an invalid value."""


class Kind(enum.Enum):
    """The type of a flag's value."""

    BOOL = "bool"
    STRING = "string"
    INT = "int"
    DURATION = "duration"


WANTED: Final = {Kind.BOOL: "a boolean", Kind.INT: "a whole number", Kind.DURATION: "a duration"}
EXAMPLE: Final = {Kind.BOOL: "true", Kind.STRING: "VALUE", Kind.INT: "4", Kind.DURATION: "30s"}


@attrs.frozen
class Flag:
    """One flag: its name without dashes, and the type of its value."""

    name: str
    kind: Kind = Kind.STRING


@attrs.frozen
class Parsed:
    """A parsed command line."""

    values: Mapping[str, tuple[str, ...]]  # by flag name, in the order given; a boolean is "true" or "false"
    positional: tuple[str, ...]

    def last(self, name: str) -> str | None:
        """Return the last value of the flag, which counts; None if it was not given."""
        return self.values[name][-1] if name in self.values else None

    def is_on(self, name: str) -> bool:
        """Return whether the boolean *name* was given and is true."""
        return self.last(name) == "true"


def parse(argv: Sequence[str], flags: Mapping[str, Flag]) -> Parsed:
    """Parse *argv* (without the program's name).

    Raises:
        FlagError: an unknown flag, with a suggestion; a missing or invalid value.
    """
    values: dict[str, tuple[str, ...]] = {}
    rest = list(argv)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.removeprefix("-").removeprefix("-").partition("=")
        flag = flags.get(name)
        if flag is None:
            raise FlagError(_unknown(word.partition("=")[0], name, flags))
        if not equals:
            value = _next_value(word, flag, rest)
        values[name] = (*values.get(name, ()), check_value(word.partition("=")[0], flag, value))
    return Parsed(values, tuple(rest))


def _next_value(word: str, flag: Flag, rest: list[str]) -> str:
    if flag.kind is Kind.BOOL:
        return "true"
    if not rest:
        raise FlagError(f"{word}: needs a value, as in {word}={EXAMPLE[flag.kind]}")
    return rest.pop(0)


def check_value(where: str, flag: Flag, value: str) -> str:
    """Return *value*, a boolean as ``true`` or ``false``.

    Args:
        where: the value comes from, for the error.
        flag: whose value it is.
        value: to check.

    Raises:
        FlagError: it is invalid.
    """
    match flag.kind:
        case Kind.BOOL if value in TRUE | FALSE:
            return "true" if value in TRUE else "false"
        case Kind.INT if re.fullmatch(r"[+-]?\d+", value):
            return value
        case Kind.DURATION if DURATION.fullmatch(value):
            return value
        case Kind.STRING:
            return value
    raise FlagError(f"{where}: invalid value {value!r}; expected {WANTED[flag.kind]} such as {EXAMPLE[flag.kind]}")


def duration_s(text: str) -> float:
    """Return the seconds that the Go duration *text* (checked already) stands for, for example 90.0 for ``1m30s``."""
    seconds = sum(float(number) * UNITS_S[unit] for number, unit in DURATION_PART.findall(text))
    return -seconds if text.startswith("-") else seconds


def _unknown(word: str, name: str, flags: Mapping[str, Flag]) -> str:
    dashes = word[: len(word) - len(name)]
    return f"{word}: no such flag{did_you_mean(word, [dashes + known for known in flags])}"
