"""Requests and answers of CRI as values of the model: bytes in, pods, containers and resources out.

Field numbers stand where they are used, under the names of protos/runtime/v1/api.proto; tests/unit/cri/test_decode.py
holds each against the generated messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.cri.message import Message
from crirm.model.annotations import kept
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.qos import QoSClass, QoSClassError, qos_class
from crirm.model.resources import LinuxResources
from crirm.model.workload import ContainerId, ContainerState, Pod, PodId

if TYPE_CHECKING:
    from collections.abc import Mapping


@attrs.frozen
class Place:
    """Something of the host that a container uses: a mount or a device.

    Args:
        path: on the host.
        inside: the path that the container sees.
        writable: whether the container may change it.
        device: a device node rather than a mount.
    """

    path: str
    inside: str
    writable: bool
    device: bool


@attrs.frozen
class ContainerRequest:
    """What a CreateContainerRequest says of the container."""

    pod: PodId
    name: str
    attempt: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    places: tuple[Place, ...]
    resources: LinuxResources
    cpus: CPUSet
    mems: NodeSet


@attrs.frozen
class Listed:
    """One item of a ListContainers answer."""

    id: ContainerId
    pod: PodId
    name: str
    attempt: int
    state: ContainerState
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    created_at_ns: int


_STATES = {0: ContainerState.CREATED, 1: ContainerState.RUNNING, 2: ContainerState.EXITED, 3: ContainerState.CREATED}


def sandbox_config(config: Message, pod_id: str) -> Pod:
    """Read a PodSandboxConfig; a pod whose cgroup does not tell its QoS class counts as BestEffort for now."""
    metadata, linux = config.message(1), config.message(8)
    cgroup_parent = linux.text(1)
    qos = _qos(cgroup_parent)
    return Pod(
        id=PodId(pod_id),
        uid=metadata.text(2),
        name=metadata.text(1),
        namespace=metadata.text(3),
        qos=qos or QoSClass.BEST_EFFORT,
        qos_told=qos is not None,
        cgroup_parent=cgroup_parent,
        labels=config.mapping(6),
        annotations=kept(config.mapping(7)),
        overhead=_resources_if_there(linux, 4),
        resources=_resources_if_there(linux, 5),
    )


def _resources_if_there(message: Message, field: int) -> LinuxResources | None:
    return resources(message.message(field)) if message.has(field) else None


def _qos(cgroup_parent: str) -> QoSClass | None:
    try:
        return qos_class(cgroup_parent)
    except QoSClassError:
        return None


def run_pod_request(request: bytes, pod_id: str) -> Pod:
    """Read a RunPodSandboxRequest, whose answer named the pod *pod_id*."""
    return sandbox_config(Message(request).message(1), pod_id)


def pod_in_create(request: bytes, pod_id: str) -> Pod | None:
    """Read the pod that a CreateContainerRequest describes once more; None where the caller has left it out."""
    config = Message(request).message(3)
    return sandbox_config(config, pod_id) if config.message(1).text(2) else None


def first_text(message: bytes) -> str:
    """Read field 1 of a message: the id in every CRI message that carries one there.

    These are RunPodSandboxResponse, StopPodSandboxRequest, RemovePodSandboxRequest, CreateContainerResponse,
    StartContainerRequest, StopContainerRequest, RemoveContainerRequest, UpdateContainerResourcesRequest,
    UpdatePodSandboxResourcesRequest and ContainerStatusRequest.
    """
    return Message(message).text(1)


def create_request(request: bytes) -> ContainerRequest:
    """Read a CreateContainerRequest."""
    message = Message(request)
    config = message.message(2)
    metadata = config.message(1)
    linux_resources = config.message(15).message(1)
    return ContainerRequest(
        pod=PodId(message.text(1)),
        name=metadata.text(1),
        attempt=metadata.number(2),
        labels=config.mapping(9),
        annotations=kept(config.mapping(10)),
        places=(*map(_mount, config.messages(7)), *map(_device, config.messages(8))),
        resources=resources(linux_resources),
        cpus=CPUSet.parse(linux_resources.text(6)),
        mems=NodeSet.parse(linux_resources.text(7)),
    )


def _mount(mount: Message) -> Place:
    return Place(path=mount.text(2), inside=mount.text(1), writable=not mount.number(3), device=False)


def _device(device: Message) -> Place:
    writable = any(letter in device.text(3) for letter in "wm")
    return Place(path=device.text(2), inside=device.text(1), writable=writable, device=True)


def update_request(request: bytes) -> tuple[ContainerId, LinuxResources | None]:
    """Read an UpdateContainerResourcesRequest; no resources where it is not about Linux."""
    message = Message(request)
    return ContainerId(message.text(1)), _resources_if_there(message, 2)


def update_sets(request: bytes) -> tuple[str, str]:
    """Read which CPUs and memory nodes an UpdateContainerResourcesRequest asks for, as they stand there."""
    linux = Message(request).message(2)
    return linux.text(6), linux.text(7)


def update_pod_request(request: bytes) -> tuple[PodId, LinuxResources | None, LinuxResources | None]:
    """Read an UpdatePodSandboxResourcesRequest: the pod, its overhead and its resources."""
    message = Message(request)
    return PodId(message.text(1)), _resources_if_there(message, 2), _resources_if_there(message, 3)


def resources(message: Message) -> LinuxResources:
    """Read a LinuxContainerResources."""
    return LinuxResources(
        cpu_period_us=message.number(1),
        cpu_quota_us=message.number(2),
        cpu_shares=message.number(3),
        memory_limit_bytes=message.number(4),
        oom_score_adj=message.number(5),
    )


def listed_containers(answer: bytes) -> list[Listed]:
    """Read a ListContainersResponse."""
    return [_listed(item) for item in Message(answer).messages(1)]


def _listed(item: Message) -> Listed:
    metadata = item.message(3)
    return Listed(
        id=ContainerId(item.text(1)),
        pod=PodId(item.text(2)),
        name=metadata.text(1),
        attempt=metadata.number(2),
        state=_STATES.get(item.number(6), ContainerState.CREATED),
        labels=item.mapping(8),
        annotations=kept(item.mapping(9)),
        created_at_ns=item.number(7),
    )


def listed_pods(answer: bytes) -> list[Pod]:
    """Read a ListPodSandboxResponse; it does not tell cgroups, so the QoS class is still open (BestEffort)."""
    return [_listed_pod(item) for item in Message(answer).messages(1)]


def _listed_pod(item: Message, labels: int = 5, annotations: int = 6) -> Pod:
    metadata = item.message(2)
    return Pod(
        id=PodId(item.text(1)),
        uid=metadata.text(2),
        name=metadata.text(1),
        namespace=metadata.text(3),
        qos=QoSClass.BEST_EFFORT,
        labels=item.mapping(labels),
        annotations=kept(item.mapping(annotations)),
    )


def pod_status(answer: bytes) -> Pod:
    """Read the pod of a PodSandboxStatusResponse, as from a list; only the verbose info tells its cgroup."""
    return _listed_pod(Message(answer).message(1), labels=7, annotations=8)


def with_cgroup_parent(pod: Pod, cgroup_parent: str) -> Pod:
    """Return *pod* with its cgroup, and the QoS class that follows from it, if one does."""
    qos = _qos(cgroup_parent)
    return attrs.evolve(pod, cgroup_parent=cgroup_parent, qos=qos or QoSClass.BEST_EFFORT, qos_told=qos is not None)


def verbose_info(answer: bytes) -> dict[str, str]:
    """Read the ``info`` map of a PodSandboxStatusResponse or ContainerStatusResponse (field 2 of both)."""
    return Message(answer).mapping(2)


def status_resources(answer: bytes) -> LinuxResources | None:
    """Read what a ContainerStatusResponse says of the container's resources; None where the runtime does not tell."""
    status = Message(answer).message(1)
    return resources(status.message(16).message(1)) if status.has(16) else None


def status_cpus(answer: bytes) -> str:
    """Read which CPUs a ContainerStatusResponse says the container is bound to, as it stands there."""
    return Message(answer).message(1).message(16).message(1).text(6)
