"""What must have happened, given what the runtime lists and what crirm knew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from crirm.model.events import (
    ContainerExited,
    ContainerRemoved,
    ContainerRequested,
    ContainerStarted,
    Event,
    PodAdded,
    PodRemoved,
    Synchronised,
)
from crirm.model.qos import QoSClass
from crirm.model.qos_estimate import classed
from crirm.model.workload import Container, ContainerState, Pod, PodId, Workload

_QOS_ORDER = {QoSClass.GUARANTEED: 0, QoSClass.BURSTABLE: 1, QoSClass.BEST_EFFORT: 2}


def changes_between(known: Workload, listed: Synchronised) -> list[Event]:
    """Return the events that lead from *known* to what is *listed*: what is gone first, then what is new.

    Containers in the middle of their creation are left alone: their own call will tell.
    """
    pods = {pod.id for pod in listed.pods}
    by_id = {container.id: container for container in listed.containers}
    settled = [c for c in known.containers.values() if c.state is not ContainerState.CREATING]
    events: list[Event] = [PodRemoved(pod) for pod in known.pods if pod not in pods]
    events += [ContainerRemoved(c.key) for c in settled if c.id not in by_id and c.pod in pods]
    for container in settled:
        events += _progress(container, by_id.get(container.id))
    events += [PodAdded(pod) for pod in listed.pods if pod.id not in known.pods]
    events += [ContainerRequested(container) for container in _newcomers(known, listed)]
    return events


def _progress(before: Container, now: Container | None) -> list[Event]:
    if now is None or now.state is before.state:
        return []
    if now.state is ContainerState.EXITED:
        return [ContainerExited(before.key)]
    return [ContainerStarted(before.key)] if now.state is ContainerState.RUNNING else []


def _newcomers(known: Workload, listed: Synchronised) -> list[Container]:
    """Return the live containers that nobody has told of, in the order in which they are to be placed."""
    ids = {container.id for container in known.containers.values()}
    in_flight = {(c.pod, c.name, c.attempt) for c in known.containers.values() if c.state is ContainerState.CREATING}
    pods = {pod.id: pod for pod in (*known.pods.values(), *listed.pods)}
    new = [
        c
        for c in listed.containers
        if c.id not in ids
        and c.pod in pods
        and c.state is not ContainerState.EXITED
        and (c.pod, c.name, c.attempt) not in in_flight
    ]
    return hardest_first(new, pods)


def hardest_first(containers: Iterable[Container], pods: Mapping[PodId, Pod]) -> list[Container]:
    """Return *containers* in the order in which several are placed, those that are hardest to place first.

    The order is that in which CRI Resource Manager re-allocates: QoS class, then memory and CPU, larger before smaller;
    but of one class, those that were found bound to CPUs come first.
    """

    def order(container: Container) -> tuple[object, ...]:
        pod, asked = pods[container.pod], container.requirements
        return (
            _QOS_ORDER[classed(pod, container.resources).qos],
            not container.found_on,  # who is bound already had better stay there
            -asked.memory_request,
            -(asked.memory_limit or 0),
            -asked.cpu_request,
            -(asked.cpu_limit or 0),
            pod.namespace,
            pod.name,
            container.name,
            container.key,
        )

    return sorted(containers, key=order)
