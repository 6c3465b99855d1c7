"""Changes of the machine while crirm runs: detected, planned and applied, like a new configuration.

CPUs and memory can be added and removed, and cgroups above all pods can be reduced. The policy is then created again
for the current machine, and containers are planned again under it: those that can keep their place keep it, the others
are placed again, and those without room share what is left until there is room. If the runtime refuses an update,
nothing is rolled back, since removed CPUs stay removed; the update is retried.

With some configurations no policy can be created for what is left, for example when the reserved CPUs are gone. Then
the last policy continues to decide, reduced to what still exists (`policy.narrowed`), and an error is logged.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs
import trio

from crirm.daemon.placement.transaction import plan_aside
from crirm.errors import CrirmError
from crirm.logs import get_logger
from crirm.model.decision import Adjustment
from crirm.model.hardware import Hardware, Sight, changes_text
from crirm.policy.activation import Plan, plan_for_machine
from crirm.policy.narrowed import NarrowedPolicy
from crirm.policy.partition import PartitionError
from crirm.policy.registry import make_policy
from crirm.system.machine import MachineFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from crirm.daemon.placement.effects import EffectsWorker
    from crirm.daemon.placement.engine import Engine
    from crirm.model.decision import State
    from crirm.model.topology import Topology
    from crirm.model.workload import ContainerKey
    from crirm.policy.api import Choice, Policy

log = get_logger("machine")

LOOK_EVERY_S: Final = 1.0
NAMED: Final = 5  # containers in one log record


class Sights(Protocol):
    """Access to a machine."""

    async def look(self, parents: Collection[str]) -> Sight:
        """Return the result of a quick look; *parents* are the cgroup parents of the known pods."""

    async def read(self, parents: Collection[str]) -> Hardware:
        """Return the whole description; raises CrirmError if the host does not describe a machine."""


@attrs.frozen
class HostSights:
    """Reads a host in threads, since sysfs of a large one takes a second."""

    files: MachineFiles

    @classmethod
    def of(cls, host_root: Path) -> HostSights:
        """Return access to the host whose files are below *host_root*."""
        return cls(MachineFiles(host_root))

    async def look(self, parents: Collection[str]) -> Sight:
        """See `Sights`."""
        return await trio.to_thread.run_sync(self.files.look, parents)

    async def read(self, parents: Collection[str]) -> Hardware:
        """See `Sights`."""
        hardware, oddities = await trio.to_thread.run_sync(self.files.read, parents)
        for oddity in oddities:
            log.warning("host describes its hardware inconsistently", what=str(oddity))
        return hardware


class Measured(Protocol):
    """The node whose machine it is."""

    engine: Engine
    effects: EffectsWorker
    hardware: Hardware
    changing: trio.Lock
    """Held while the configuration, the machine or the overrides change."""

    def settle_on(self, hardware: Hardware) -> None:
        """Set *hardware* as the current machine."""

    def doubt(self) -> None:
        """Schedule a synchronisation, after which refused updates are sent again."""


@attrs.define
class MachineWatch:
    """Adapts assignments to the machine.

    Args:
        node: whose containers they are.
        sights: access to the machine.
        clock: wall-clock seconds.
    """

    node: Measured
    sights: Sights
    clock: Callable[[], float] = time.time
    changed_at_s: float | None = attrs.field(default=None, init=False)
    change: str = attrs.field(default="", init=False)
    """The latest change, as text."""
    _unreadable: str = attrs.field(default="", init=False)

    async def run(self) -> None:
        """Watch the machine until cancelled."""
        async with trio.open_nursery() as telling:
            while True:
                await trio.sleep(LOOK_EVERY_S)
                await self.look(telling)

    async def look(self, telling: trio.Nursery) -> bool:
        """Look once, and adapt to changes; returns whether anything changed."""
        sight = await self.sights.look(self._parents())
        if not sight.shows_change(self.node.hardware.sight):
            self._unreadable = ""
            return False
        async with self.node.changing:
            try:
                hardware = await self.sights.read(self._parents())
            except CrirmError as error:
                self._complain(str(error))
                return False
            self._unreadable = ""
            if hardware.usable == self.node.hardware.usable:
                self.node.hardware = hardware  # only unusable parts differ
                return False
            without_room = self.node.engine.state.degraded.keys()
            found = await self._adapt(hardware)
        self._tell_who_shares(found, without_room)
        telling.start_soon(self._see_through, found)
        return True

    @property
    def problem(self) -> str:
        """Why the active configuration does not fit the machine; empty if it does."""
        policy = self.node.engine.policy
        return policy.why if isinstance(policy, NarrowedPolicy) else ""

    def _parents(self) -> frozenset[str]:
        pods = self.node.engine.state.workload.pods.values()
        return frozenset(pod.cgroup_parent for pod in pods if pod.cgroup_parent)

    async def _adapt(self, hardware: Hardware) -> Plan:
        engine, old = self.node.engine, self.node.hardware.usable
        told = changes_text(old, hardware.usable)
        policy = await self._policy_for(hardware)
        make = partial(planned, engine.policy, policy, hardware.usable, told)
        _, found = await plan_aside(engine, make)
        self.changed_at_s, self.change = self.clock(), told
        self.node.settle_on(hardware)
        engine.activate(policy, found)
        self._tell(hardware, told, found)
        return found

    async def _policy_for(self, hardware: Hardware) -> Policy:
        """Return a policy for *hardware*: a new one, or else the last one reduced to what still exists."""
        usable, engine = hardware.usable, self.node.engine
        try:
            return await trio.to_thread.run_sync(make_policy, engine.choice, usable)
        except CrirmError as error:
            last = engine.policy.inner if isinstance(engine.policy, NarrowedPolicy) else engine.policy
            return NarrowedPolicy(last, usable.online, usable.memory_nodes, explained(str(error), hardware))

    def _tell(self, hardware: Hardware, told: str, found: Plan) -> None:
        facts = {"change": told, "cpus": str(hardware.usable.online), "containers_changed": len(found.changes)}
        if hardware.notes:
            facts["now"] = "; ".join(hardware.notes)
        if self.problem:
            log.error(
                "machine changed and the configuration no longer fits it; assigning only what is left until either "
                "of them changes", **facts, reason=self.problem,
            )  # fmt: skip
        else:
            log.warning("machine changed", **facts)

    def _tell_who_shares(self, found: Plan, already: Collection[ContainerKey]) -> None:
        new = {key: reason for key, reason in found.unfit.items() if key not in already}
        for key, reason in list(new.items())[:NAMED]:
            name = self.node.engine.state.workload.full_name(key)
            log.error("container no longer fits; it runs in the shared pool", container=name, reason=reason)

    async def _see_through(self, found: Plan) -> None:
        """Retry updates that the runtime refused."""
        refused = await self.node.effects.refused(found.changes)
        if refused:
            name = self.node.engine.state.workload.full_name
            first = {name(key): why for key, why in list(refused.items())[:NAMED]}
            log.error("runtime refused updates after the machine changed; retrying", containers=first)
            self.node.doubt()

    def _complain(self, reason: str) -> None:
        if reason != self._unreadable:
            log.error("machine changed, but its new state cannot be read; keeping assignments", reason=reason)
        self._unreadable = reason

    def status(self) -> dict[str, Any]:
        """Return the machine part of ``crirm status``."""
        hardware = self.node.hardware
        return {
            "cpus": str(hardware.usable.online),
            "offline": str(hardware.whole.offline),
            "notes": list(hardware.notes),
            "changed_at_s": self.changed_at_s,
            "change": self.change,
            "problem": self.problem or self._unreadable,
        }


def planned(old: Policy, new: Policy, usable: Topology, change: str, state: State) -> Plan:
    """Return the plan for *state*, decided by *old*, under *new*, which was created for *usable*; pure."""
    grants = old.save(state.policy) if old.name == new.name else {}
    return plan_for_machine(new, grants, state, Adjustment(cpus=usable.online, mems=usable.memory_nodes), change)


def explained(reason: str, hardware: Hardware) -> str:
    """Return *reason*, why a policy does not fit, with the missing parts of the machine."""
    return "; ".join((reason, *hardware.notes))


def policy_at_start(choice: Choice, hardware: Hardware) -> Policy:
    """Return the policy of *choice* for *hardware*.

    Raises:
        CrirmError: there is none, or it does not fit; with the missing parts of the machine.
    """
    try:
        return make_policy(choice, hardware.usable)
    except PartitionError as error:
        raise PartitionError(explained(str(error), hardware)) from error
