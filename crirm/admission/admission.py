"""The value that is admitted: a request, what is known, and what was worked out so far."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
    """Return *container* as its pod asks for it."""
    return container


@attrs.frozen
class Facts:
    """What has to be known beyond the request and the state.

    Args:
        key: of a container that is to be resized, or an unused one for a container that is new.
        memory_capacity: the machine's whole memory.
        decide: what the policy would answer to an event in this very state.
        override: returns a container as external adjustments want it.
        hints: where its mounts and devices are; None where that could not be found out.
    """

    key: ContainerKey
    memory_capacity: Bytes
    decide: Decide
    override: Overriding = as_asked
    hints: tuple[TopologyHint, ...] | None = ()


@attrs.frozen
class Admission:
    """One request, as far as it is understood and decided about.

    Args:
        request: as the kubelet has sent it.
        state: of the moment; whoever has waited since begins anew with another.
        facts: see there.
        pod: in which the container is.
        container: as it is to be decided about.
        heeded: what it makes of topology hints.
        event: what the policy was asked.
        decision: what it has answered.
        adjustment: what the request is to carry to the runtime; None: no more than it does.
        notes: for the trail, a sentence each.
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
    """Return what comes of *asked* when it has gone through all *steps*.

    Raises:
        RefusedError: of the first step that refuses it.
    """
    for step in steps:
        asked = step(asked)
    return asked
