"""Amounts of CPU and memory, and how Kubernetes writes them.

Everything is exact: a quantity is read as a fraction and rounded once, to the unit that the type names, in the
direction that Kubernetes rounds (away from zero).
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NewType

from crirm.errors import CrirmError, quoted

MilliCPU = NewType("MilliCPU", int)
"""Thousandths of a CPU."""

Bytes = NewType("Bytes", int)

_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
}
_BINARY = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40, "Pi": 1 << 50, "Ei": 1 << 60}
_SUFFIXES.update({suffix: Fraction(factor) for suffix, factor in _BINARY.items()})

_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40}))"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?\d{1,2}))?",
    re.ASCII,
)


class QuantityError(CrirmError, ValueError):
    """A text is not a Kubernetes quantity, or not one that makes sense for the resource."""


def parse_quantity(text: str) -> Fraction:
    """Return the exact value of a Kubernetes quantity such as ``1.5``, ``100m``, ``64Mi`` or ``1e3``.

    Raises:
        QuantityError: the text is not a quantity.

    Source: Kubernetes API reference, "Quantity".
    """
    found = _QUANTITY.fullmatch(text)
    if found is None:
        msg = f"{quoted(text)} is not a quantity; write a number with an optional suffix, such as 500m, 2, 64Mi or 1.5G"
        raise QuantityError(msg)
    factor = _SUFFIXES[found["suffix"] or ""]
    return Fraction(found["number"]) * factor * Fraction(10) ** int(found["exponent"] or 0)


def parse_millicpu(text: str) -> MilliCPU:
    """Return an amount of CPU in thousandths, rounded up; ``1.5`` is 1500.

    Raises:
        QuantityError: the text is not a quantity, or it is negative.
    """
    return MilliCPU(_round_up(text, parse_quantity(text) * 1000))


def parse_bytes(text: str) -> Bytes:
    """Return an amount of memory in bytes, rounded up; ``1Ki`` is 1024.

    Raises:
        QuantityError: the text is not a quantity, or it is negative.
    """
    return Bytes(_round_up(text, parse_quantity(text)))


def format_millicpu(amount: MilliCPU) -> str:
    """Write *amount* as Kubernetes does: whole CPUs without a suffix, all else in ``m``."""
    return f"{amount}m" if amount % 1000 else f"{amount // 1000}"


def _round_up(text: str, exact: Fraction) -> int:
    if exact < 0:
        msg = f"{quoted(text)} is negative; an amount of a resource is zero or more"
        raise QuantityError(msg)
    return -(-exact.numerator // exact.denominator)
