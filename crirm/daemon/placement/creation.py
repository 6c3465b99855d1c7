"""CreateContainer: the request is held for the decision, and carries it to the runtime."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from grpclib.const import Status

from crirm.cri import slice as cri
from crirm.cri.decode import asked_sets, sandbox_config
from crirm.cri.encode import adjusted_create
from crirm.cri.reading import read
from crirm.daemon.placement.answers import decoded, malformed, noted, refuse, unsaved
from crirm.daemon.placement.reserving import reserved
from crirm.logs import get_logger
from crirm.model.cpuset import ListFormatError
from crirm.model.events import ContainerCreated, CreateFailed
from crirm.model.refusal import RefusalReason, RefusedError
from crirm.model.workload import ContainerId
from crirm.policy.creation import running_before

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.admission.admission import Admission
    from crirm.daemon.placement.node_api import Node
    from crirm.model.decision import Decision
    from crirm.model.workload import ContainerKey, TopologyHint
    from crirm.rpc.calls import Answer, HeldCall

    Host = tuple[tuple[TopologyHint, ...] | None, Mapping[str, tuple[str, ...]]]

log = get_logger("policy")

METHOD: Final = "CreateContainer"
_LATE: Final = (Status.CANCELLED.value, Status.DEADLINE_EXCEEDED.value)  # CRI-O continues, for the retry


async def create_container(node: Node, call: HeldCall) -> None:
    """Place a container; a request in an unknown pod passes, and the runtime refuses it in its own words."""
    request, sets = _decoded(call.message)
    host = await _prepared(node, request)
    admission = await _decided(node, request, host)
    with reserved(node, admission, sets, call.message, adjusted_create, CreateFailed) as (key, message):
        await node.kept()
        answer = await call.forward(message)
    noted(METHOD, partial(_note, node, key), answer)


def _decoded(message: bytes) -> tuple[cri.CreateContainerRequest, tuple[str, str]]:
    """Return the request, and the CPUs and memory nodes in it."""
    request = decoded(METHOD, cri.CreateContainerRequest, message)
    try:
        return request, asked_sets(request.config.linux.resources)
    except ListFormatError as error:
        refuse(malformed(METHOD, error))


async def _prepared(node: Node, request: cri.CreateContainerRequest) -> Host:
    """Look up the pod, the location of the container's mounts and devices, and CPUs given to it by others."""
    await _meet(node, request)
    return await node.intake.hints(request), await node.intake.variables(request)


async def _meet(node: Node, request: cri.CreateContainerRequest) -> None:
    """Ask about an unknown pod: the reply to its RunPodSandbox may have been lost."""
    pod = node.intake.pod_of(request.pod_sandbox_id)
    if pod not in node.engine.state.workload.pods:
        config = request.sandbox_config
        await node.meet(pod, sandbox_config(config, pod) if config.metadata.uid else None)


async def _decided(node: Node, request: cri.CreateContainerRequest, host: Host) -> Admission | None:
    """Return the admission of the request in the current state, None if its pod is unknown.

    A request that would benefit from an exited container waits for the runtime's list, once, and is decided again.
    """
    admission = _admitted(node, request, host)
    if admission is None or not _may_gain(node, admission):
        return admission
    await node.look()
    await _meet(node, request)
    return _admitted(node, request, host)


def _admitted(node: Node, request: cri.CreateContainerRequest, host: Host) -> Admission | None:
    pod = node.intake.pod_of(request.pod_sandbox_id)
    if pod not in node.engine.state.workload.pods:
        name = request.config.metadata.name
        log.warning("pod is unknown; relaying the container's request without an assignment", pod=pod, container=name)
        return None
    if node.unkept:
        refusal = unsaved(node.unkept)
        node.engine.refuse(pod, request.config.metadata.name, refusal)
        refuse(refusal)
    try:
        return node.intake.creation(request, *host)
    except RefusedError as refusal:
        refuse(refusal)


def _may_gain(node: Node, admission: Admission) -> bool:
    """Whether to list exited containers first: their CPUs may be free, or an earlier attempt may have exited."""
    container, decision = admission.container, admission.decision
    if container is None or decision is None or not node.may_have_ended():
        return False
    before = running_before(admission.state.workload, container.pod, container.name, container.attempt)
    return bool(before) or could_be_better(decision)


def could_be_better(decision: Decision) -> bool:
    """Whether a request would benefit if a container believed running had exited."""
    no_room = decision.refusal is not None and decision.refusal.reason is RefusalReason.NO_ROOM
    return no_room or decision.cramped


def _note(node: Node, key: ContainerKey | None, answer: Answer) -> None:
    """Keep the grant under the container's id, or release it."""
    created = read(cri.CreateContainerResponse, answer.message or b"")
    id_ = ContainerId(created.container_id)
    if key is None:
        if id_ or not _surely_failed(answer):
            node.intake.doubt()  # created without an assignment: the runtime's lists will show it and its pod
    elif id_:
        node.engine.apply(ContainerCreated(key, id_))
        if node.intake.key_of(id_) is None:
            node.intake.doubt()  # it ended meanwhile, or appeared to
    else:
        node.engine.apply(CreateFailed(key))
        if not _surely_failed(answer):
            node.intake.doubt()


def _surely_failed(answer: Answer) -> bool:
    """Whether the runtime has certainly created nothing."""
    return answer.certain and answer.status not in {Status.OK.value, *_LATE}
