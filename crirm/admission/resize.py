"""The steps of an UpdateContainerResources."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from crirm.admission.steps import adjust, identified, overrides, requirements
from crirm.cri import slice as cri
from crirm.cri.decode import resources
from crirm.model.events import ResizeRequested
from crirm.model.resources import LinuxResources

if TYPE_CHECKING:
    from crirm.admission.admission import Admission, Step


def identify(asked: Admission) -> Admission:
    """Identify the container, with its new resources; values missing in the request (0) stay unchanged."""
    if not isinstance(asked.request, cri.UpdateContainerResourcesRequest):
        raise TypeError("not an UpdateContainerResourcesRequest")
    workload = asked.state.workload
    container = workload.containers[asked.facts.key]
    values = attrs.asdict(container.resources)
    values.update({name: value for name, value in attrs.asdict(resources(asked.request.linux)).items() if value})
    resized = attrs.evolve(container, resources=LinuxResources(**values))
    return attrs.evolve(asked, pod=workload.pod_of(container), container=resized)


def place(asked: Admission) -> Admission:
    """Ask the policy for the new size."""
    container, _ = identified(asked)
    event = ResizeRequested(container.key, container.resources, container.requirements)
    return attrs.evolve(asked, event=event, decision=asked.facts.decide(event))


RESIZE: Final[tuple[Step, ...]] = (identify, requirements, overrides, place, adjust)
