"""The states of CRI, as values of their enumerations (betterproto declares the members as plain integers)."""

from __future__ import annotations

from crirm.cri.proto.runtime.v1 import ContainerEventType, ContainerState, PodSandboxState, Signal

READY = PodSandboxState(PodSandboxState.SANDBOX_READY)
NOT_READY = PodSandboxState(PodSandboxState.SANDBOX_NOTREADY)

CREATED = ContainerState(ContainerState.CONTAINER_CREATED)
RUNNING = ContainerState(ContainerState.CONTAINER_RUNNING)
EXITED = ContainerState(ContainerState.CONTAINER_EXITED)

CREATED_EVENT = ContainerEventType(ContainerEventType.CONTAINER_CREATED_EVENT)
STARTED_EVENT = ContainerEventType(ContainerEventType.CONTAINER_STARTED_EVENT)
STOPPED_EVENT = ContainerEventType(ContainerEventType.CONTAINER_STOPPED_EVENT)
DELETED_EVENT = ContainerEventType(ContainerEventType.CONTAINER_DELETED_EVENT)

SIGTERM = Signal(Signal.SIGTERM)
