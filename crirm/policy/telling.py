"""Updates for the runtime: every adjustment that differs from what it was told last."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from crirm.model.decision import Decision, State, UpdateContainer
from crirm.model.workload import ContainerKey
from crirm.policy.states import without


def tell(state: State) -> Decision:
    """Return updates for all adjustments that the runtime does not have."""
    return told_of(state, sorted(state.adjustments))


def as_told(state: State, before: State, key: ContainerKey) -> State:
    """Return *state* with the runtime told of *key* what it was told *before*."""
    told = {key: before.told[key]} if key in before.told else {}
    return attrs.evolve(state, told={**without(state.told, key), **told})


def told_of(state: State, keys: Sequence[ContainerKey]) -> Decision:
    """Have the runtime told the adjustments of *keys* where it does not know them."""
    told, effects = dict(state.told), []
    for key in keys:
        container, wanted = state.workload.containers.get(key), state.adjustments.get(key)
        if container is None or container.id is None or wanted is None or told.get(key) == wanted:
            continue
        told[key] = wanted
        effects.append(UpdateContainer(key, container.id, wanted))
    return Decision(attrs.evolve(state, told=told), effects=tuple(effects))


def with_told(state: State, key: ContainerKey) -> State:
    """Return *state* with the runtime told of *key* what is decided."""
    return attrs.evolve(state, told={**state.told, key: state.adjustments[key]})
