"""What has become of the saved state, for log and journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.logs import get_logger
from crirm.policy.restore import NO_GRANT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.policy.restore import Revived

log = get_logger("store")


def tell_restored(revived: Revived, facts: Mapping[str, str], *, known: bool, damaged: int) -> str:
    """Log what has become of the saved state, and return it for the journal.

    Args:
        revived: the state.
        facts: about this process; empty ones are left out.
        known: whether anything was saved.
        damaged: rows that could not be read.
    """
    name = revived.state.workload.full_name
    for key, reason in revived.moved.items():
        (log.info if reason == NO_GRANT else log.warning)("container reassigned", container=name(key), reason=reason)
    for key, reason in revived.squeezed.items():
        log.warning("no room for a container; it runs in the shared pool", container=name(key), reason=reason)
    for key, reason in revived.weakened.items():
        log.warning("container has less reserved than before", container=name(key), reason=reason)
    for key, reason in revived.lost.items():
        log.warning("container runs without an assignment", container=name(key), reason=reason)
    counts = {
        "containers": len(revived.state.workload.containers),
        "reassigned": len(revived.moved),
        "without_room": len(revived.squeezed),
        "not_assigned": len(revived.lost),
        "damaged_rows": damaged,
    }
    if known:
        log.info("restored saved state", **counts)
    process = ", ".join(f"{fact} {value}" for fact, value in facts.items() if value)
    found = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items())
    return f"{process}; {found}"
