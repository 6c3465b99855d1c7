"""The value that is admitted: a request, the facts, and the results so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import attrs

from crirm.policy.annotations import Hints

if TYPE_CHECKING:
    from crirm.cri import slice as cri
    from crirm.model.decision import Adjustment, Decision, State
    from crirm.model.events import ContainerRequested, ResizeRequested
    from crirm.model.quantity import Bytes
    from crirm.model.workload import Container, ContainerKey, Pod, TopologyHint

    Overriding = Callable[[Container, Pod], Container]
    Decide = Callable[[ContainerRequested | ResizeRequested], Decision]


def as_asked(container: Container, pod: Pod) -> Container:  # noqa: ARG001 - an `Overriding`
    """Return *container* as its pod requests it."""
    return container


@attrs.frozen
class Facts:
    """Facts beyond the request and the state.

    Args:
        key: of the container to resize, or an unused one for a new container.
        memory_capacity: total memory of the machine.
        decide: returns the policy's decision about an event in this state.
        override: returns a container with its override applied.
        hints: location of its mounts and devices; None if unknown.
        cdi: variables that its CDI devices set, by device, as far as a CDI file has them.
    """

    key: ContainerKey
    memory_capacity: Bytes
    decide: Decide
    override: Overriding = as_asked
    hints: tuple[TopologyHint, ...] | None = ()
    cdi: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)


@attrs.frozen
class Admission:
    """One request, as far as it is processed.

    Args:
        request: as the kubelet sent it.
        state: the current one; after a wait a new admission is needed.
        facts: see `Facts`.
        pod: of the container.
        container: as the policy sees it.
        heeded: how it treats topology hints.
        event: put to the policy.
        decision: the policy's answer.
        adjustment: to write into the request; None: nothing.
        notes: for the trail, one sentence each.
    """

    request: cri.CreateContainerRequest | cri.UpdateContainerResourcesRequest
    state: State
    facts: Facts
    pod: Pod | None = None
    container: Container | None = None
    heeded: Hints = Hints.PREFERRED
    event: ContainerRequested | ResizeRequested | None = None
    decision: Decision | None = None
    adjustment: Adjustment | None = None
    notes: tuple[str, ...] = ()


Step = Callable[[Admission], Admission]


def admitted(asked: Admission, steps: Iterable[Step]) -> Admission:
    """Return *asked* after all *steps*.

    Raises:
        RefusedError: by the first step that refuses it.
    """
    for step in steps:
        asked = step(asked)
    return asked
