"""One container asked for more than once: a caller that has waited too long asks again while the runtime still works.

CRI-O hands out for a later request what it has made for an earlier one; containerd refuses it, since the name is taken;
and either may answer the first when nobody waits for it any more. So all requests for one container, which is told by
pod, name and attempt, are about one instance with one grant, until the last of them has failed. What the runtime hands
out after a second try may have been made by the first, with what was decided then, so it is told again.

Source: containerd internal/cri/server/container_create.go, CRI-O server/container_create.go (getResourceOrWait).
"""

from __future__ import annotations

import attrs

from crirm.model.decision import Creation, State
from crirm.model.workload import Container, ContainerKey, ContainerState, PodId, Workload
from crirm.policy.states import without

UNSTARTED = frozenset({ContainerState.CREATING, ContainerState.CREATED})


def creation_of(container: Container) -> Creation:
    """Return what all requests for *container* have in common."""
    return container.pod, container.name, container.attempt


def asked_before(workload: Workload, container: Container) -> ContainerKey | None:
    """Return the instance that an earlier request for *container* is about, unless it was started or has ended."""
    wanted = creation_of(container)
    return next((c.key for c in workload.containers.values() if c.state in UNSTARTED and creation_of(c) == wanted), None)


def running_before(workload: Workload, pod: PodId, name: str, attempt: int) -> list[ContainerKey]:
    """Return earlier attempts of a container that are believed to run."""
    return [
        other.key
        for other in workload.containers.values()
        if (other.pod, other.name) == (pod, name)
        and other.attempt < attempt
        and other.state is ContainerState.RUNNING
    ]


def superseded(workload: Workload, container: Container) -> list[ContainerKey]:
    """Return earlier attempts of *container* that were never started: nobody will start them any more.

    One that runs is left alone, whatever its caller believes: it ends when the runtime says so.
    """
    return [
        other.key
        for other in workload.containers.values()
        if (other.pod, other.name) == (container.pod, container.name)
        and other.attempt < container.attempt
        and other.state in UNSTARTED
    ]


def tried_again(state: State, creation: Creation) -> State:
    """Take note of one more request in flight."""
    return attrs.evolve(state, tries={**state.tries, creation: state.tries.get(creation, 1) + 1})


def failed_once(state: State, creation: Creation) -> State:
    """Take note that one request has failed; 0 are in flight when it was the last."""
    return attrs.evolve(state, tries={**state.tries, creation: max(0, state.tries.get(creation, 1) - 1)})


def settled(state: State, creation: Creation) -> State:
    """Forget the requests for a container that is there now."""
    return attrs.evolve(state, tries=without(state.tries, creation))
