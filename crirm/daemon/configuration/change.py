"""A change of configuration in a running daemon, as a transaction: planned, applied, enforced, or rolled back.

A configuration rejected before it is applied changes nothing. If the runtime refuses updates afterwards, the change is
rolled back: the old policy decides again, and every container gets back its assignment. Calls are served meanwhile.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio

from crirm import logs
from crirm.cri.dump_rules import DumpRules
from crirm.daemon.settings import NOTHING, intercepted_by
from crirm.errors import CrirmError
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from crirm.admission.admission import Overriding
    from crirm.daemon.decider import Decider
    from crirm.daemon.dump.dumper import Dumper
    from crirm.daemon.node import DecidingNode
    from crirm.daemon.placement.transaction import Transaction
    from crirm.daemon.relay.link import Link
    from crirm.daemon.settings import Settings
    from crirm.model.decision import State
    from crirm.policy.activation import Plan
    from crirm.policy.api import Policy

log = logs.get_logger("config")

NEEDED_EVERY_S = 5.0  # between two checks whether a node that no longer places anything still has work
NAMED_IN_REFUSAL = 5  # containers named in a reason; the plan has them all


class RejectedError(CrirmError):
    """A configuration was rejected; the previous one stays active."""


@attrs.frozen
class Proposal:
    """A configuration and its effects; nothing has been changed.

    Args:
        settings: including the configuration.
        node: of the containers; unused so far where nothing was placed before.
        placing: changes of containers; None where nothing is placed before or after.
    """

    settings: Settings
    node: DecidingNode | None = None
    placing: Transaction | None = None

    @property
    def refusal(self) -> str:
        """Why it cannot be activated; empty: it can."""
        if self.placing is not None and (kept := self._kept(self.placing)):
            return kept
        if self.placing is None or self.settings.policy.overflow or not self.placing.plan.unfit:
            return ""
        unfit, name = self.placing.plan.unfit, self.placing.name
        first = [f"{name(key)}: {reason}" for key, reason in list(unfit.items())[:NAMED_IN_REFUSAL]]
        more = f"; and {len(unfit) - len(first)} more" if len(unfit) > len(first) else ""
        return (
            f"{len(unfit)} running containers do not fit: {'; '.join(first)}{more}; "
            "with policy.AllowOverflow they would run in the shared pool"
        )

    def _kept(self, placing: Transaction) -> str:
        """Return why containers keep the change from being made; empty if none does."""
        from crirm.policy.keeping import broken  # noqa: PLC0415 - a daemon that only relays stays small

        changes = {key: (change.before, change.after) for key, change in placing.plan.changes.items()}
        found = list(broken(placing.before.workload, changes))
        if not found:
            return ""
        named = ", ".join(f"{placing.name(key)} ({what})" for key, what in found[:NAMED_IN_REFUSAL])
        more = f" and {len(found) - NAMED_IN_REFUSAL} more" if len(found) > NAMED_IN_REFUSAL else ""
        return f"it would change what running containers keep (annotation keep): {named}{more}; end these first"


@attrs.define
class Reconfiguration:
    """Changes the daemon's settings while it runs; one change at a time.

    Args:
        decider: the deciding node.
        runtime: the link to it.
        dumper: of CRI messages.
        service: nursery of a node's tasks.
        settings: the active ones.
        override: applies overrides to a container's requests; see ``Intake``.
    """

    decider: Decider
    runtime: Link
    dumper: Dumper
    service: trio.Nursery
    settings: Settings
    override: Overriding
    _retiring: DecidingNode | None = attrs.field(default=None, init=False)

    async def propose(self, settings: Settings) -> Proposal:
        """Return what *settings* would do.

        Raises:
            CrirmError: the policy does not fit the machine, or the runtime does not list its containers.
        """
        async with self.decider.changing:
            return await self._propose(settings)

    async def activate(self, settings: Settings) -> Proposal:
        """Activate *settings* and return the changes.

        Raises:
            RejectedError: containers do not fit, or the runtime refuses an update; nothing is changed.
            CrirmError: as for `propose`, or a log file cannot be written; nothing is changed.
        """
        async with self.decider.changing:
            proposal = await self._propose(settings)
            if proposal.refusal:
                raise RejectedError(proposal.refusal)
            await self._write_to(settings)
            try:
                if proposal.node is not None and proposal.placing is not None:
                    await self._place(proposal, proposal.node, proposal.placing)
            except CrirmError:
                await self._write_to(self.settings, afresh=False)
                raise
            self.settings = settings
            return proposal

    async def _propose(self, settings: Settings) -> Proposal:
        from crirm.daemon.node import open_bare_node  # noqa: PLC0415 - a daemon that only relays stays small
        from crirm.daemon.placement.transaction import Transaction, plan_aside  # noqa: PLC0415
        from crirm.policy.registry import make_policy  # noqa: PLC0415

        node, decider = self.decider.node, self.decider
        if node is None:
            if settings.policy.name == NOTHING:
                return Proposal(settings)
            node = await open_bare_node(settings, self.runtime, self.service, self.override, decider.changing)
        policy = await trio.to_thread.run_sync(make_policy, settings.policy, node.topology)
        before, found = await plan_aside(node.engine, partial(planned, node, policy))
        return Proposal(settings, node, Transaction("configuration", policy, before, found, settings.policy))

    async def _write_to(self, settings: Settings, *, afresh: bool = True) -> None:
        """Configure logs and dump as in *settings*; both stay unchanged if one of them fails.

        A new dump file is truncated if *afresh*.
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

    async def _place(self, proposal: Proposal, node: DecidingNode, placing: Transaction) -> None:
        """Apply a plan; it is made again if the state changed since."""
        if self.decider.node is None:
            await self._put_to_work(node, proposal.settings)
            await self._catch_up(node)
        if node.engine.state is not placing.before:
            now = node.engine.state
            placing = attrs.evolve(placing, before=now, plan=planned(node, placing.policy, now))
            if refusal := attrs.evolve(proposal, placing=placing).refusal:
                self._go_on(node)
                raise RejectedError(refusal)
        refused = await placing.take(node)
        if not refused:
            node.judge_failures(proposal.settings)
        self._go_on(node)
        if refused:
            told = [f"{placing.name(key)}: {reason}" for key, reason in list(refused.items())[:NAMED_IN_REFUSAL]]
            raise RejectedError(f"runtime refused to update {len(refused)} containers: {'; '.join(told)}")

    async def _put_to_work(self, node: DecidingNode, settings: Settings) -> None:
        await node.keep_state(settings)
        await node.first_needs()
        self.decider.node = node
        self.service.start_soon(node.run)

    async def _catch_up(self, node: DecidingNode) -> None:
        """Synchronise again: calls have passed unobserved until *node* was active.

        Raises:
            RejectedError: it does not list its containers.
        """
        from crirm.daemon.observation.resync import resync  # noqa: PLC0415 - as above

        try:
            await resync(node.runtime, node.engine, node.intake)
        except RpcError as error:
            self._go_on(node)
            raise RejectedError(f"runtime did not list its containers: {error}; try again") from error

    def _go_on(self, node: DecidingNode) -> None:
        """Retire *node* if it no longer places anything and has no work left."""
        if not self._retire(node):
            node.doubt()  # calls that began before this node was active
            if node.engine.policy.name == NOTHING and self._retiring is not node:
                self._retiring = node
                self.service.start_soon(self._retire_later, node)

    async def _retire_later(self, node: DecidingNode) -> None:
        """Retire *node* once its work is done, unless it places containers again by then."""
        while self.decider.node is node and node.engine.policy.name == NOTHING:
            await trio.sleep(NEEDED_EVERY_S)
            async with self.decider.changing:
                self._retire(node)
        self._retiring = None

    def _retire(self, node: DecidingNode) -> bool:
        """Retire *node* if it may."""
        if self.decider.node is not node or node.engine.policy.name != NOTHING or self._is_needed(node):
            return False
        self.decider.node = None
        node.retire()
        return True

    def _is_needed(self, node: DecidingNode) -> bool:
        """Whether updates are still to be sent, or a trace is being recorded."""
        from crirm.model.workload import ContainerState  # noqa: PLC0415 - as above

        state = node.engine.state
        creating = any(one.state is ContainerState.CREATING for one in state.workload.containers.values())
        untold = any(state.told.get(key) != wanted for key, wanted in state.adjustments.items())
        busy = creating or untold or state.resizing or node.effects.pending()
        return bool(self.runtime.info is None or busy or node.recorder.file)


def planned(node: DecidingNode, policy: Policy, state: State) -> Plan:
    """Return the plan for *state* under *policy*; pure, so a thread can compute it."""
    from crirm.policy.activation import plan  # noqa: PLC0415 - as above

    ours = node.engine.policy
    grants = ours.save(state.policy) if ours.name == policy.name else {}
    return plan(policy, grants, state, node.machine)
