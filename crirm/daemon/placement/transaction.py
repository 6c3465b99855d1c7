"""A change of how a node decides, as a transaction: planned, taken into use, and undone where the runtime refuses it.

Calls are served all the while, so the state goes on changing: a plan is good for one state only, and going back is a
plan of its own, in which whoever was resized meanwhile keeps the new size.

A machine that has changed is planned for in the same way, and never undone: what is gone stays gone (`machine`).
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

PLANS_ASIDE = 3  # tries to plan in a thread while the state stands still; then the event loop waits for the plan


async def plan_aside(engine: Engine, make: Callable[[State], T]) -> tuple[State, T]:
    """Return the state of now and the plan for it, made in a thread if the state stands still meanwhile.

    Args:
        engine: whose state it is; nothing is awaited between the last look at it and the return.
        make: pure.
    """
    for _ in range(PLANS_ASIDE):
        before = engine.state
        found = await trio.to_thread.run_sync(make, before)
        if engine.state is before:
            return before, found
    return engine.state, make(engine.state)


class Changing(Protocol):
    """A node, as far as a change of it needs it."""

    engine: Engine
    effects: EffectsWorker

    @property
    def machine(self) -> Adjustment:
        """All CPUs and all memory nodes."""


def _nothing() -> None:
    pass


@attrs.frozen
class Transaction:
    """A change that is planned; nothing has happened yet.

    Args:
        what: it is, for people.
        policy: decides from then on.
        before: the state that the plan begins with.
        plan: what becomes of it.
        choice: of *policy*; None: as it is.
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
        """Let *node* decide so from now on, if the runtime takes every update that this needs.

        Args:
            node: its state has to be `before`.
            undone: called before anything goes back.

        Returns:
            what the runtime has refused, and why; where that is anything, all is as it was before.
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
        """Return how *policy* decides again: with its *grants* of before for all who ask for what they asked then."""
        state = self._asking_as_before(node.engine.state)
        old, now = self.before.workload.containers, state.workload.containers
        right = {key for key in old.keys() & now.keys() if old[key].requirements == now[key].requirements}
        since = policy.save(state.policy) if node.engine.policy is policy else {}
        again = {key: grant for key, grant in grants.items() if key in right}
        return plan(policy, {**since, **again}, state, node.machine)

    def _asking_as_before(self, now: State) -> State:
        """Return *now* with the requirements of before, where the plan has changed them and nobody has since."""
        old, planned, containers = (state.workload.containers for state in (self.before, self.plan.state, now))
        back = {
            key: attrs.evolve(container, requirements=old[key].requirements)
            for key, container in containers.items()
            if key in old and key in planned and container.requirements == planned[key].requirements
        }
        return attrs.evolve(now, workload=attrs.evolve(now.workload, containers={**containers, **back}))
