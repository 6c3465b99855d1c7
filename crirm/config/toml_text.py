"""TOML to nodes, with lines."""

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
    """Parse *text*; *faults* gets what is wrong."""
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
    """Return the node of *value*; a value without a line has that of its parent."""
    line = lines.get(path, line)
    match value:
        case dict():
            value = {key: _node(inner, (*path, key), lines, line, faults) for key, inner in value.items()}
        case list():
            value = [_node(inner, (*path, place), lines, line, faults) for place, inner in enumerate(value)]
        case float() if not isfinite(value):
            faults.append(Fault(f"no option takes the number {value}", joined(*path), line))
        case int() if not _INT64[0] <= value <= _INT64[1]:
            faults.append(Fault("the number exceeds 64 bits", joined(*path), line))
            value = 0
        case bool() | int() | float() | str():
            pass
        case _:
            faults.append(Fault("no option takes a date or time; quote it to make it a string", joined(*path), line))
            value = str(value)
    return node_of(value, line, line)
