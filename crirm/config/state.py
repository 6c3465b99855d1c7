"""The section ``state``: what is kept on disk across restarts."""

from __future__ import annotations

import attrs

from crirm.model.option import option


@attrs.frozen
class StateSection:
    """What is kept on disk across restarts."""

    fail_closed: bool = option(
        "FailClosed",
        "While the state cannot be kept, since the disk is full, read-only or broken: whether containers are neither "
        "created nor resized (UNAVAILABLE, so the kubelet tries again), instead of going on with grants that a restart "
        "would lose. Either way the log says so, all other calls pass, and writing is tried again every 5 s.",
        default=False,
    )
