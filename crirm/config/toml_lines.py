"""The line of every key in a TOML text, which the parser does not report.

Also rejects nesting that is too deep for the parser. For a text that is not TOML the lines are meaningless; the
parser rejects it afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from crirm.config.faults import ValueFault
from crirm.config.nodes import MAX_DEPTH, MAX_NODES

Lines = Mapping[tuple[str | int, ...], int]

_TOKEN: Final = re.compile(r"""(?P<text>\"{3}|'{3}|["'])|(?P<comment>\#[^\n]*)|(?P<opens>[\[{])|(?P<closes>[\]}])|\n""")
_TEXT_ENDS: Final = {
    '"""': re.compile(r'\\.|"{3,5}', re.DOTALL),
    "'''": re.compile(r"'{3,5}"),
    '"': re.compile(r'\\.|["\n]'),
    "'": re.compile(r"['\n]"),
}
_KEY_PART: Final = re.compile(r"""\s*(?:"([^"\n]*)"|'([^'\n]*)'|([A-Za-z0-9_-]+))\s*(\.?)""")


def lines_of(text: str) -> Lines:
    """Return the line of every key and table of *text* by its path.

    Raises:
        ValueFault: it is nested too deeply, or too large.
    """
    lines: dict[tuple[str | int, ...], int] = {}
    tables: dict[tuple[str | int, ...], int] = {}  # how many an array of tables has so far
    table: tuple[str | int, ...] = ()
    for count, (line, statement) in enumerate(_statements(text)):
        if count > MAX_NODES:
            raise ValueFault(f"holds more than {MAX_NODES} values")
        if statement.startswith("["):
            table = _table(_key(statement.lstrip("[")), tables, again=statement.startswith("[["))
            lines.setdefault(table, line)
        else:
            lines.setdefault((*table, *_key(statement)), line)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of every statement: a table header, or a key with its value."""
    line, first_line, start, depth, position = 1, 1, 0, 0, 0
    while token := _TOKEN.search(text, position):
        position = token.end()
        if token["text"]:
            position = _text_end(text, position, token["text"])
        line += text.count("\n", token.start(), position)
        depth += bool(token["opens"]) - bool(token["closes"])
        if depth > MAX_DEPTH:
            raise ValueFault(f"is nested more than {MAX_DEPTH} levels deep, in line {line}")
        if token.group() == "\n" and depth <= 0:
            yield from _statement(text[start : token.start()], first_line)
            first_line, start, depth = line, position, 0
    yield from _statement(text[start:], first_line)


def _text_end(text: str, position: int, quotes: str) -> int:
    """Return the end of the string that begins at *position*, after its *quotes*."""
    ends = (found for found in _TEXT_ENDS[quotes].finditer(text, position) if not found.group().startswith("\\"))
    end = next(ends, None)
    if end is None:
        return len(text)
    return end.start() if end.group() == "\n" else end.end()


def _statement(text: str, line: int) -> Iterator[tuple[int, str]]:
    stripped = text.lstrip(" \t\r")
    if stripped and not stripped.startswith("#"):
        yield line, stripped


def _table(key: tuple[str, ...], tables: dict[tuple[str | int, ...], int], *, again: bool) -> tuple[str | int, ...]:
    """Return the path of the table *key*; a part that is an array of tables means its last element."""
    path: tuple[str | int, ...] = ()
    for position, part in enumerate(key, start=1):
        path = (*path, part)
        if again and position == len(key):
            tables[path] = tables.get(path, 0) + 1
        if path in tables:
            path = (*path, tables[path] - 1)
    return path


def _key(statement: str) -> tuple[str, ...]:
    parts: list[str] = []
    position = 0
    while found := _KEY_PART.match(statement, position):
        parts.append(found[1] or found[2] or found[3] or "")
        position = found.end()
        if len(parts) > MAX_DEPTH:
            raise ValueFault(f"is nested more than {MAX_DEPTH} levels deep: a key has more parts than that")
        if not found[4]:
            break
    return tuple(parts)
