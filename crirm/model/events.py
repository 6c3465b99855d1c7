"""Events, as seen by the core: a closed union of frozen values.

Times and ids come with the events; the core itself has no clock and invents no names.
"""

from __future__ import annotations

import enum

import attrs

from crirm.model.resources import LinuxResources, Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, Pod, PodId


class Timer(enum.Enum):
    """Timers of a container."""

    COLD_START = "cold start"
    REPAIR = "repair"
    """Until crirm tries again to place a degraded container."""
    GATHER = "gather"
    """Until more containers may be moved, of which this one waits to come together."""


@attrs.frozen
class PodAdded:
    """The runtime has made a pod sandbox."""

    pod: Pod


@attrs.frozen
class PodResized:
    """The runtime has accepted new resources of a pod; None means unchanged."""

    id: PodId
    overhead: LinuxResources | None
    resources: LinuxResources | None


@attrs.frozen
class PodStopped:
    """The runtime has stopped a pod sandbox, and with it all its containers."""

    id: PodId


@attrs.frozen
class PodRemoved:
    """The runtime has removed a pod sandbox, and with it all its containers."""

    id: PodId


@attrs.frozen
class ContainerRequested:
    """The kubelet requests a container; the decision carries its adjustment or a refusal."""

    container: Container


@attrs.frozen
class ContainerCreated:
    """The runtime has created the container; its id is known."""

    key: ContainerKey
    id: ContainerId


@attrs.frozen
class CreateFailed:
    """The runtime has refused the container, or the outcome of the call is unknown."""

    key: ContainerKey


@attrs.frozen
class ContainerStarted:
    """The runtime has started the container."""

    key: ContainerKey


@attrs.frozen
class ContainerExited:
    """The container has exited."""

    key: ContainerKey


@attrs.frozen
class ContainerRemoved:
    """The runtime has removed the container."""

    key: ContainerKey


@attrs.frozen
class ResizeRequested:
    """The kubelet resizes a container; the decision carries its adjustment or a refusal."""

    key: ContainerKey
    resources: LinuxResources
    requirements: Requirements


@attrs.frozen
class ResizeDone:
    """The runtime has resized the container."""

    key: ContainerKey


@attrs.frozen
class ResizeFailed:
    """The runtime has refused to resize the container: the resize is rolled back."""

    key: ContainerKey


@attrs.frozen
class TimerExpired:
    """A timer started by an effect has expired."""

    key: ContainerKey
    timer: Timer


@attrs.frozen
class UpdateFailed:
    """The runtime has refused an update from crirm; the container does not have what was decided."""

    key: ContainerKey
    reason: str


@attrs.frozen
class UpdateDone:
    """The runtime has made an update that it had refused before; the container has what is decided now."""

    key: ContainerKey


@attrs.frozen
class MoveRequested:
    """An operator requests one more move by which containers come together, beyond the policy's own budget.

    Args:
        bytes: memory that the container may have where it comes from, at most.
    """

    bytes: int


@attrs.frozen
class Synchronised:
    """The runtime has listed everything it has; anything else that was known at that time is gone.

    Known containers are recognised by id, and keep their key and grant.

    Args:
        pods: all.
        containers: all.
        touched: ids of pods and containers, and keys of containers, that have changed since the runtime was asked: the
            lists may be older than what is known of these, so they say nothing about them. See ``policy.touched``.
    """

    pods: tuple[Pod, ...]
    containers: tuple[Container, ...]
    touched: frozenset[str] = frozenset()


Event = (
    PodAdded
    | PodResized
    | PodStopped
    | PodRemoved
    | ContainerRequested
    | ContainerCreated
    | CreateFailed
    | ContainerStarted
    | ContainerExited
    | ContainerRemoved
    | ResizeRequested
    | ResizeDone
    | ResizeFailed
    | TimerExpired
    | UpdateFailed
    | UpdateDone
    | MoveRequested
    | Synchronised
)
