"""Of large replies, only what is asked for, as values of the model; no messages of the slice, as with lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.cri import numbers
from crirm.cri.message import Message
from crirm.model.qos import QoSClass, QoSClassError, qos_class
from crirm.model.resources import LinuxResources
from crirm.model.workload import ContainerId

if TYPE_CHECKING:
    from crirm.model.workload import Pod


def event(message: bytes) -> tuple[ContainerId, int]:
    """Return which container a ContainerEventResponse is about, and which ContainerEventType has happened to it."""
    told = Message(message)
    return (
        ContainerId(told.text(numbers.ContainerEventResponse.container_id)),
        told.number(numbers.ContainerEventResponse.container_event_type),
    )


def verbose_info(answer: bytes) -> dict[str, str]:
    """Return the ``info`` map of a PodSandboxStatusResponse or ContainerStatusResponse (the same field in both)."""
    return Message(answer).mapping(numbers.PodSandboxStatusResponse.info)


def status_resources(answer: bytes) -> LinuxResources | None:
    """Return the resources that a ContainerStatusResponse tells; None where the runtime does not tell any."""
    told = _told_resources(answer)
    if told is None:
        return None
    return LinuxResources(
        cpu_period_us=told.number(numbers.LinuxContainerResources.cpu_period),
        cpu_quota_us=told.number(numbers.LinuxContainerResources.cpu_quota),
        cpu_shares=told.number(numbers.LinuxContainerResources.cpu_shares),
        memory_limit_bytes=told.number(numbers.LinuxContainerResources.memory_limit_in_bytes),
        oom_score_adj=told.number(numbers.LinuxContainerResources.oom_score_adj),
    )


def status_cpus(answer: bytes) -> str:
    """Return which CPUs a ContainerStatusResponse says the container is bound to, as it stands there."""
    told = _told_resources(answer)
    return "" if told is None else told.text(numbers.LinuxContainerResources.cpuset_cpus)


def _told_resources(answer: bytes) -> Message | None:
    status = Message(answer).message(numbers.ContainerStatusResponse.status)
    if not status.has(numbers.ContainerStatus.resources):
        return None
    return status.message(numbers.ContainerStatus.resources).message(numbers.ContainerResources.linux)


def with_cgroup_parent(pod: Pod, cgroup_parent: str) -> Pod:
    """Return *pod* with its cgroup, and the QoS class that follows from it, if one does."""
    qos = class_told_by(cgroup_parent)
    return attrs.evolve(pod, cgroup_parent=cgroup_parent, qos=qos or QoSClass.BEST_EFFORT, qos_told=qos is not None)


def class_told_by(cgroup_parent: str) -> QoSClass | None:
    """Return the QoS class that the name of a pod's cgroup tells; None where it tells none."""
    try:
        return qos_class(cgroup_parent)
    except QoSClassError:
        return None
