"""ContainerStatus: the kubelet sees the values that it requested, otherwise it would keep resizing."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from crirm.cri import slice as cri
from crirm.cri.encode import status_as_asked
from crirm.cri.reading import read
from crirm.cri.replies import status_resources
from crirm.daemon.placement.answers import noted

if TYPE_CHECKING:
    from crirm.daemon.placement.node_api import Node
    from crirm.rpc.calls import Answer, HeldCall

METHOD: Final = "ContainerStatus"


async def container_status(node: Node, call: HeldCall) -> bytes | None:
    """Restore the kubelet's own values where crirm has set others."""
    answer = await call.forward(call.message)
    return noted(METHOD, partial(_shown, node, call.message), answer)


def _shown(node: Node, request: bytes, answer: Answer) -> bytes | None:
    """Return the edited reply, None if it is unchanged."""
    if not answer.message:
        return None
    node.observed(METHOD, answer.message)
    key = node.intake.key_of(read(cri.ContainerStatusRequest, request).container_id)
    state = node.engine.state
    container = state.workload.containers.get(key) if key else None
    adjustment = state.adjustments.get(key) if key else None
    if container is None or adjustment is None or status_resources(answer.message) is None:
        return None
    shown = status_as_asked(answer.message, container.resources, adjustment)
    return shown if shown != answer.message else None
