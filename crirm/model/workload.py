"""Pods and containers on the node, as crirm knows them."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NewType

import attrs

from crirm.model.claims import CPUClaim
from crirm.model.cpuset import NO_CPUS, CPUSet, NodeSet
from crirm.model.qos import QoSClass
from crirm.model.resources import LinuxResources, Requirements

PodId = NewType("PodId", str)
"""Id of a pod sandbox, given by the runtime."""

ContainerId = NewType("ContainerId", str)
"""Id of a container, given by the runtime once it is created."""

ContainerKey = NewType("ContainerKey", str)
"""crirm's key of one container instance, from the moment it is requested; never reused."""


class ContainerState(enum.Enum):
    """The state of a container."""

    CREATING = "creating"
    """Requested; the runtime has not answered yet. Its grant is reserved."""
    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    """Exited; it no longer holds a grant."""


@attrs.frozen
class Pod:
    """A pod sandbox."""

    id: PodId
    uid: str
    name: str
    namespace: str
    qos: QoSClass
    cgroup_parent: str = ""
    labels: Mapping[str, str] = attrs.field(factory=dict)
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    overhead: LinuxResources | None = None
    """What it takes to run the sandbox itself, as the kubelet says; None where it does not."""
    resources: LinuxResources | None = None
    """What its containers together request and are limited to, likewise."""
    qos_told: bool = True
    """Whether its cgroup parent shows its class; otherwise it follows from its containers, see ``qos_estimate``."""


@attrs.frozen
class TopologyHint:
    """The place of a device or disk that a container uses."""

    provider: str
    """The path in sysfs where it was found."""
    cpus: CPUSet | None = None
    nodes: NodeSet | None = None
    packages: frozenset[int] | None = None


@attrs.frozen
class Container:
    """One instance of a container."""

    key: ContainerKey
    pod: PodId
    name: str
    state: ContainerState
    requirements: Requirements
    """Its current requests and limits."""
    resources: LinuxResources = attrs.field(factory=LinuxResources)
    """What the kubelet has sent, and is shown when it asks for the status."""
    id: ContainerId | None = None
    attempt: int = 0
    labels: Mapping[str, str] = attrs.field(factory=dict)
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    tags: Mapping[str, str] = attrs.field(factory=dict)
    """Tags set by crirm, such as AVX512."""
    hints: tuple[TopologyHint, ...] = ()
    found_on: CPUSet = NO_CPUS
    """CPUs to which the runtime says it is pinned, for a container that was found running."""
    claims: tuple[CPUClaim, ...] = ()
    """CPUs that a DRA driver has given to it; then it runs on exactly these."""


@attrs.frozen
class Workload:
    """All pods and containers."""

    pods: Mapping[PodId, Pod] = attrs.field(factory=dict)
    containers: Mapping[ContainerKey, Container] = attrs.field(factory=dict)

    def pod_of(self, container: Container) -> Pod:
        """Return the pod of *container*.

        Raises:
            KeyError: there is none; the pipeline never lets that happen.
        """
        return self.pods[container.pod]

    def full_name(self, key: ContainerKey) -> str:
        """Return ``namespace/pod/container``, or the bare key of an unknown container."""
        container = self.containers.get(key)
        if container is None:
            return key
        pod = self.pods[container.pod]
        return f"{pod.namespace}/{pod.name}/{container.name}"
