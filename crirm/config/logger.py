"""The section ``logger``: log messages."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.model.option import option

Flags = Mapping[str, str]
"""Flags by name, with their values as strings."""


@attrs.frozen
class LoggerSection:
    """Log messages. Extends the environment and the command line, and overrides them where both set something."""

    debug: str = option(
        "Debug",
        "Log sources with debug messages: a comma-separated list of [on|off:]SOURCE, where a state applies up to the "
        "next one and * means every source.",
        default="",
    )
    log_source: bool = option(
        "LogSource",
        "Whether messages begin with their source; crirm's always do, so this has no effect.",
        default=False,
    )
    klog: Flags = option(  # noqa: RUF009  # makes a field
        "Klog", "Values of klog flags by name, such as skip_headers or v.", factory=dict
    )
