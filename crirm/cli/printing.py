"""Tables and trees on a terminal, and whole in a pipe."""

from __future__ import annotations

import sys
from datetime import datetime

from rich.console import Console

PIPE_COLUMNS = 10_000  # whoever reads a pipe cuts lines himself


def local_time(at_s: float) -> str:
    """Return a moment, in seconds of wall-clock time, as people here write it."""
    return datetime.fromtimestamp(at_s).astimezone().isoformat(sep=" ", timespec="seconds")


def console() -> Console:
    """Return where to print: as wide as the terminal, without colours or cuts when there is none."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPE_COLUMNS)
