"""The section ``dump``: CRI messages dumped to the log."""

from __future__ import annotations

import attrs

from crirm.model.option import option


@attrs.frozen
class DumpSection:
    """CRI messages dumped to the log."""

    config: str = option(
        "Config",
        "Messages to dump, and how: a comma-separated list of [off|count|short|full:]METHOD, where a level applies "
        "up to the next one and METHOD is a name, a regular expression or *.",
        default="off:.*,short:((Create)|(Start)|(Run)|(Update)|(Stop)|(Remove)).*,off:.*Image.*",
    )
    file: str = option(
        "File", "Absolute path of a file for dumped messages, in addition to the log; empty: none.", default=""
    )
    debug: bool = option("Debug", "Whether to log them as debug messages of the source message.", default=False)
    disabled: bool = option("Disabled", "Whether to turn the dump off.", default=False)
