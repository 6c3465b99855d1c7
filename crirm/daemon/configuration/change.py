"""Another configuration for the daemon that runs, as a transaction: planned, applied, enforced, or undone.

What is refused before it is applied has changed nothing. What the runtime refuses afterwards is undone: the old policy
decides again, and every container goes back to what it had. Calls are served all the while.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from crirm import logs
from crirm.cri.dump_rules import DumpRules
from crirm.daemon.configuration.overrides import Adjustments
from crirm.daemon.configuration.planning import plan_aside
from crirm.daemon.observation.resync import resync
from crirm.daemon.settings import NOTHING, intercepted_by
from crirm.errors import CrirmError
from crirm.model.workload import ContainerState
from crirm.policy.activation import Plan, plan
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.daemon.dump.dumper import Dumper
    from crirm.daemon.placement.node import DecidingNode
    from crirm.daemon.relay.router import Relay
    from crirm.daemon.settings import Settings
    from crirm.model.decision import State
    from crirm.model.workload import ContainerKey
    from crirm.policy.api import Json, Policy

log = logs.get_logger("config")

NEEDED_EVERY_S = 5.0  # it is looked whether a node that places nothing any more has still something to do
NAMED_IN_REFUSAL = 5  # containers; the plan has them all


class RejectedError(CrirmError):
    """A configuration cannot be taken into use; the one of before is in force."""


@attrs.frozen
class Placing:
    """What a configuration would do to containers.

    Args:
        node: whose containers they are; of no use to anybody yet where nothing was placed so far.
        policy: that would decide.
        before: the state that the plan begins with.
        plan: what would become of it.
    """

    node: DecidingNode
    policy: Policy
    before: State
    plan: Plan

    def name(self, key: ContainerKey) -> str:
        """Return the name of a container for people."""
        return self.before.workload.full_name(key)


@attrs.frozen
class Proposal:
    """A configuration and what it would do; nothing has been changed.

    Args:
        settings: with the configuration.
        placing: None where nothing is placed, neither now nor then.
    """

    settings: Settings
    placing: Placing | None

    @property
    def refusal(self) -> str:
        """Why it cannot be taken into use; empty: it can."""
        if self.placing is None or self.settings.policy.overflow or not self.placing.plan.unfit:
            return ""
        unfit, name = self.placing.plan.unfit, self.placing.name
        first = [f"{name(key)}: {reason}" for key, reason in list(unfit.items())[:NAMED_IN_REFUSAL]]
        more = f"; and {len(unfit) - len(first)} more" if len(unfit) > len(first) else ""
        return (
            f"of the containers that run, {len(unfit)} would not fit: {'; '.join(first)}{more}; "
            "with policy.AllowOverflow they would share what is left"
        )


@attrs.define
class Reconfiguration:
    """Changes the daemon's settings while it runs; one change at a time.

    Args:
        relay: whose node decides, if anything is placed.
        dumper: of CRI messages.
        service: where the tasks of a node live.
        settings: in force.
        node: decides; None where nothing is placed.
        adjustments: from outside the pods, that a node begins with.
        one_at_a_time: held during a change, of the machine too.
    """

    relay: Relay
    dumper: Dumper
    service: trio.Nursery
    settings: Settings
    node: DecidingNode | None
    adjustments: Adjustments = attrs.field(factory=Adjustments)
    one_at_a_time: trio.Lock = attrs.field(factory=trio.Lock)
    _retiring: DecidingNode | None = attrs.field(default=None, init=False)

    async def propose(self, settings: Settings) -> Proposal:
        """Return what *settings* would do.

        Raises:
            CrirmError: the policy does not fit the machine, or the runtime does not tell what it has.
        """
        async with self.one_at_a_time:
            return await self._propose(settings)

    async def activate(self, settings: Settings) -> Proposal:
        """Take *settings* into use, and return what that has done.

        Raises:
            RejectedError: containers do not fit, or the runtime refuses an update; everything is as before.
            CrirmError: as for `propose`, or a file of logs cannot be written; everything is as before.
        """
        async with self.one_at_a_time:
            proposal = await self._propose(settings)
            if proposal.refusal:
                raise RejectedError(proposal.refusal)
            await self._write_to(settings)
            try:
                if proposal.placing is not None:
                    await self._place(proposal.placing, settings)
            except CrirmError:
                await self._write_to(self.settings, afresh=False)
                raise
            self.settings = settings
            return proposal

    async def _propose(self, settings: Settings) -> Proposal:
        from crirm.daemon.placement.node import open_bare_node  # noqa: PLC0415 - a daemon that only relays stays small
        from crirm.policy.registry import make_policy  # noqa: PLC0415

        node = self.node
        if node is None:
            if settings.policy.name == NOTHING:
                return Proposal(settings, None)
            node = await open_bare_node(settings, self.relay.runtime, self.service, self.adjustments.override)
        policy = await trio.to_thread.run_sync(make_policy, settings.policy, node.topology)
        before, found = await plan_aside(node.engine, partial(_planned, node, policy))
        return Proposal(settings, Placing(node, policy, before, found))

    async def _write_to(self, settings: Settings, *, afresh: bool = True) -> None:
        """Have logs and dump written as *settings* say; both stay as they are when one of them cannot be.

        Another dump file is written from its beginning, if *afresh*.
        """
        rules, intercepted = DumpRules.parse(settings.dump_rules), intercepted_by(settings.policy)
        await self.dumper.configure(rules, settings.dump_file, intercepted, afresh=afresh)
        if settings.log == self.settings.log:
            return
        try:
            logs.configure(settings.log)
        except CrirmError:
            rules, intercepted = DumpRules.parse(self.settings.dump_rules), intercepted_by(self.settings.policy)
            await self.dumper.configure(rules, self.settings.dump_file, intercepted, afresh=False)
            raise

    async def _place(self, placing: Placing, settings: Settings) -> None:
        """Make a plan true; what has happened since it was made is planned for once more."""
        node, engine = placing.node, placing.node.engine
        old_policy, old_overflow = engine.policy, engine.overflow
        old_grants = old_policy.save(engine.state.policy)
        if self.node is None:
            await self._put_to_work(node, settings)
            await self._catch_up(node)
        if engine.state is not placing.before:
            found = _planned(node, placing.policy, engine.state)
            placing = attrs.evolve(placing, before=engine.state, plan=found)
            if refusal := Proposal(settings, placing).refusal:
                self._go_on(node)
                raise RejectedError(refusal)
        found = placing.plan
        old_choice, node.choice = node.choice, settings.policy
        engine.activate(placing.policy, found, overflow=settings.policy.overflow)
        if refused := await node.effects.refused(found.changes):
            back = plan(old_policy, _right_still(old_grants, placing.before, engine.state), engine.state, node.machine)
            node.choice = old_choice
            engine.activate(old_policy, back, overflow=old_overflow)
            log.warning("runtime refused updates, rolling back", containers=len(refused))
            await node.effects.refused(back.changes)
        else:
            engine.fail_open = settings.policy.fail_open
            if node.persistence is not None:
                node.persistence.fail_closed = settings.state_fail_closed
        self._go_on(node)
        if refused:
            told = [f"{placing.name(key)}: {reason}" for key, reason in list(refused.items())[:NAMED_IN_REFUSAL]]
            raise RejectedError(f"the runtime has refused to update {len(refused)} containers: {'; '.join(told)}")

    async def _put_to_work(self, node: DecidingNode, settings: Settings) -> None:
        node.changing = self.one_at_a_time
        await node.keep_state(settings)
        self.node = self.relay.node = node
        self.relay.runtime.on_up = node.on_up
        self.service.start_soon(node.run)

    async def _catch_up(self, node: DecidingNode) -> None:
        """Ask the runtime once more: calls have passed unseen until *node* was at work.

        Raises:
            RejectedError: it does not tell.
        """
        try:
            await resync(node.runtime, node.engine, node.intake)
        except RpcError as error:
            self._go_on(node)
            raise RejectedError(f"the runtime does not tell what runs: {error}; try again") from error

    def _go_on(self, node: DecidingNode) -> None:
        """Let *node* retire if nothing is placed any more and nothing is left to do; else it goes on."""
        if not self._retire(node):
            node.doubt()  # calls that began before this node took part
            if node.engine.policy.name == NOTHING and self._retiring is not node:
                self._retiring = node
                self.service.start_soon(self._retire_later, node)

    async def _retire_later(self, node: DecidingNode) -> None:
        """Let *node* retire once all is done, unless it is to place containers again by then."""
        while self.node is node and node.engine.policy.name == NOTHING:
            await trio.sleep(NEEDED_EVERY_S)
            async with self.one_at_a_time:
                self._retire(node)
        self._retiring = None

    def _retire(self, node: DecidingNode) -> bool:
        """Let *node* retire if it may."""
        if self.node is not node or node.engine.policy.name != NOTHING or self._is_needed(node):
            return False
        self.node = self.relay.node = self.relay.runtime.on_up = None
        node.retire()
        return True

    def _is_needed(self, node: DecidingNode) -> bool:
        """Tell whether somebody has still to be told what was decided, or wants to see what happens."""
        state = node.engine.state
        creating = any(one.state is ContainerState.CREATING for one in state.workload.containers.values())
        untold = any(state.told.get(key) != wanted for key, wanted in state.adjustments.items())
        busy = creating or untold or state.resizing or node.effects.pending()
        return bool(self.relay.runtime.info is None or busy or node.recorder.file)


def _right_still(grants: Mapping[ContainerKey, Json], before: State, now: State) -> Mapping[ContainerKey, Json]:
    """Return those of *grants*, made for containers as they were *before*, that are for what they ask *now*."""
    old, new = before.workload.containers, now.workload.containers
    same = {key for key in old.keys() & new.keys() if old[key].requirements == new[key].requirements}
    return {key: grant for key, grant in grants.items() if key in same}


def _planned(node: DecidingNode, policy: Policy, state: State) -> Plan:
    """Return what would become of *state* under *policy*; pure, so that a thread may do it."""
    ours = node.engine.policy
    grants = ours.save(state.policy) if ours.name == policy.name else {}
    return plan(policy, grants, state, node.machine)
