"""TOML to nodes, with the lines of everything."""

from __future__ import annotations

import re
from math import isfinite
from typing import Any, Final

import tomli

from crirm.config.faults import Fault, ValueFault, joined
from crirm.config.nodes import DocNode, Document, node_of
from crirm.config.toml_lines import Lines, lines_of

_PLACE: Final = re.compile(r"^(?P<what>.*?) \(at (?:line (?P<line>\d+), column \d+|end of document)\)$", re.DOTALL)
_INT64: Final = (-(1 << 63), (1 << 63) - 1)  # Source: TOML 1.0, Integer
_Path = tuple[str | int, ...]


def parse_toml(text: str, faults: list[Fault]) -> Document:
    """Read *text*, adding what is wrong to *faults*."""
    try:
        lines = lines_of(text)
        return Document(_node(tomli.loads(text), (), lines, 1, faults))
    except ValueFault as fault:
        faults.append(Fault(str(fault)))
    except ValueError as error:  # TOMLDecodeError is one; a number of thousands of digits is another
        found = _PLACE.match(str(error))
        what, line = (found["what"], found["line"]) if found else (str(error), None)
        faults.append(Fault(f"not valid TOML: {what[:1].lower()}{what[1:]}", line=int(line) if line else None))
    return Document(None)


def _node(value: Any, path: _Path, lines: Lines, line: int, faults: list[Fault]) -> DocNode:
    """Make the node of *value*; what has no line of its own has that of what it stands in."""
    line = lines.get(path, line)
    match value:
        case dict():
            value = {key: _node(inner, (*path, key), lines, line, faults) for key, inner in value.items()}
        case list():
            value = [_node(inner, (*path, place), lines, line, faults) for place, inner in enumerate(value)]
        case float() if not isfinite(value):
            faults.append(Fault(f"{value} is no number that an option can have", joined(*path), line))
        case int() if not _INT64[0] <= value <= _INT64[1]:
            faults.append(Fault("a number is beyond 64 bits", joined(*path), line))
            value = 0
        case bool() | int() | float() | str():
            pass
        case _:
            faults.append(Fault("no option takes a date or time; put a text in quotes", joined(*path), line))
            value = str(value)
    return node_of(value, line, line)
