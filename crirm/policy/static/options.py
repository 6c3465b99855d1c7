"""Options of the policy ``static``."""

from __future__ import annotations

import attrs

from crirm.model.option import option


@attrs.frozen
class StaticOptions:
    """How the policy ``static`` assigns exclusive CPUs."""

    relaxed_isolation: bool = option(
        "RelaxedIsolation",
        "Whether to prefer kernel-isolated CPUs as exclusive CPUs, unless the pod says otherwise.",
        default=False,
    )
    rdt: str = option(
        "Rdt",
        "`auto`, `true` or `false`; accepted for compatibility, without effect.",
        default="auto",
    )
