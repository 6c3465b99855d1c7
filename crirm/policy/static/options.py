"""Options of the policy ``static``."""

from __future__ import annotations

import attrs

from crirm.model.option import option


@attrs.frozen
class StaticOptions:
    """How the policy ``static`` gives exclusive CPUs."""

    relaxed_isolation: bool = option(
        "RelaxedIsolation",
        "Whether exclusive CPUs are kernel-isolated ones, as far as there are any, where the pod does not say.",
        default=False,
    )
    rdt: str = option(
        "Rdt",
        "``auto``, ``true`` or ``false``; has no effect, as in the original, and is known for the sake of its files.",
        default="auto",
    )
