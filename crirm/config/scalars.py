"""What an unquoted word of YAML is: a string, a number, a boolean or null.

Parsers of YAML differ here: ``010``, ``1e3``, ``y`` and ``12:30`` mean different things to different
ones. Existing files were written for the original's parser, so its rules apply, not PyYAML's.
Source: gopkg.in/yaml.v2 behind sigs.k8s.io/yaml, as CRI Resource Manager uses it; Go's strconv.
"""

from __future__ import annotations

import re
from typing import Final

Scalar = bool | int | float | str | None

_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
}
_SPECIAL: Final = {
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
}
_INT: Final = re.compile(
    r"(?P<sign>[+-]?)(?:0[xX](?P<hex>[0-9a-fA-F]{1,16})|0[bB](?P<bin>[01]{1,64})|0[oO]?(?P<oct>[0-7]{1,22})"
    r"|(?P<dec>0|[1-9][0-9]{0,19}))"
)
_BASES: Final = {"hex": 16, "bin": 2, "oct": 8, "dec": 10}
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INT64: Final = 1 << 63


def resolve(word: str) -> Scalar:
    """Return the value of the unquoted *word*."""
    if word in _WORDS:
        return _WORDS[word]
    if word in _SPECIAL:
        return _SPECIAL[word]
    if not word.startswith((*"0123456789+-.",)):
        return word
    digits = word if word.startswith(".") else word.replace("_", "")
    whole = _whole(digits)
    if whole is not None:
        return whole
    if _FLOAT.fullmatch(digits):
        number = float(digits)
        return word if number in (float("inf"), float("-inf")) else number
    return word


def _whole(digits: str) -> int | None:
    found = _INT.fullmatch(digits)
    if found is None:
        return None
    base = next(name for name in _BASES if found[name] is not None)
    number = int(found[base], _BASES[base])
    if found["sign"]:
        number = -number if found["sign"] == "-" else number
        return number if -_INT64 <= number < _INT64 else None
    return number if number < 2 * _INT64 else None


def as_text(value: Scalar) -> str:
    """Return an unquoted scalar as a string: for a key, or for an option that takes a string."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e21:
            return str(int(value))
        case _:
            return str(value)
