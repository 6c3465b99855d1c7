"""The section ``dump``: CRI messages shown in the log."""

from __future__ import annotations

import attrs

from crirm.model.option import option


@attrs.frozen
class DumpSection:
    """CRI messages shown in the log."""

    config: str = option(
        "Config",
        "Which messages are shown and how fully: a comma list of [off|count|short|full:]METHOD, where a level holds "
        "until the next and METHOD is a name, a regular expression or *.",
        default="off:.*,short:((Create)|(Start)|(Run)|(Update)|(Stop)|(Remove)).*,off:.*Image.*",
    )
    file: str = option("File", "Absolute path of a file that they are written to as well; empty: none.", default="")
    debug: bool = option("Debug", "Whether they are debug records of the source message.", default=False)
    disabled: bool = option("Disabled", "Whether none is shown.", default=False)
