"""The contract, for every policy: what a container keeps (annotation ``keep``) is not changed, or a request is refused.

A policy may heed it by itself, which allows better choices (``topology_aware.keeping``). For the others this is done
here, to what they answer: a container that keeps its CPUs stays on those it has while they are among those that it
would get, and whatever would take it off them, or off memory nodes that it keeps, is refused. Only hardware that
vanishes is no request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import attrs

from crirm.model.decision import UNADJUSTED, Adjustment, State
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.trail import Move
from crirm.model.workload import Container, ContainerKey, Workload
from crirm.policy.annotations import Keep, keeps
from crirm.policy.api import Placement, Policy


def kept_of(workload: Workload, key: ContainerKey) -> Keep:
    """Return what a container keeps; nothing if it is unknown."""
    container = workload.containers.get(key)
    pod = None if container is None else workload.pods.get(container.pod)
    if container is None or pod is None or not pod.annotations:
        return Keep.NOTHING
    return keeps(pod, container.name)


def staying(
    workload: Workload, had: Mapping[ContainerKey, Adjustment], given: Mapping[ContainerKey, Adjustment]
) -> Mapping[ContainerKey, Adjustment]:
    """Return *given* with the CPUs that containers had, where they keep these and would only get more."""
    kept = {key: attrs.evolve(given[key], cpus=had[key].cpus) for key in given if _stays(workload, had, given, key)}
    return {**given, **kept} if kept else given


def staying_in(state: State, placement: Placement, owners: Collection[ContainerKey]) -> Placement:
    """Return *placement*, decided in *state*, with the CPUs and the moves that remain; see `staying`.

    Args:
        state: before.
        placement: in it.
        owners: containers with exclusive CPUs then; these get others only when they are placed or resized themselves.
    """
    sharing = {key: had for key, had in state.adjustments.items() if key not in owners}
    changed = staying(state.workload, sharing, placement.changed)
    if changed is placement.changed:
        return placement
    stayed = {key for key in changed if changed[key] is not placement.changed[key]}
    trail = placement.trail and attrs.evolve(placement.trail, moves=_but(placement.trail.moves, stayed))
    return attrs.evolve(placement, changed=changed, moves=_but(placement.moves, stayed), trail=trail)


def _but(moves: tuple[Move, ...], stayed: Collection[ContainerKey]) -> tuple[Move, ...]:
    return tuple(move for move in moves if not (move.key in stayed and move.what == "CPUs"))


def _stays(
    workload: Workload,
    had: Mapping[ContainerKey, Adjustment],
    given: Mapping[ContainerKey, Adjustment],
    key: ContainerKey,
) -> bool:
    before, after = had.get(key, UNADJUSTED).cpus, given[key].cpus
    return before is not None and after is not None and before < after and kept_of(workload, key).cpus


def check_kept(
    workload: Workload,
    had: Mapping[ContainerKey, Adjustment],
    given: Mapping[ContainerKey, Adjustment],
    subject: ContainerKey,
) -> None:
    """Check that *given*, the changes for the sake of *subject*, leave all others what they keep.

    Raises:
        RefusedError: they do not.
    """
    others = {key: (had.get(key, UNADJUSTED), now) for key, now in given.items() if key != subject}
    for key, what in broken(workload, others, but_wider=True):
        code = RefusalCode.OTHERS_KEEP_CPUS if what == "CPUs" else RefusalCode.OTHERS_KEEP_MEMORY
        msg = f"{workload.full_name(key)} keeps its {what} (annotation keep), which would change"
        raise RefusedError(code, msg)


def broken(
    workload: Workload, changes: Mapping[ContainerKey, tuple[Adjustment, Adjustment]], *, but_wider: bool = False
) -> Iterator[tuple[ContainerKey, str]]:
    """Yield who would lose what it keeps, ``CPUs`` or ``memory nodes``.

    Args:
        workload: pods and containers.
        changes: from one adjustment to another.
        but_wider: whether more CPUs are no change, since the container can stay on those it has; see `staying`.
    """
    for key, (before, after) in sorted(changes.items()):
        kept = kept_of(workload, key)
        if kept.cpus and before.cpus != after.cpus and not (but_wider and _widens(before, after)):
            yield key, "CPUs"
        elif kept.memory and before.mems != after.mems:
            yield key, "memory nodes"


def _widens(before: Adjustment, after: Adjustment) -> bool:
    """Whether a container only gets more CPUs, so that it may as well stay where it is."""
    return before.cpus is not None and after.cpus is not None and before.cpus <= after.cpus


def allocated(policy: Policy, state: State, container: Container) -> Placement:
    """Have *policy* place *container*, such that all others have what they keep.

    Raises:
        RefusedError: by the policy, or since another would lose what it keeps.
    """
    return _heeding(policy, state, policy.allocate(state.policy, state.workload, container), container.key)


def resized(policy: Policy, state: State, container: Container) -> Placement:
    """Likewise, have *policy* resize it."""
    return _heeding(policy, state, policy.resize(state.policy, state.workload, container), container.key)


def _heeding(policy: Policy, state: State, placement: Placement, key: ContainerKey) -> Placement:
    if not policy.heeds_keep:
        check_kept(state.workload, state.adjustments, placement.changed, key)
    return placement
