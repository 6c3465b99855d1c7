"""Output for people: wrapped between words on a terminal, one line per fact in a pipe, and safe in both.

Names, annotations and messages from outside are shown literally: unprintable characters are escaped, and square
brackets and colons have no meaning. JSON does its own escaping and is printed unchanged.
"""

from __future__ import annotations

import sys
import textwrap
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from crirm.cli.tables import NARROWEST_TEXT, table_lines, wrapped
from crirm.errors import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from crirm.cli.tables import Column

PIPE_COLUMNS = 10_000  # in a pipe every fact stays on its line, for grep and awk


def say(text: str, *, err: bool = False) -> None:
    """Print *text*; on a terminal, lines are wrapped between words."""
    width = screen_width(err=err)
    for line in visible(text, but="\n").split("\n"):
        click.echo("\n".join(wrapped(line, width)), err=err)


def say_hanging(label: str, text: str) -> None:
    """Print *label* and *text* beside it; on a terminal, the lines of a long text stand below one another."""
    width = screen_width()
    room = width - len(label)
    lines = textwrap.wrap(visible(text), max(room, NARROWEST_TEXT), break_long_words=False, break_on_hyphens=False)
    for number, line in enumerate(lines or [""]):
        click.echo((label if number == 0 else " " * len(label)) + line)


def harmless(answer: Any) -> Any:
    """Return a JSON document whose texts are printable and on one line, to be put into sentences and tables."""
    match answer:
        case str():
            return visible(answer)
        case list():
            return [harmless(each) for each in answer]
        case dict():
            return {visible(key): harmless(value) for key, value in answer.items()}
        case _:
            return answer


def local_time(at_s: float) -> str:
    """Return a moment, in seconds of wall-clock time, as local time."""
    return datetime.fromtimestamp(at_s).astimezone().isoformat(sep=" ", timespec="seconds")


def screen_width(*, err: bool = False) -> int:
    """Return how many characters fit in a line of the terminal, or of the pipe."""
    stream = sys.stderr if err else sys.stdout
    if not stream.isatty():
        return PIPE_COLUMNS
    from rich.console import Console  # noqa: PLC0415  # a pipe does without

    return Console(stderr=err).width


def console() -> Console:
    """Return where to print: as wide as the terminal; in a pipe without colours or wrapped lines."""
    from crirm.cli.screen import Screen  # noqa: PLC0415  # most commands print lines only

    return Screen(highlight=False, markup=False, emoji=False, width=screen_width())


def say_table(columns: Sequence[Column], rows: Sequence[Sequence[str]], *, indent: str = "") -> None:
    """Print a table as wide as the screen; every text in it is on one line."""
    for line in table_lines(columns, rows, screen_width() - len(indent)):
        click.echo(visible(indent + line))
