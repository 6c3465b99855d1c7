"""The section ``logger``: log records."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.model.option import option

Flags = Mapping[str, str]
"""Flags by name, with their values as texts."""


@attrs.frozen
class LoggerSection:
    """Log records. Adds to what environment and command line say, and wins where both say something."""

    debug: str = option(
        "Debug",
        "Log sources that tell their debug records: a comma list of [on|off:]SOURCE, where a state holds until the "
        "next and * is every source.",
        default="",
    )
    log_source: bool = option(
        "LogSource",
        "Whether each record begins with its source; crirm's always do, so this has no effect.",
        default=False,
    )
    klog: Flags = option(  # noqa: RUF009  # makes a field
        "Klog", "Logging flags by name, such as skip_headers or v, with their values.", factory=dict
    )
