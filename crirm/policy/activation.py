"""Changing the configuration of a running node: first as a plan, which changes nothing.

Every grant that the new policy can keep stays unchanged. Other containers are placed again, the ones that are hardest
to place first. The plan lists the containers that would move and those that would not fit; the caller
decides whether to carry it out. A rollback is a plan too: with the old policy and the earlier grants.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from crirm.model.cpuset import CPUSet
from crirm.model.decision import UNADJUSTED, Adjustment, Before, Effect, State
from crirm.model.trail import Trail
from crirm.model.workload import ContainerKey
from crirm.policy.api import Json, Policy
from crirm.policy.pipeline import HOLDING
from crirm.policy.restore import NO_GRANT, Saved, revive
from crirm.policy.telling import tell

RECONFIGURED = "the configuration changed"
OTHER_POLICY = "the policy changed"
_SUPERSEDED = object()  # equals no policy state


@attrs.frozen
class Change:
    """The change of a configuration for one container.

    Args:
        before: its adjustment under the old configuration.
        after: that under the new one.
        why: the reason.
    """

    before: Adjustment
    after: Adjustment
    why: str


@attrs.frozen
class Plan:
    """A node under another configuration.

    Args:
        state: from which the new policy would continue.
        effects: to be performed.
        changes: containers that would change.
        unfit: containers that would not fit, and why; they would run on shared CPUs.
        trails: of the containers that would be placed again.
        machine: description of the change of the machine; empty if the configuration changes.
    """

    state: State
    effects: tuple[Effect, ...] = ()
    changes: Mapping[ContainerKey, Change] = attrs.field(factory=dict)
    unfit: Mapping[ContainerKey, str] = attrs.field(factory=dict)
    trails: tuple[Trail, ...] = ()
    machine: str = ""


def plan(
    policy: Policy,
    grants: Mapping[ContainerKey, Json],
    state: State,
    machine: Adjustment,
    why: str = RECONFIGURED,
    had: Mapping[ContainerKey, Adjustment] | None = None,
) -> Plan:
    """Return the plan for *state* under *policy*.

    Args:
        policy: the new one.
        grants: to be kept where they fit, as `Policy.save` of the new policy's kind returns them; none of another's.
        state: the current one, under the old policy.
        machine: all CPUs and all memory nodes: what a container gets back that the new policy does not bind.
        why: the reason for changes.
        had: what counts as theirs of containers that keep it (see `policy.keeping`); None: what they have in *state*.
    """
    had = state.adjustments if had is None else had
    saved = Saved(state.workload, grants, state.told, state.timers, state.degraded, state.moved, had)
    revived = revive(policy, saved)
    resizing = {key: _superseded(before) for key, before in state.resizing.items()}
    bound = {**state.adjustments, **state.told}  # who could not be told may have the one or the other
    free = freed(policy, revived.state, machine, bound)
    told = tell(attrs.evolve(free, resizing=resizing, tries=state.tries, unsure=state.unsure))
    return Plan(
        state=told.state,
        effects=told.effects,
        changes=_changes(state, told.state, revived.moved, why),
        unfit={**revived.squeezed, **revived.lost},
        trails=revived.trails,
    )


def _superseded(before: Before) -> Before:
    """Return *before* such that a failed resize asks the new policy for the old size, and never brings the old back."""
    return attrs.evolve(before, policy=_SUPERSEDED, after=_SUPERSEDED)


def freed(
    policy: Policy, state: State, machine: Adjustment, bound: Mapping[ContainerKey, Adjustment] | None = None
) -> State:
    """Return *state* with the whole *machine* for whoever was bound under another configuration and is not any more.

    One that *policy* could not place at all is kept off the CPUs that others have to themselves; where they are not
    bound to them, nobody has.

    Args:
        policy: decides from now on.
        state: of now.
        machine: all CPUs and all memory nodes.
        bound: what each container may have; None: what the runtime was told.
    """
    containers, bound = state.workload.containers, state.told if bound is None else bound
    unplaced = dict.fromkeys(state.degraded.keys() - state.adjustments.keys(), UNADJUSTED)  # nor bound so far, perhaps
    bound = {**unplaced, **bound}
    bound = {key: one for key, one in bound.items() if key in containers and containers[key].state in HOLDING}
    adjustments = dict(state.adjustments)
    bound_owners = {key: cpus for key, cpus in policy.exclusive(state.policy).items() if _is_bound(adjustments, key)}
    owned = CPUSet.union(bound_owners.values())
    for key, had in bound.items():
        wanted = adjustments.get(key, UNADJUSTED)
        whole = machine.cpus or CPUSet()
        room = (whole - owned or whole) if key in state.degraded else whole
        intrudes = key in state.degraded and bool(owned)
        cpus = room if wanted.cpus is None and (had.cpus is not None or intrudes) else wanted.cpus
        mems = machine.mems if wanted.mems is None and had.mems is not None else wanted.mems
        if (free := attrs.evolve(wanted, cpus=cpus, mems=mems)) != wanted:
            adjustments[key] = free
    return attrs.evolve(state, adjustments=adjustments)


def _is_bound(adjustments: Mapping[ContainerKey, Adjustment], key: ContainerKey) -> bool:
    return adjustments.get(key, UNADJUSTED).cpus is not None


def plan_for_machine(
    policy: Policy, grants: Mapping[ContainerKey, Json], state: State, machine: Adjustment, change: str
) -> Plan:
    """Return the plan for *state* under *policy*, which was made for a machine that has changed as *change* says.

    Containers that overflowed are placed again, since there may be room now; otherwise see `plan`.
    """
    kept = {key: grant for key, grant in grants.items() if key not in state.degraded}
    found = plan(policy, kept, state, machine, f"the machine changed: {change}")
    return attrs.evolve(found, machine=change)


def _changes(before: State, after: State, moved: Mapping[ContainerKey, str], why: str) -> dict[ContainerKey, Change]:
    keys = sorted(before.adjustments.keys() | after.adjustments.keys())
    pairs = {key: (before.adjustments.get(key, UNADJUSTED), after.adjustments.get(key, UNADJUSTED)) for key in keys}
    return {key: Change(*pair, _why(moved.get(key), why)) for key, pair in pairs.items() if pair[0] != pair[1]}


def _why(moved: str | None, why: str) -> str:
    match moved:
        case None:
            return why
        case str() if moved == NO_GRANT:
            return OTHER_POLICY if why == RECONFIGURED else why
        case _:
            return moved
