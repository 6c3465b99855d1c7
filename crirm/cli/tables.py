"""Tables that keep names whole on a narrow screen.

A table is laid out in the first of these ways that fits the screen:

1. all columns, one line for each row; sentences are wrapped between words down to `NARROWEST_TEXT` characters;
2. the same without columns that hold no value, then without one optional column after the other;
3. like 1 and 2, but names that are longer than their column stand on a line of their own;
4. each row as a block: its name on one line, the other values below it with their headings.

Nothing is broken within a word. A last line names the columns that were left out.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Final, TypeVar

import attrs
from rich.cells import cell_len

from crirm.errors import visible

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

T = TypeVar("T")

GAP: Final = "  "
NOTHING: Final = "-"
NARROWEST_TEXT: Final = 16
NARROWEST_NAME: Final = 16


@attrs.frozen
class Column:
    """One column of a table.

    Args:
        head: its heading.
        optional: whether it may be left out, and when: the highest number goes first; 0 always stays.
        text: whether it holds sentences, which may be wrapped between words.
        right: whether values are aligned to the right, as numbers are.
    """

    head: str
    optional: int = 0
    text: bool = False
    right: bool = False


@attrs.frozen
class _Table:
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]

    def without(self, number: int) -> _Table:
        """Return the table without a column."""
        return _Table(_but(self.columns, number), tuple(_but(row, number) for row in self.rows))

    def natural(self) -> list[int]:
        """Return the width of each column when nothing is wrapped."""
        return [
            max(cell_len(text) for text in (column.head, *(row[number] for row in self.rows)))
            for number, column in enumerate(self.columns)
        ]

    def fitted(self, width: int, *, whole_names: bool) -> list[int] | None:
        """Return the width of each column on a screen of *width*; None where the table is wider.

        Args:
            width: of the screen.
            whole_names: whether the first column has to hold all names, or only `NARROWEST_NAME` characters.
        """
        widths = self.natural()
        room = width - len(GAP) * (len(widths) - 1)
        if not whole_names:
            widths[0] = min(widths[0], max(NARROWEST_NAME, cell_len(self.columns[0].head)))
        floors = [self._floor(number) if column.text else widths[number] for number, column in enumerate(self.columns)]
        while sum(widths) > room:
            number = max(range(len(widths)), key=lambda number: widths[number] - floors[number])
            if widths[number] <= floors[number]:
                return None
            widths[number] -= 1
        return widths

    def _floor(self, number: int) -> int:
        words = [word for row in self.rows for word in row[number].split()]
        return max(NARROWEST_TEXT, *(cell_len(word) for word in (self.columns[number].head, *words)))

    def narrower(self, left_out: list[str]) -> _Table | None:
        """Return the table without its least important column; None if all of them must stay.

        Args:
            left_out: gets the heading of the column if it has values.
        """
        number = self._least()
        if number is None:
            return None
        if any(row[number] != NOTHING for row in self.rows):
            left_out.append(self.columns[number].head)
        return self.without(number)

    def _least(self) -> int | None:
        for number, column in enumerate(self.columns):
            if column.optional and all(row[number] == NOTHING for row in self.rows):
                return number
        number = max(range(len(self.columns)), key=lambda number: self.columns[number].optional)
        return number if self.columns[number].optional else None


def _but(values: tuple[T, ...], number: int) -> tuple[T, ...]:
    return values[:number] + values[number + 1 :]


def table_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Return a table as lines for a screen of *width* characters.

    Args:
        columns: the first one names the row, and stays whole.
        rows: a text for each column; "-" for no value.
        width: of the screen; only a single word that is longer makes a longer line.
    """
    table = _Table(tuple(columns), tuple(tuple(map(visible, row)) for row in rows))
    for whole_names in (True, False):
        left_out: list[str] = []
        narrowed: _Table | None = table
        while narrowed is not None:
            widths = narrowed.fitted(width, whole_names=whole_names)
            if widths is not None:
                return _lines(narrowed, widths, left_out, width)
            narrowed = narrowed.narrower(left_out)
    return [line for row in table.rows for line in _block(table.columns, row, width)]


def _lines(table: _Table, widths: Sequence[int], left_out: Sequence[str], width: int) -> list[str]:
    note = f"(not shown on a narrow screen: {', '.join(left_out)})" if left_out else ""
    rows = (tuple(column.head for column in table.columns), *table.rows)
    return [*(line for row in rows for line in _row(table.columns, row, widths)), *wrapped(note, width)]


def _row(columns: Sequence[Column], row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    if cell_len(row[0]) > widths[0]:
        yield row[0]
        row = ("", *row[1:])
    cells = [
        textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) if column.text else [text]
        for column, text, width in zip(columns, row, widths, strict=True)
    ]
    for number in range(max(1, *map(len, cells))):
        padded = [
            _padded(cell[number] if number < len(cell) else "", width, right=column.right)
            for column, cell, width in zip(columns, cells, widths, strict=True)
        ]
        yield GAP.join(padded).rstrip()


def _padded(text: str, width: int, *, right: bool) -> str:
    blanks = " " * (width - cell_len(text))
    return blanks + text if right else text + blanks


def _block(columns: Sequence[Column], row: Sequence[str], width: int) -> Iterator[str]:
    name, *values = row
    if name:
        yield name
    pairs = [(column, text) for column, text in zip(columns[1:], values, strict=True) if text not in {"", NOTHING}]
    facts = ", ".join(f"{column.head} {text}".strip() for column, text in pairs if not column.text)
    for text in (facts, *(text for column, text in pairs if column.text)):
        yield from wrapped(f"  {text}" if text else "", width)


def wrapped(line: str, width: int, hang: int | None = None) -> list[str]:
    """Return *line* as lines of at most *width* characters, broken between words only.

    Args:
        line: without line breaks.
        width: of the screen; only a single word that is longer makes a longer line.
        hang: by how many characters the lines after the first are indented; two more than the first, if not given.
    """
    if 2 * len(line) <= width or cell_len(line) <= width:  # no character takes more than two cells
        return [line] if line else []
    indent = line[: len(line) - len(line.lstrip())]
    more = f"{indent}  " if hang is None else " " * hang
    words = textwrap.TextWrapper(
        width, initial_indent=indent, subsequent_indent=more, break_long_words=False, break_on_hyphens=False
    )
    return words.wrap(line.lstrip())
