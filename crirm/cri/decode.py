"""Messages of the slice as values of the model: pods, containers and resources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import betterproto

from crirm.cri.replies import class_told_by
from crirm.model.annotations import kept
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.qos import QoSClass
from crirm.model.resources import LinuxResources
from crirm.model.workload import Pod, PodId

if TYPE_CHECKING:
    from crirm.cri import slice as cri


@attrs.frozen
class Place:
    """A mount or device of the host that a container uses.

    Args:
        path: on the host.
        inside: the path in the container.
        writable: whether the container may change it.
        device: a device node rather than a mount.
    """

    path: str
    inside: str
    writable: bool
    device: bool


def resources(message: cri.LinuxContainerResources) -> LinuxResources:
    """Return the resources in a LinuxContainerResources."""
    return LinuxResources(
        cpu_period_us=message.cpu_period,
        cpu_quota_us=message.cpu_quota,
        cpu_shares=message.cpu_shares,
        memory_limit_bytes=message.memory_limit_in_bytes,
        oom_score_adj=message.oom_score_adj,
    )


def resources_if_there(message: cri.LinuxContainerResources) -> LinuxResources | None:
    """Return the same, None if the field is not set."""
    return resources(message) if betterproto.serialized_on_wire(message) else None


def asked_sets(message: cri.LinuxContainerResources) -> tuple[str, str]:
    """Return the requested CPUs and memory nodes of a LinuxContainerResources, in crirm's notation.

    Raises:
        ListFormatError: one of them is malformed.
    """
    return str(CPUSet.parse(message.cpuset_cpus)), str(NodeSet.parse(message.cpuset_mems))


def sandbox_config(config: cri.PodSandboxConfig, pod_id: str) -> Pod:
    """Return the pod of a PodSandboxConfig; BestEffort for now if its cgroup does not show its QoS class."""
    metadata, linux = config.metadata, config.linux
    qos = class_told_by(linux.cgroup_parent)
    return Pod(
        id=PodId(pod_id),
        uid=metadata.uid,
        name=metadata.name,
        namespace=metadata.namespace,
        qos=qos or QoSClass.BEST_EFFORT,
        qos_told=qos is not None,
        cgroup_parent=linux.cgroup_parent,
        labels=config.labels,
        annotations=kept(config.annotations),
        overhead=resources_if_there(linux.overhead),
        resources=resources_if_there(linux.resources),
    )


def places(config: cri.ContainerConfig) -> tuple[Place, ...]:
    """Return the mounts and devices of a container, in the order of the request."""
    return (*map(_mount, config.mounts), *map(_device, config.devices))


def _mount(mount: cri.Mount) -> Place:
    return Place(path=mount.host_path, inside=mount.container_path, writable=not mount.readonly, device=False)


def _device(device: cri.Device) -> Place:
    writable = any(letter in device.permissions for letter in "wm")
    return Place(path=device.host_path, inside=device.container_path, writable=writable, device=True)
