"""What commands print for people: tables and trees on a terminal, whole in a pipe, and harmless in both.

Names, annotations and messages of others are shown as they are written: what is not printable is escaped, and square
brackets and colons mean nothing. JSON escapes by itself and goes out as it is.
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.segment import Segment

from crirm.errors import visible

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType

PIPE_COLUMNS = 10_000  # whoever reads a pipe cuts lines himself


class _Screen(Console):
    """A console that escapes whatever would reach the terminal as anything but text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else visible(text, but="\n"), style, control)


def say(text: str, *, err: bool = False) -> None:
    """Print *text*, lines for people without colours."""
    click.echo(visible(text, but="\n"), err=err)


def harmless(answer: Any) -> Any:
    """Return a JSON document with every text on one line, for sentences and tables that it is put into."""
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
    """Return a moment, in seconds of wall-clock time, as people here write it."""
    return datetime.fromtimestamp(at_s).astimezone().isoformat(sep=" ", timespec="seconds")


def console() -> Console:
    """Return where to print: as wide as the terminal, without colours or cuts when there is none."""
    width = None if sys.stdout.isatty() else PIPE_COLUMNS
    return _Screen(highlight=False, markup=False, emoji=False, width=width)
