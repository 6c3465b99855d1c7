"""One container asked for more than once: a caller that has waited too long asks again while the runtime still works.

CRI-O hands out for a later request what it has made for an earlier one; containerd refuses it, since the name is taken;
and either may answer the first when nobody waits for it any more. So all requests for one container, which is told by
pod, name and attempt, are about one instance with one grant, until the last of them has failed. What the runtime hands
out after a second try may have been made by the first, with what was decided then, so it is told again.

Source: containerd internal/cri/server/container_create.go, CRI-O server/container_create.go (getResourceOrWait).
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from crirm.model.decision import Creation, Decision, State
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, PodId, Workload
from crirm.policy.states import changed, latest, without
from crirm.policy.telling import told_of

Remove = Callable[[State, ContainerKey], Decision]
"""Takes a container out of the state, and its grant back."""

UNSTARTED = frozenset({ContainerState.CREATING, ContainerState.CREATED})


def creation_of(container: Container) -> Creation:
    """Return what all requests for *container* have in common."""
    return container.pod, container.name, container.attempt


def asked_before(workload: Workload, container: Container) -> ContainerKey | None:
    """Return the instance that an earlier request for *container* is about, unless it was started or has ended."""
    wanted = creation_of(container)
    return next(
        (c.key for c in workload.containers.values() if c.state in UNSTARTED and creation_of(c) == wanted), None
    )


def running_before(workload: Workload, pod: PodId, name: str, attempt: int) -> list[ContainerKey]:
    """Return earlier attempts of a container that are believed to run."""
    return [
        other.key
        for other in workload.containers.values()
        if (other.pod, other.name) == (pod, name) and other.attempt < attempt and other.state is ContainerState.RUNNING
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


def named(state: State, id_: ContainerId) -> Container | None:
    """Return the container to which the runtime has given this id."""
    return next((container for container in state.workload.containers.values() if container.id == id_), None)


def tried_again(state: State, creation: Creation) -> State:
    """Take note of one more request in flight."""
    return attrs.evolve(state, tries={**state.tries, creation: state.tries.get(creation, 1) + 1})


def failed_once(state: State, creation: Creation) -> State:
    """Take note that one request has failed; 0 are in flight when it was the last."""
    return attrs.evolve(state, tries={**state.tries, creation: max(0, state.tries.get(creation, 1) - 1)})


def forgotten(state: State, pod: PodId) -> State:
    """Forget the requests for containers of a pod that is gone."""
    return attrs.evolve(state, tries={one: count for one, count in state.tries.items() if one[0] != pod})


def settled(state: State, creation: Creation) -> State:
    """Forget the requests for a container that is there now."""
    return attrs.evolve(state, tries=without(state.tries, creation))


def created(state: State, key: ContainerKey, id_: ContainerId, remove: Remove) -> Decision:
    """Take note that the runtime has made a container: what was decided about it meanwhile can be told now."""
    container, twin = state.workload.containers.get(key), named(state, id_)
    if container is None:
        return Decision(state)
    if twin is not None and twin.key != key:
        return _created_before(state, key, id_, twin, remove)
    if container.state not in UNSTARTED:  # it has ended or was started meanwhile, which says more
        return Decision(state if container.id else changed(state, key, id=id_))
    creation = creation_of(container)
    if creation in state.tries or container.id is not None:
        state = settled(attrs.evolve(state, told=without(state.told, key)), creation)
    return told_of(changed(state, key, id=id_, state=ContainerState.CREATED), (key,))


def _created_before(state: State, key: ContainerKey, id_: ContainerId, twin: Container, remove: Remove) -> Decision:
    """The runtime hands out what it had already: there is one container, with one grant."""
    if twin.state is ContainerState.EXITED:
        removed = remove(state, twin.key)
        then = created(removed.state, key, id_, remove)
        return attrs.evolve(then, effects=(*removed.effects, *then.effects))
    removed = remove(state, key)
    told = told_of(attrs.evolve(removed.state, told=without(removed.state.told, twin.key)), (twin.key,))
    effects = latest([*removed.effects, *told.effects], told.state)
    return attrs.evolve(removed, state=told.state, effects=effects)


def not_created(state: State, key: ContainerKey, remove: Remove) -> Decision:
    """Give the grant back with the last request that fails, unless one of them was answered."""
    container = state.workload.containers.get(key)
    if container is None or container.id is not None or container.state is ContainerState.RUNNING:
        return Decision(state)
    creation = creation_of(container)
    state = failed_once(state, creation)
    if state.tries[creation] and container.state is ContainerState.CREATING:
        return Decision(state)
    return remove(state, key)
