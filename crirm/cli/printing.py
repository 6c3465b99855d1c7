"""Tables and trees on a terminal, and whole in a pipe."""

from __future__ import annotations

import sys

from rich.console import Console

PIPE_COLUMNS = 10_000  # whoever reads a pipe cuts lines himself


def console() -> Console:
    """Return where to print: as wide as the terminal, without colours or cuts when there is none."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
