"""Help texts for 80 columns: words and defaults such as ``[default: /run/crirm.sock]`` are never broken."""

from __future__ import annotations

import re
import textwrap
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_DEFAULT: Final = re.compile(r"\s*(\[(?:default: |x>)[^\]]*\])$")


class HelpFormatter(click.HelpFormatter):
    """A formatter that keeps words and defaults whole."""

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """Write terms and texts in two columns."""
        rows = list(rows)
        start = min(max(len(term) for term, _ in rows), col_max) + col_spacing + self.current_indent
        for term, text in rows:
            head = f"{'':{self.current_indent}}{term}"
            first, *more = list(_lines(text, start, self.width)) or [""]
            if len(head) > start - col_spacing:
                self.write(f"{head}\n")
                head = ""
            self.write(f"{head:{start}}{first.lstrip()}".rstrip() + "\n")
            self.write("".join(f"{line}\n" for line in more))


class Context(click.Context):
    """A context whose help is written by `HelpFormatter`."""

    formatter_class = HelpFormatter


def with_whole_defaults(command: click.Command) -> click.Command:
    """Have *command* and its subcommands write their help with `HelpFormatter`."""
    command.context_class = Context
    for inner in getattr(command, "commands", {}).values():
        with_whole_defaults(inner)
    return command


def _lines(text: str, start: int, width: int) -> Iterator[str]:
    """Yield *text* in lines that begin at column *start*; a default that is too long begins further to the left."""
    default = _DEFAULT.search(text)
    body = textwrap.wrap(
        text[: default.start()] if default else text, width - start, break_long_words=False, break_on_hyphens=False
    )
    if default and body and len(body[-1]) + 2 + len(default[1]) <= width - start:
        body[-1] += f"  {default[1]}"
        default = None
    yield from (" " * start + line for line in body)
    if default:
        yield " " * max(2, min(start, width - len(default[1]))) + default[1]
