"""What was decided about a request, owned from the decision until the runtime has got it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from crirm.daemon.placement.answers import refuse
from crirm.model.events import ContainerRequested

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crirm.admission.admission import Admission
    from crirm.daemon.placement.node_api import Node
    from crirm.model.decision import Adjustment
    from crirm.model.events import Event
    from crirm.model.workload import ContainerKey


@contextmanager
def reserved(
    node: Node,
    admission: Admission | None,
    sets: tuple[str, str],
    message: bytes,
    adjusted: Callable[[bytes, Adjustment], bytes],
    back: Callable[[ContainerKey], Event],
) -> Iterator[tuple[ContainerKey | None, bytes]]:
    """Own the decision, and go *back* if the request does not reach the runtime: cancelled, refused, or for a bug.

    Args:
        node: whose decision it is.
        admission: that decision; None: nobody knows what the request is about.
        sets: CPUs and memory nodes that the request asks for.
        message: the request.
        adjusted: puts into it what was decided.
        back: the event that undoes the decision.

    Yields:
        key of the container, None if nothing was decided, and the request with the assignment.

    Raises:
        CallRefusedError: it was refused.
    """
    if admission is None or admission.container is None or admission.event is None or admission.decision is None:
        yield None, message
        return
    key, event, decision = admission.container.key, admission.event, admission.decision
    if decision.refusal is not None:
        node.engine.take(event, decision)
        refuse(decision.refusal)
    try:
        node.engine.take(event, decision)
        node.intake.cpusets.note(key, *sets, creating=isinstance(event, ContainerRequested))
        yield key, message if admission.adjustment is None else adjusted(message, admission.adjustment)
    except BaseException:
        node.engine.apply(back(key))
        raise
