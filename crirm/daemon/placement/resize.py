"""UpdateContainerResources of the kubelet: an in-place resize, or its CPU manager."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

from grpclib.const import Status

from crirm.cri import slice as cri
from crirm.cri.decode import resources_if_there
from crirm.cri.encode import adjusted_update
from crirm.daemon.placement.answers import decoded, noted, refuse, succeeded
from crirm.daemon.placement.creation import could_be_better
from crirm.model.decision import RefusedError
from crirm.model.events import ResizeDone, ResizeFailed
from crirm.rpc.calls import CallRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crirm.admission.admission import Admission
    from crirm.daemon.placement.node_api import Node
    from crirm.model.workload import ContainerKey
    from crirm.rpc.calls import Answer, HeldCall

METHOD: Final = "UpdateContainerResources"


async def update_container_resources(node: Node, call: HeldCall) -> None:
    """Merge the request with the decision."""
    request = decoded(METHOD, cri.UpdateContainerResourcesRequest, call.message)
    admission = await _decided(node, request)
    with _reserved(node, admission, request, call.message) as (key, message):
        if key is not None:
            await node.kept()
            await node.clear(key)
            node.begin_resize(key)
        answer = await call.forward(message)
    noted(METHOD, partial(_note, node, key), answer)


async def _decided(node: Node, request: cri.UpdateContainerResourcesRequest) -> Admission | None:
    """Return the admission of the request in the current state, None if the container is unknown.

    A request that would benefit from an exited container waits for the runtime's list, once, and is decided again.
    """
    admission = _admitted(node, request)
    decision = None if admission is None else admission.decision
    if decision is None or not could_be_better(decision) or not node.may_have_ended():
        return admission
    await node.look()
    return _admitted(node, request)


def _admitted(node: Node, request: cri.UpdateContainerResourcesRequest) -> Admission | None:
    key = node.intake.key_of(request.container_id)
    if key is None or resources_if_there(request.linux) is None:
        return None
    if node.unkept:
        raise CallRefusedError(Status.UNAVAILABLE, node.unkept)
    try:
        return node.intake.resize(request, key)
    except RefusedError as refusal:
        refuse(refusal)


@contextmanager
def _reserved(
    node: Node, admission: Admission | None, request: cri.UpdateContainerResourcesRequest, message: bytes
) -> Iterator[tuple[ContainerKey | None, bytes]]:
    """Own the new size, and return to the old one if the request does not reach the runtime; see ``creation``."""
    if admission is None or admission.container is None or admission.event is None or admission.decision is None:
        yield None, message
        return
    key, decision = admission.container.key, admission.decision
    if decision.refusal is not None:
        node.engine.take(admission.event, decision)
        refuse(decision.refusal)
    try:
        node.engine.take(admission.event, decision)
        node.intake.cpusets.note(key, request.linux.cpuset_cpus, request.linux.cpuset_mems)
        yield key, message if admission.adjustment is None else adjusted_update(message, admission.adjustment)
    except BaseException:
        node.engine.apply(ResizeFailed(key))
        raise


def _note(node: Node, key: ContainerKey | None, answer: Answer) -> None:
    """Keep the new size, or return to the old one."""
    if key is not None:
        node.engine.apply(ResizeDone(key) if succeeded(answer) else ResizeFailed(key))
    if not answer.certain:
        node.intake.doubt()
