"""What can happen, as seen by the core: a closed union of frozen values.

Times and ids come in with the events; the core itself knows no clock and makes up no names.
"""

from __future__ import annotations

import enum

import attrs

from crirm.model.resources import LinuxResources, Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, Pod, PodId


class Timer(enum.Enum):
    """What a container may be waiting for."""

    COLD_START = "cold start"
    REPAIR = "repair"
    """Until another try to place a container that crirm could not place because of a fault of its own."""


@attrs.frozen
class PodAdded:
    """The runtime has made a pod sandbox."""

    pod: Pod


@attrs.frozen
class PodResized:
    """The runtime has taken note of other resources of a pod; None leaves what was."""

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
    """The kubelet asks for a container; the decision carries its adjustment or a refusal."""

    container: Container


@attrs.frozen
class ContainerCreated:
    """The runtime has made the container and named it."""

    key: ContainerKey
    id: ContainerId


@attrs.frozen
class CreateFailed:
    """The runtime has refused the container, or it is not known what became of the call."""

    key: ContainerKey


@attrs.frozen
class ContainerStarted:
    """The runtime has started the container."""

    key: ContainerKey


@attrs.frozen
class ContainerExited:
    """The container has ended: it was stopped, has finished or has crashed."""

    key: ContainerKey


@attrs.frozen
class ContainerRemoved:
    """The runtime has removed the container."""

    key: ContainerKey


@attrs.frozen
class ResizeRequested:
    """The kubelet asks for other resources for a container; the decision carries its adjustment or a refusal."""

    key: ContainerKey
    resources: LinuxResources
    requirements: Requirements


@attrs.frozen
class ResizeDone:
    """The runtime has resized the container."""

    key: ContainerKey


@attrs.frozen
class ResizeFailed:
    """The runtime has refused to resize the container: everything is to be as it was before."""

    key: ContainerKey


@attrs.frozen
class TimerExpired:
    """A timer that an effect has started has run out."""

    key: ContainerKey
    timer: Timer


@attrs.frozen
class UpdateFailed:
    """The runtime has refused an update that crirm sent; what the container has is not what was decided."""

    key: ContainerKey
    reason: str


@attrs.frozen
class UpdateDone:
    """The runtime has made an update that it had refused before: what the container has is what is decided now."""

    key: ContainerKey


@attrs.frozen
class Synchronised:
    """The runtime has listed all that it has; whatever else was known when it was asked is gone.

    Containers that crirm knows already are recognised by their id, and keep key and grant.

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
    | Synchronised
)
