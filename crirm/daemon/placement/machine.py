"""A machine that changes while crirm runs: noticed, planned and applied, like another configuration.

CPUs and memory come and go, and so does what a cgroup above all pods leaves of them. Whatever that is, a policy is made
anew for what there is now, and what containers have is planned anew under it: who can keep its place keeps it, the
others are placed again, and who finds no room shares what is left until there is room. Nothing of that is undone where
the runtime refuses an update, for what is gone stays gone; it is told again then.

Under some configurations no policy can be made for what is left, when the reserved CPUs are gone for example. The last
one goes on deciding then, with what is there of what it gives (`policy.narrowed`), and that is told loudly.
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
NAMED: Final = 5  # containers in one record


class Sights(Protocol):
    """What can look at a machine."""

    async def look(self, parents: Collection[str]) -> Sight:
        """Return what a quick look shows; *parents* are the cgroup parents of the pods that are known."""

    async def read(self, parents: Collection[str]) -> Hardware:
        """Return all there is to know; raises CrirmError where the host does not describe a machine."""


@attrs.frozen
class HostSights:
    """Looks at a host in threads, since reading sysfs of a large one takes a second."""

    files: MachineFiles

    @classmethod
    def of(cls, host_root: Path) -> HostSights:
        """Return what looks at the host whose files are below *host_root*."""
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
    """Held while something changes how the node decides: one thing at a time."""

    def settle_on(self, hardware: Hardware) -> None:
        """Take *hardware* for what there is from now on."""

    def doubt(self) -> None:
        """Have the runtime asked again, and told what it has not taken."""


@attrs.define
class MachineWatch:
    """Sees to it that what containers have is there.

    Args:
        node: whose containers they are.
        sights: looks at the machine.
        clock: wall-clock seconds.
    """

    node: Measured
    sights: Sights
    clock: Callable[[], float] = time.time
    changed_at_s: float | None = attrs.field(default=None, init=False)
    change: str = attrs.field(default="", init=False)
    """The latest change, in words."""
    _unreadable: str = attrs.field(default="", init=False)

    async def run(self) -> None:
        """Look at the machine for ever."""
        async with trio.open_nursery() as telling:
            while True:
                await trio.sleep(LOOK_EVERY_S)
                await self.look(telling)

    async def look(self, telling: trio.Nursery) -> bool:
        """Look once, and adapt to what is there; returns whether anything has changed."""
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
                self.node.hardware = hardware  # offline CPUs that were never there, or nodes without anything
                return False
            without_room = self.node.engine.state.degraded.keys()
            found = await self._adapt(hardware)
        self._tell_who_shares(found, without_room)
        telling.start_soon(self._see_through, found)
        return True

    @property
    def problem(self) -> str:
        """Why no policy can be made for the machine under the configuration in force; empty where one could."""
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
        """Return a policy for *hardware*: one made for it, or else the last one with what is there of its gifts."""
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
        """Have the runtime told again where it has refused an update."""
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
        """Return what ``crirm status`` tells about the machine."""
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
    """Return what becomes of *state*, decided by *old*, under *new*, which was made for *usable*; pure."""
    grants = old.save(state.policy) if old.name == new.name else {}
    return plan_for_machine(new, grants, state, Adjustment(cpus=usable.online, mems=usable.memory_nodes), change)


def explained(reason: str, hardware: Hardware) -> str:
    """Return *reason*, why a policy does not fit, with what of the machine is missing."""
    return "; ".join((reason, *hardware.notes))


def policy_at_start(choice: Choice, hardware: Hardware) -> Policy:
    """Return the policy of *choice* for *hardware*.

    Raises:
        CrirmError: there is none, or it does not fit; with what is missing of the machine.
    """
    try:
        return make_policy(choice, hardware.usable)
    except PartitionError as error:
        raise PartitionError(explained(str(error), hardware)) from error
