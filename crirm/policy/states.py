"""Small changes of the state, from which the pipeline builds its decisions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs

from crirm.model.decision import UNADJUSTED, Adjustment, Effect, State, UpdateContainer
from crirm.model.events import PodResized
from crirm.model.qos_estimate import classed
from crirm.model.resources import LinuxResources
from crirm.model.trail import Move
from crirm.model.workload import Container, ContainerKey, PodId

K = TypeVar("K")
V = TypeVar("V")


def moves_back(before: State, after: State, subject: ContainerKey) -> tuple[Move, ...]:
    """Return what it changes for everybody that the resize of *subject* did not come about."""
    why = f"the runtime did not resize {after.workload.full_name(subject)}"
    pairs = {key: (before.adjustments.get(key, UNADJUSTED), now) for key, now in sorted(after.adjustments.items())}
    return tuple(move for key, pair in pairs.items() for move in moves_of(key, *pair, why))


def moves_of(key: ContainerKey, before: Adjustment, after: Adjustment, why: str) -> list[Move]:
    """Return what is different for one container; what is left as it is from now on is not."""
    moves = []
    if after.cpus is not None and before.cpus != after.cpus:
        moves.append(Move(key, "CPUs", str(before.cpus), str(after.cpus), why))
    if after.mems is not None and before.mems != after.mems:
        moves.append(Move(key, "memory nodes", str(before.mems), str(after.mems), why))
    return moves


def pod_resized(state: State, event: PodResized) -> State:
    """Keep what the pod was given; its containers are resized by calls of their own."""
    pod = state.workload.pods.get(event.id)
    if pod is None:
        return state
    resized = attrs.evolve(
        pod,
        overhead=pod.overhead if event.overhead is None else event.overhead,
        resources=pod.resources if event.resources is None else event.resources,
    )
    return with_workload(state, pods={**state.workload.pods, pod.id: resized})


def healed(state: State, key: ContainerKey) -> State:
    """Return *state* without the mark that a container goes on without its place."""
    return attrs.evolve(state, degraded=without(state.degraded, key))


def members(state: State, pod: PodId) -> list[ContainerKey]:
    """Return the containers of a pod."""
    return [container.key for container in state.workload.containers.values() if container.pod == pod]


def changed(state: State, key: ContainerKey, /, **changes: Any) -> State:
    """Return *state* with *changes* of one container; as it is where that is not known."""
    container = state.workload.containers.get(key)
    return state if container is None else with_container(state, attrs.evolve(container, **changes))


def with_class(state: State, pod: PodId, resources: LinuxResources) -> State:
    """Return *state* in which *pod* has its class, which may follow from the *resources* of one of its containers."""
    known = state.workload.pods[pod]
    if known.qos_told:
        return state
    return with_workload(state, pods={**state.workload.pods, pod: classed(known, resources)})


def with_container(state: State, container: Container) -> State:
    """Return *state* with *container*, new or in another form."""
    return with_workload(state, containers={**state.workload.containers, container.key: container})


def with_workload(state: State, **changes: Any) -> State:
    """Return *state* with *changes* of its workload."""
    return attrs.evolve(state, workload=attrs.evolve(state.workload, **changes))


def without(mapping: Mapping[K, V], key: K) -> Mapping[K, V]:
    """Return *mapping* without *key*; itself where that is not in it."""
    if key not in mapping:
        return mapping
    return {k: v for k, v in mapping.items() if k != key}


def latest(effects: list[Effect], state: State) -> tuple[Effect, ...]:
    """Return *effects* with only the last update of each container, and none of those that hold nothing any more."""
    last = {effect.key: index for index, effect in enumerate(effects) if isinstance(effect, UpdateContainer)}
    return tuple(
        effect
        for index, effect in enumerate(effects)
        if not isinstance(effect, UpdateContainer) or (last[effect.key] == index and effect.key in state.adjustments)
    )
