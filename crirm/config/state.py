"""The section ``state``: state that survives restarts."""

from __future__ import annotations

import attrs

from crirm.model.option import option


@attrs.frozen
class StateSection:
    """State that survives restarts."""

    fail_closed: bool = option(
        "FailClosed",
        "While state cannot be saved because the disk is full, read-only or broken: whether to refuse to create and "
        "resize containers (with UNAVAILABLE, so the kubelet retries), instead of making decisions that a restart "
        "would lose. Either way crirm logs it, relays all other calls, and retries writing every 5 s.",
        default=False,
    )
