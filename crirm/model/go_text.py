"""Booleans and durations in Go's syntax, as Kubernetes tools write them."""

from __future__ import annotations

import re
from typing import Final

from crirm.errors import CrirmError, quoted

_BOOLEANS: Final = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "FALSE", "false", "False"), False
)
_PART: Final = re.compile(r"(\d{1,15}\.?\d{0,15}|\.\d{1,15})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_DURATION: Final = re.compile(rf"([+-]?)(0|(?:{_PART.pattern})+)", re.ASCII)
_UNITS_S: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class GoTextError(CrirmError, ValueError):
    """A string is not a boolean or a duration in Go's syntax."""


def parse_bool(text: str) -> bool:
    """Parse a boolean.

    Raises:
        GoTextError: *text* is not valid.

    Source: Go's strconv.ParseBool.
    """
    if text not in _BOOLEANS:
        msg = f"{quoted(text)} is not a boolean; write true or false"
        raise GoTextError(msg)
    return _BOOLEANS[text]


def parse_duration_s(text: str) -> float:
    """Return the seconds of a duration such as ``90s``, ``1h30m`` or ``1.5s``; may be negative.

    Raises:
        GoTextError: *text* is not valid.

    Source: Go's time.ParseDuration.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        msg = f"{quoted(text)} is not a duration; write numbers with units, such as 60s or 1h30m"
        raise GoTextError(msg)
    seconds = sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(found[2]))
    return float(-seconds if found[1] == "-" else seconds)
