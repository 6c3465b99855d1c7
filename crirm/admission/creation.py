"""The steps of a CreateContainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from crirm.admission.admission import admitted
from crirm.admission.claims import claims
from crirm.admission.steps import adjust, identified, overrides, pod_named, requirements
from crirm.cri import slice as cri
from crirm.cri.decode import places, resources
from crirm.model.annotations import kept
from crirm.model.events import ContainerRequested
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.resources import Requirements
from crirm.model.workload import Container, ContainerState, PodId
from crirm.policy.annotations import Hints, topology_hints
from crirm.policy.creation import asked_before

if TYPE_CHECKING:
    from crirm.admission.admission import Admission, Step
    from crirm.cri.decode import Place

_NOBODY_KNOWS: Final = "cannot determine the location of its mounts and devices, which topologyhints: strict requires"


def identify(asked: Admission) -> Admission:
    """Identify the container and its pod; earlier requests for it are about the same instance."""
    if not isinstance(asked.request, cri.CreateContainerRequest):
        raise TypeError("not a CreateContainerRequest")
    workload, config = asked.state.workload, asked.request.config
    pod = pod_named(workload, PodId(asked.request.pod_sandbox_id))
    container = Container(
        key=asked.facts.key,
        pod=pod,
        name=config.metadata.name,
        attempt=config.metadata.attempt,
        state=ContainerState.CREATING,
        resources=resources(config.linux.resources),
        requirements=Requirements(),
        labels=config.labels,
        annotations=kept(config.annotations),
    )
    before = asked_before(workload, container)
    container = attrs.evolve(container, key=before) if before else container
    return attrs.evolve(asked, pod=workload.pods[pod], container=container)


def read_annotations(asked: Admission) -> Admission:
    """Read the annotations for crirm itself; the policy reads its own."""
    container, pod = identified(asked)
    return attrs.evolve(asked, heeded=topology_hints(pod, container.name))


def hints(asked: Admission) -> Admission:
    """Add topology hints; a container that requires them is refused if they are unknown."""
    container, _ = identified(asked)
    if asked.facts.hints is None and asked.heeded is Hints.STRICT:
        raise RefusedError(RefusalCode.UNKNOWN_DEVICE_LOCATION, f"{container.name}: {_NOBODY_KNOWS}")
    return attrs.evolve(asked, container=attrs.evolve(container, hints=asked.facts.hints or ()))


def place(asked: Admission) -> Admission:
    """Ask the policy for a place."""
    event = ContainerRequested(identified(asked)[0])
    return attrs.evolve(asked, event=event, decision=asked.facts.decide(event))


UNDERSTOOD: Final[tuple[Step, ...]] = (identify, read_annotations, requirements)
"""The steps that need no facts of the host."""
CREATION: Final[tuple[Step, ...]] = (*UNDERSTOOD, hints, claims, overrides, place, adjust)


def hinting_places(asked: Admission) -> tuple[Hints, tuple[Place, ...]]:
    """Return how a new container uses topology hints, and its mounts and devices whose location matters for that.

    Raises:
        RefusedError: the request is refused regardless of their location.
    """
    heeded = admitted(asked, UNDERSTOOD).heeded
    if heeded is Hints.IGNORED or not isinstance(asked.request, cri.CreateContainerRequest):
        return heeded, ()
    return heeded, places(asked.request.config)
