"""A change of how a node decides, as a transaction: planned, activated, and rolled back if the runtime refuses it.

Calls are served meanwhile, so the state keeps changing: a plan is valid for one state only, and a rollback is a plan of
its own, in which a container that was resized meanwhile keeps the new size.

A change of the machine is planned in the same way, but never rolled back (`machine`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

import attrs
import trio

from crirm.logs import get_logger
from crirm.policy.activation import Plan, plan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crirm.daemon.placement.effects import EffectsWorker
    from crirm.daemon.placement.engine import Engine
    from crirm.model.decision import Adjustment, State
    from crirm.model.workload import ContainerKey
    from crirm.policy.api import Choice, Json, Policy

log = get_logger("policy")

T = TypeVar("T")

PLANS_ASIDE = 3  # attempts to plan in a thread while the state is unchanged; then the event loop waits for the plan


async def plan_aside(engine: Engine, make: Callable[[State], T]) -> tuple[State, T]:
    """Return the current state and a plan for it, made in a thread if the state does not change meanwhile.

    Args:
        engine: has the state; nothing is awaited between reading it last and the return.
        make: pure.
    """
    for _ in range(PLANS_ASIDE):
        before = engine.state
        found = await trio.to_thread.run_sync(make, before)
        if engine.state is before:
            return before, found
    return engine.state, make(engine.state)


class Changing(Protocol):
    """A node, as far as a transaction needs it."""

    engine: Engine
    effects: EffectsWorker

    @property
    def machine(self) -> Adjustment:
        """All CPUs and all memory nodes."""


def _nothing() -> None:
    pass


@attrs.frozen
class Transaction:
    """A planned change; nothing has happened yet.

    Args:
        what: name of the change, for people.
        policy: the new one.
        before: the state before the plan.
        plan: its result.
        choice: of *policy*; None: unchanged.
    """

    what: str
    policy: Policy
    before: State
    plan: Plan
    choice: Choice | None = None

    def name(self, key: ContainerKey) -> str:
        """Return the name of a container for people."""
        return self.before.workload.full_name(key)

    async def take(self, node: Changing, undone: Callable[[], None] = _nothing) -> dict[ContainerKey, str]:
        """Activate the change on *node*, if the runtime accepts every update that it needs.

        Args:
            node: its state must be `before`.
            undone: called before a rollback.

        Returns:
            the updates that the runtime refused, with reasons; if there are any, the change was rolled back.
        """
        engine = node.engine
        policy, choice, grants = engine.policy, engine.choice, engine.policy.save(self.before.policy)
        engine.activate(self.policy, self.plan, self.choice)
        refused = await node.effects.refused(self.plan.changes)
        if refused:
            log.warning("runtime refused updates, rolling back", change=self.what, containers=len(refused))
            undone()
            back = self._back(node, policy, grants)
            engine.activate(policy, back, choice)
            await node.effects.refused(back.changes)
        return refused

    def _back(self, node: Changing, policy: Policy, grants: Mapping[ContainerKey, Json]) -> Plan:
        """Return the rollback: *policy* with its earlier *grants* for containers with unchanged requirements."""
        state = self._asking_as_before(node.engine.state)
        old, now = self.before.workload.containers, state.workload.containers
        right = {key for key in old.keys() & now.keys() if old[key].requirements == now[key].requirements}
        since = policy.save(state.policy) if node.engine.policy is policy else {}
        again = {key: grant for key, grant in grants.items() if key in right}
        had = {key: one for key, one in self.before.adjustments.items() if key in right}
        return plan(policy, {**since, **again}, state, node.machine, had={**state.adjustments, **had})

    def _asking_as_before(self, now: State) -> State:
        """Return *now* with the earlier requirements, where the plan changed them and nothing has since."""
        old, planned, containers = (state.workload.containers for state in (self.before, self.plan.state, now))
        back = {
            key: attrs.evolve(container, requirements=old[key].requirements)
            for key, container in containers.items()
            if key in old and key in planned and container.requirements == planned[key].requirements
        }
        return attrs.evolve(now, workload=attrs.evolve(now.workload, containers={**containers, **back}))
