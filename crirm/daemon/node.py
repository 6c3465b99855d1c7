"""The deciding half of the daemon: engine, intake, effects and observation of the runtime, started as one."""

from __future__ import annotations

from collections import Counter
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from crirm import __version__
from crirm.admission.admission import as_asked
from crirm.daemon.enforcer.enforcer import Enforcer
from crirm.daemon.enforcer.kernel import ThreadedKernel
from crirm.daemon.observation.doubts import Doubts
from crirm.daemon.observation.listening import EVENTS, listen
from crirm.daemon.observation.looking import Looking
from crirm.daemon.observation.meeting import Meeting
from crirm.daemon.observation.observing import Observing
from crirm.daemon.observation.polling import relist
from crirm.daemon.observation.resync import resync
from crirm.daemon.observation.settle import settle_creations
from crirm.daemon.placement.answers import refuse, unsaved
from crirm.daemon.placement.clearing import Clearing
from crirm.daemon.placement.effects import EffectsWorker
from crirm.daemon.placement.engine import Engine
from crirm.daemon.placement.intake import Intake
from crirm.daemon.placement.ladder import ladder
from crirm.daemon.placement.machine import HostSights, MachineWatch, policy_at_start
from crirm.daemon.relay.runtime_calls import RuntimeCalls
from crirm.daemon.settings import NOTHING
from crirm.daemon.state.persistence import Persistence, open_persistence
from crirm.daemon.state.recorder import Recorder, RecordingError
from crirm.daemon.state.shadowing import Shadowing
from crirm.daemon.steady import steadily
from crirm.errors import CrirmError
from crirm.logs import get_logger
from crirm.model.decision import Adjustment
from crirm.model.topology_json import digest
from crirm.policy.api import Choice
from crirm.policy.registry import make_policy
from crirm.rpc.grpc_wire import RpcError
from crirm.system.cdi import variables_of
from crirm.system.cgroup import Cgroups, CgroupsUnusableError
from crirm.system.hints import hints_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from crirm.admission.admission import Overriding
    from crirm.daemon.placement.defrag import Defrag
    from crirm.daemon.placement.machine import Sights
    from crirm.daemon.relay.link import Link
    from crirm.daemon.relay.runtime_info import RuntimeInfo
    from crirm.daemon.settings import Mode, Settings
    from crirm.model.hardware import Hardware
    from crirm.model.topology import Topology
    from crirm.model.workload import ContainerKey
    from crirm.rpc.calls import Handler
    from crirm.rpc.client import Pool
    from crirm.rpc.tap import CallTap

log = get_logger("runtime")

CGROUPS = "sys/fs/cgroup"  # under the host's root


class UnknownWorkloadError(CrirmError):
    """The containers on the node are unknown."""


async def open_node(
    settings: Settings, pool: Pool, nursery: trio.Nursery, override: Overriding, changing: trio.Lock
) -> DecidingNode:
    """Discover the machine, create the policy for it, and restore saved state.

    Raises:
        CrirmError: unknown policy, or one that does not fit the machine.
    """
    sights = HostSights.of(Path(settings.host_root))
    hardware = await sights.read(())
    policy = policy_at_start(settings.policy, hardware)
    engine = Engine(policy, settings.policy)
    node = DecidingNode(engine, pool, settings, nursery, HostView(hardware, sights), override, changing)
    for note in hardware.notes if settings.policy.name != NOTHING else ():
        log.warning("part of this machine is not available for containers", what=note)
    await node.keep_state(settings, resume=True)
    if settings.record:
        await node.record(settings.record)
    return node


async def open_bare_node(
    settings: Settings, link: Link, nursery: trio.Nursery, override: Overriding, changing: trio.Lock
) -> DecidingNode:
    """Return a node that knows the containers and decides nothing, for a daemon that has placed nothing so far.

    Raises:
        UnknownWorkloadError: the runtime did not list its containers.
    """
    sights = HostSights.of(Path(settings.host_root))
    hardware = await sights.read(())
    engine = Engine(make_policy(Choice(), hardware.usable))
    node = DecidingNode(engine, link.pool, settings, nursery, HostView(hardware, sights), override, changing)
    if link.info is None:
        raise UnknownWorkloadError(
            f"{link.pool.socket_path}: runtime is away, so its containers are unknown; try again"
        )
    try:
        await node.on_up(link.info)
    except RpcError as error:
        raise UnknownWorkloadError(f"{link.pool.socket_path}: runtime did not list its containers: {error}") from error
    return node


@attrs.frozen
class HostView:
    """The machine, and how to look at it again.

    Args:
        hardware: the current machine.
        sights: detect changes.
    """

    hardware: Hardware
    sights: Sights


class DecidingNode:
    """Everything that decides, for one policy.

    Args:
        engine: has the policy for this machine.
        pool: the connection to the runtime.
        settings: root of the host's files, and how to handle drift.
        nursery: for background work; outlives every call.
        machine: the machine.
        override: see ``Intake``.
        changing: held while the configuration, the machine or the overrides change.
    """

    def __init__(
        self,
        engine: Engine,
        pool: Pool,
        settings: Settings,
        nursery: trio.Nursery,
        machine: HostView,
        override: Overriding = as_asked,
        changing: trio.Lock | None = None,
    ) -> None:
        self.engine = engine
        self.hardware, topology = machine.hardware, machine.hardware.usable
        self.changing = changing or trio.Lock()
        self.watch = MachineWatch(self, machine.sights)
        self.runtime = RuntimeCalls(pool)
        host_root, memory_capacity = Path(settings.host_root), topology.memory_of(topology.node_ids)
        find_hints = partial(hints_of, host_root=host_root)
        self.doubts = Doubts(self.resync)
        find_variables = partial(variables_of, host_root=host_root)
        self.intake = Intake(self.engine, memory_capacity, find_hints, self.doubt, override, find_variables)
        if settings.pod_resources_socket:
            from crirm.kube.pod_resources import PodResources  # noqa: PLC0415 - few ask the kubelet

            self.intake.ask_kubelet = PodResources(settings.pod_resources_socket).hints
        self.observing = Observing(self.engine, self.intake)
        self.watched: Counter[str] = Counter()
        self.looking = Looking(self.runtime, self.observing, nursery)
        self.meeting = Meeting(self.runtime, self.engine, self.intake)
        self.effects = EffectsWorker(self.engine, self.runtime, self._updated)
        self.enforcer = self._make_enforcer(host_root, settings.enforce)
        self.clearing = Clearing(engine, self.effects, self._check)
        self.look, self.meet = self.looking.look, self.meeting.meet  # see ``node_api.Node``, as the next line
        self.clear, self.started = self.clearing.clear, self.clearing.started
        self.begin_resize, self.begin_start = self.effects.begin_resize, self.effects.begin_start
        self.persistence: Persistence | None = None
        self.recorder = Recorder(engine, topology)
        self.shadowing = Shadowing(engine)
        self._listen()
        self._nursery = nursery
        self._host_root = host_root
        self._knows_creations = False
        self._life = trio.CancelScope()

    @property
    def topology(self) -> Topology:
        """The usable part of the machine."""
        return self.hardware.usable

    def settle_on(self, hardware: Hardware) -> None:
        """See ``machine.Measured``."""
        usable, self.hardware = hardware.usable, hardware
        self.intake.memory_capacity = usable.memory_of(usable.node_ids)
        if self.persistence is not None:
            self.persistence.settle_on(digest(usable))
        if (go_on := self.recorder.leave_machine(usable)) is not None:
            self._nursery.start_soon(self._record_on, go_on)

    async def _record_on(self, go_on: Callable[[], Awaitable[None]]) -> None:
        try:
            await go_on()
        except RecordingError as error:
            log.warning("cannot continue recording after the machine changed", reason=str(error))

    @property
    def machine(self) -> Adjustment:
        """All CPUs and all memory nodes: those of an unbound container."""
        return Adjustment(cpus=self.topology.online, mems=self.topology.memory_nodes)

    async def keep_state(self, settings: Settings, *, resume: bool = False) -> None:
        """Save decisions if *settings* have a state directory; *resume* restores what is saved there first."""
        if settings.state_dir:
            facts = {"machine": digest(self.topology), "version": __version__}
            opening = partial(open_persistence, resume=resume, fail_closed=settings.state_fail_closed)
            self.persistence = await trio.to_thread.run_sync(
                opening, settings.state_dir, self.engine, self.effects, facts
            )
            self._listen()
            self.intake.cpusets.record = self.persistence.note
        if resume:
            self.engine.free(self.machine)

    def _listen(self) -> None:
        """Have all parts hear of decisions."""
        self.engine.listen(ladder(self.recorder, self.persistence, self.effects, self.enforcer, self.shadowing))

    async def record(self, file: str) -> None:
        """Start recording; a failure is only a warning."""
        try:
            await self.recorder.start(file)
        except RecordingError as error:
            log.warning("cannot record; crirm runs without a trace", reason=str(error))

    def judge_failures(self, settings: Settings) -> None:
        """Apply what *settings* say about state that cannot be saved."""
        if self.persistence is not None:
            self.persistence.fail_closed = settings.state_fail_closed

    def retire(self) -> None:
        """End `run`: the node no longer places containers."""
        self._life.cancel()

    def handler(self, method: str) -> Handler | None:
        """See ``relay.Deciding``."""
        from crirm.daemon.placement.handlers import handler  # noqa: PLC0415 - betterproto; see `first_needs`

        return handler(self, method)

    def observer(self, method: str) -> CallTap | None:
        """See ``relay.Deciding``."""
        from crirm.daemon.placement.observers import observer  # noqa: PLC0415 - as above

        return observer(self, method)

    def observed(self, method: str, answer: bytes) -> None:
        """See ``node_api.Node``."""
        self.observing.observed(method, answer)

    def may_have_ended(self) -> bool:
        """See ``node_api.Node``."""
        return bool(self.observing.alive())

    @property
    def state_failure(self) -> str:
        """See ``control.Observed``."""
        return self.persistence.failure if self.persistence is not None else ""

    @property
    def findings(self) -> Sequence[str]:
        """See ``control.Observed``."""
        return self.intake.cpusets.findings()

    @property
    def unkept(self) -> str:
        """See ``node_api.Node``."""
        return self.persistence.refusal if self.persistence is not None else ""

    async def kept(self) -> None:
        """See ``node_api.Node``."""
        if self.persistence is None:
            return
        over, refusals = trio.Event(), list[str]()

        def give_up(why: str) -> None:
            refusals.append(why)
            over.set()

        self.persistence.when_kept(over.set, give_up)
        await over.wait()
        if refusals:
            refuse(unsaved(refusals[0]))

    def machine_status(self) -> dict[str, Any]:
        """See ``control.Observed``."""
        return self.watch.status()

    @property
    def settled(self) -> bool:
        """See ``node_api.Node``."""
        return self.effects.settled

    def _check(self, key: ContainerKey) -> None:
        if self.enforcer is not None:
            self.enforcer.look_at(key, at_once=True)

    def drift(self) -> Mapping[ContainerKey, str]:
        """See ``control.Observed``."""
        found = self.enforcer.drift if self.enforcer is not None else {}
        drifted = {key: str(drift) for key, drift in found.items() if drift.present}
        return {**self.effects.handover.overdue, **drifted}

    async def analysed(self, key: ContainerKey) -> dict[str, Any]:
        """See ``control.Observed``."""
        from crirm.daemon.enforcer.analysis import analysed  # noqa: PLC0415 - asked seldom

        return await analysed(lambda: self.engine.state, key, self.topology, self._host_root)

    @cached_property
    def defrag(self) -> Defrag:
        """See ``control.Placing``."""
        from crirm.daemon.placement.defrag import Defrag  # noqa: PLC0415 - asked seldom

        return Defrag(self, self._host_root)

    def _make_enforcer(self, host_root: Path, mode: Mode) -> Enforcer | None:
        try:
            cgroups = Cgroups(host_root / CGROUPS)
        except CgroupsUnusableError as error:
            log.warning("cgroup enforcement is off: no usable cgroup hierarchy", reason=str(error))
            return None
        enforcer = Enforcer(
            lambda: self.engine.state, ThreadedKernel(cgroups), self.effects.perform, self.effects.in_flight, mode
        )
        enforcer.agreed = self.effects.handover.confirm
        return enforcer

    async def on_up(self, info: RuntimeInfo) -> None:
        """Learn what the runtime has before calls pass; for ``Link``."""
        self.runtime.is_there(info)
        if not self._knows_creations:
            await settle_creations(self.runtime, self.engine)
            self._knows_creations = True
        await self.resync()

    async def run(self) -> None:
        """Perform effects and watch the runtime, until cancelled or retired."""
        with self._life:
            await self._work()

    async def first_needs(self) -> None:
        """Import what the first request needs, and no start should wait for: in a thread, for 60 ms."""
        await trio.to_thread.run_sync(import_module, "crirm.daemon.placement.handlers")
        await trio.to_thread.run_sync(import_module, "crirm.daemon.placement.observers")

    async def _work(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.effects.run)
            nursery.start_soon(self.recorder.run)
            for what, task in self._watching().items():
                nursery.start_soon(steadily, what, task)
            if self.persistence is not None:
                nursery.start_soon(self.persistence.run)

    def _watching(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """Return the observing tasks: a bug in one of them stops nothing else."""
        tasks: dict[str, Callable[[], Awaitable[None]]] = {
            "relist": partial(relist, self.runtime, self.engine, self.intake),
            "doubts": self.doubts.run,
            "long lists": self.observing.run,
            "runtime events": partial(listen, self.runtime, partial(self.observed, EVENTS)),
            "machine watch": self.watch.run,
            "shadow policy": self.shadowing.run,
        }
        if self.enforcer is not None:
            tasks["enforcer"] = self.enforcer.run
        return tasks

    def doubt(self) -> None:
        """Schedule a synchronisation with the runtime."""
        self.doubts.doubt()

    async def resync(self) -> None:
        """Synchronise with the runtime's lists.

        Raises:
            RpcError: it does not list.
        """
        await resync(self.runtime, self.engine, self.intake)

    def _updated(self, key: ContainerKey) -> None:
        """The runtime has confirmed an update of a container."""
        if self.enforcer is not None:
            self.enforcer.look_at(key)
        if self.persistence is not None:
            self.persistence.wake()
