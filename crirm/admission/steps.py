"""Steps shared by creations and resizes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.model.qos_estimate import classed
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.resources import requirements as requirements_of
from crirm.model.resources_annotation import ANNOTATION, ResourcesAnnotationError, parse_annotation

if TYPE_CHECKING:
    from crirm.admission.admission import Admission
    from crirm.model.quantity import Bytes
    from crirm.model.resources import LinuxResources, Requirements
    from crirm.model.workload import Container, Pod, PodId, Workload


def pod_named(workload: Workload, pod: PodId) -> PodId:
    """Return the full id of a pod sandbox, which callers may shorten as runtimes allow; *pod* if it is unknown."""
    if pod in workload.pods or not pod:
        return pod
    matches = [known for known in workload.pods if known.startswith(pod)]
    return matches[0] if len(matches) == 1 else pod


def identified(asked: Admission) -> tuple[Container, Pod]:
    """Return the container and the pod that an earlier step identified."""
    if asked.container is None or asked.pod is None:
        raise TypeError("a step precedes the one that identifies the container")
    return asked.container, asked.pod


def required(pod: Pod, name: str, resources: LinuxResources, memory_capacity: Bytes) -> Requirements:
    """Return what container *name* of *pod* requests and is limited to.

    Raises:
        RefusedError: the pod's annotation is malformed.
    """
    if not pod.qos_told:
        pod = classed(pod, resources)
    text = pod.annotations.get(ANNOTATION)
    try:
        annotated = parse_annotation(text, name) if text else None
    except ResourcesAnnotationError as error:
        where = f"pod {pod.namespace}/{pod.name}, annotation {ANNOTATION}"
        raise RefusedError(RefusalCode.BAD_ANNOTATION, f"{where}: {error}") from error
    return requirements_of(resources, pod.qos, memory_capacity, annotated)


def requirements(asked: Admission) -> Admission:
    """Work out what the container requests and is limited to."""
    container, pod = identified(asked)
    needs = required(pod, container.name, container.resources, asked.facts.memory_capacity)
    return attrs.evolve(asked, container=attrs.evolve(container, requirements=needs))


def overrides(asked: Admission) -> Admission:
    """Apply the container's override."""
    return attrs.evolve(asked, container=asked.facts.override(*identified(asked)))


def adjust(asked: Admission) -> Admission:
    """Take the assignment from the decision."""
    decision = asked.decision
    return asked if decision is None else attrs.evolve(asked, adjustment=decision.adjustment)
