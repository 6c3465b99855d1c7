"""Events derived from the difference between the runtime's lists and crirm's state."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

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

    Whatever was touched since the runtime was asked is left alone, and so are containers in the middle of their
    creation: their own call will tell.
    """
    pods = {pod.id for pod in listed.pods} | listed.touched
    pods |= {c.pod for c in known.containers.values() if c.key in listed.touched}
    by_id = {container.id: container for container in listed.containers}
    settled = [
        c for c in known.containers.values() if c.state is not ContainerState.CREATING and c.key not in listed.touched
    ]
    events: list[Event] = [PodRemoved(pod) for pod in known.pods if pod not in pods]
    events += [ContainerRemoved(c.key) for c in settled if c.id not in by_id and c.pod in pods]
    for container in settled:
        events += _progress(container, by_id.get(container.id))
    events += [PodAdded(pod) for pod in listed.pods if pod.id not in known.pods and pod.id not in listed.touched]
    newcomers = _newcomers(known, listed)
    pods_of_all = {pod.id: pod for pod in (*listed.pods, *known.pods.values())}
    events += [ContainerRequested(container) for container in hardest_first(newcomers, pods_of_all)]
    return events


def _progress(before: Container, now: Container | None) -> list[Event]:
    """Return what has become of one container; states follow one another in one direction only."""
    if now is None or now.state is before.state:
        return []
    if now.state is ContainerState.EXITED:
        return [ContainerExited(before.key)]
    if now.state is not ContainerState.RUNNING:
        return []
    if before.state is ContainerState.EXITED:  # it was taken for ended, and runs: it needs a place again
        return [ContainerRequested(attrs.evolve(before, state=now.state))]
    return [ContainerStarted(before.key)]


def _newcomers(known: Workload, listed: Synchronised) -> list[Container]:
    """Return the live containers that crirm does not know."""
    ids = {container.id for container in known.containers.values()}
    in_flight = {(c.pod, c.name, c.attempt) for c in known.containers.values() if c.state is ContainerState.CREATING}
    pods = known.pods.keys() | ({pod.id for pod in listed.pods} - listed.touched)
    return [
        c
        for c in listed.containers
        if c.id not in ids
        and listed.touched.isdisjoint((c.id, c.pod))
        and c.pod in pods
        and c.state is not ContainerState.EXITED
        and (c.pod, c.name, c.attempt) not in in_flight
    ]


def hardest_first(containers: Iterable[Container], pods: Mapping[PodId, Pod]) -> list[Container]:
    """Return *containers* in the order in which several are placed, those that are hardest to place first.

    Containers with claims of a DRA driver come first. The order of the others is that in which CRI Resource Manager
    re-allocates: QoS class, then memory and CPU, larger before smaller; but of one class, those that were found bound
    to CPUs come first.
    """

    def order(container: Container) -> tuple[object, ...]:
        pod, asked = pods[container.pod], container.requirements
        return (
            not container.claims,  # a driver has decided where these run
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
