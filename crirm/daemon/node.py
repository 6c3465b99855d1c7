"""The deciding half of the daemon: engine, intake, effects and the watch on the runtime, as one thing to start."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import trio
from grpclib.const import Status

from crirm.cri.message import MalformedError
from crirm.cri.methods import RUNTIME_SERVICE
from crirm.daemon.clearing import Clearing
from crirm.daemon.effects import EffectsWorker
from crirm.daemon.ending import learn_end
from crirm.daemon.enforcer import Enforcer
from crirm.daemon.engine import Engine
from crirm.daemon.intake import Intake, as_asked
from crirm.daemon.kernel import ThreadedKernel
from crirm.daemon.participants import participant
from crirm.daemon.persistence import Persistence, open_persistence
from crirm.daemon.recorder import Recorder, RecordingError
from crirm.daemon.resync import resync
from crirm.daemon.settle import settle_creations
from crirm.daemon.watch import relist, take_event
from crirm.errors import CrirmError
from crirm.logs import get_logger
from crirm.model.decision import Adjustment
from crirm.model.events import ContainerStarted, Event, ResizeDone, Synchronised, UpdateFailed
from crirm.model.topology_json import digest
from crirm.policy.activation import freed
from crirm.policy.api import Choice
from crirm.policy.registry import make_policy
from crirm.rpc.grpc_wire import RpcError
from crirm.system.cgroup import Cgroups, CgroupsUnusableError
from crirm.system.hints import hints_of
from crirm.system.sysfs import discover

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crirm.daemon.enforcement import Mode
    from crirm.daemon.intake import Override
    from crirm.daemon.link import Link
    from crirm.daemon.runtime_info import RuntimeInfo
    from crirm.daemon.settings import Settings
    from crirm.model.topology import Topology
    from crirm.model.workload import ContainerKey
    from crirm.rpc.client import Pool
    from crirm.rpc.held import Interceptor

log = get_logger("runtime")

DOUBT_S = 1.0  # lets calls that are about to end tell for themselves
EVENTS_AGAIN_S = 5.0
CGROUPS = "sys/fs/cgroup"  # under the host's root


class UnknownWorkloadError(CrirmError):
    """What runs on the node cannot be told."""


@attrs.define
class RuntimeCalls:
    """Calls of the RuntimeService in a version that the runtime has."""

    pool: Pool
    version: str = "v1"

    async def call(self, method: str, message: bytes, *, timeout_s: float) -> bytes:
        """See ``effects.Runtime``."""
        return await self.pool.unary(self.path(method), message, timeout_s=timeout_s)

    def path(self, method: str) -> str:
        """Return the full name of *method*."""
        return f"/runtime.{self.version}.{RUNTIME_SERVICE}/{method}"


async def open_node(
    settings: Settings, pool: Pool, nursery: trio.Nursery, override: Override = as_asked
) -> DecidingNode:
    """Discover the machine, make the policy for it, and find the state of before.

    Raises:
        CrirmError: the policy does not exist, or does not fit the machine.
    """
    topology = await _discovered(Path(settings.host_root))
    policy = make_policy(settings.policy, topology)
    engine = Engine(policy, overflow=settings.policy.overflow, fail_open=settings.policy.fail_open)
    node = DecidingNode(engine, pool, topology, settings, nursery)
    node.intake.override = override
    await node.keep_state(settings, resume=True)
    if settings.record:
        await node.record(settings.record)
    return node


async def open_bare_node(
    settings: Settings, link: Link, nursery: trio.Nursery, override: Override = as_asked
) -> DecidingNode:
    """Return a node that knows what runs, and decides nothing: for a daemon that has placed nothing so far.

    Raises:
        UnknownWorkloadError: the runtime does not tell what it has.
    """
    topology = await _discovered(Path(settings.host_root))
    node = DecidingNode(Engine(make_policy(Choice(), topology)), link.pool, topology, settings, nursery)
    node.intake.override = override
    if link.info is None:
        raise UnknownWorkloadError(
            f"{link.pool.socket_path}: the runtime is away, so what runs is not known; try again"
        )
    try:
        await node.on_up(link.info)
    except RpcError as error:
        raise UnknownWorkloadError(f"{link.pool.socket_path}: the runtime does not tell what runs: {error}") from error
    return node


async def _discovered(host_root: Path) -> Topology:
    discovery = await trio.to_thread.run_sync(discover, host_root)
    for oddity in discovery.warnings:
        log.warning("the host's description of itself is odd", what=str(oddity))
    return discovery.topology


class DecidingNode:
    """Everything that decides, for one policy.

    Args:
        engine: with the policy for this machine.
        pool: the connection to the runtime.
        topology: of this machine.
        settings: where the host's files are seen, and what to do where the kernel has something else than was decided.
        nursery: for what takes time; outlives every call.
    """

    def __init__(
        self,
        engine: Engine,
        pool: Pool,
        topology: Topology,
        settings: Settings,
        nursery: trio.Nursery,
    ) -> None:
        self.engine = engine
        self.choice = settings.policy
        self.topology = topology
        self.runtime = RuntimeCalls(pool)
        host_root, memory_capacity = Path(settings.host_root), topology.memory_of(topology.node_ids)
        find_hints = partial(hints_of, host_root=host_root)
        self.intake = Intake(self.engine, nursery, memory_capacity, find_hints, self.doubt)
        self.effects = EffectsWorker(self.engine, self.runtime, self._updated)
        self.engine.on_effect(self.effects.perform)
        self.enforcer = self._make_enforcer(host_root, settings.enforce)
        self.clearing = Clearing(engine, self.effects, nursery, self._check)
        self.persistence: Persistence | None = None
        self.recorder = Recorder(engine, topology, lambda: self.choice)
        self._settled = False
        self._doubted = trio.Event()
        self._life = trio.CancelScope()

    @property
    def machine(self) -> Adjustment:
        """All CPUs and all memory nodes: what a container has that nobody binds."""
        return Adjustment(cpus=self.topology.online, mems=self.topology.memory_nodes)

    async def keep_state(self, settings: Settings, *, resume: bool = False) -> None:
        """Have what is decided kept on disk, if *settings* say where; *resume* takes over what is kept there first."""
        if settings.state_dir:
            facts = {"machine": digest(self.topology), "version": version("crirm")}
            opening = partial(open_persistence, resume=resume, fail_closed=settings.state_fail_closed)
            self.persistence = await trio.to_thread.run_sync(
                opening, settings.state_dir, self.engine, self.effects, facts
            )
        if resume:
            self.engine.state = freed(self.engine.policy, self.engine.state, self.machine)

    async def record(self, file: str) -> None:
        """Record what happens; a daemon that cannot serves all the same."""
        try:
            await self.recorder.start(file)
        except RecordingError as error:
            log.warning("nothing is recorded", reason=str(error))

    def retire(self) -> None:
        """End `run`: nothing is placed any more."""
        self._life.cancel()

    def participant(self, method: str) -> Interceptor | None:
        """See ``relay.Deciding``."""
        return participant(self, method)

    @property
    def state_failure(self) -> str:
        """See ``control.Observed``."""
        return self.persistence.failure if self.persistence is not None else ""

    @property
    def unkept(self) -> str:
        """See ``node_api.Node``."""
        return self.persistence.refusal if self.persistence is not None else ""

    def when_kept(self, then: Callable[[], None], otherwise: Callable[[str], None]) -> None:
        """See ``node_api.Node``."""
        if self.persistence is None:
            then()
        else:
            self.persistence.when_kept(then, otherwise)

    def before_resize(self, key: ContainerKey, then: Callable[[], None]) -> None:
        """See ``node_api.Node``."""
        self.clearing.before_resize(key, then)

    def before_start(self, key: ContainerKey, then: Callable[[], None]) -> None:
        """See ``node_api.Node``."""
        self.clearing.before_start(key, then)

    def started(self, key: ContainerKey) -> None:
        """See ``node_api.Node``."""
        self.clearing.started(key)

    def _check(self, key: ContainerKey) -> None:
        if self.enforcer is not None:
            self.enforcer.look_at(key, at_once=True)

    def ask_about(self, keys: list[ContainerKey], then: Callable[[], None]) -> None:
        """See ``node_api.Node``."""
        self.intake.nursery.start_soon(self._ask_about, keys, then)

    async def _ask_about(self, keys: list[ContainerKey], then: Callable[[], None]) -> None:
        for key in keys:
            await learn_end(self.runtime, self.engine, key)
        then()

    def drift(self) -> Mapping[ContainerKey, str]:
        """See ``control.Observed``."""
        found = self.enforcer.drift if self.enforcer is not None else {}
        drifted = {key: str(drift) for key, drift in found.items() if drift.present}
        return {**self.effects.handover.overdue, **drifted}

    def _make_enforcer(self, host_root: Path, mode: Mode) -> Enforcer | None:
        try:
            cgroups = Cgroups(host_root / CGROUPS)
        except CgroupsUnusableError as error:
            log.warning("what the kernel has for containers is not looked at", reason=str(error))
            return None
        enforcer = Enforcer(
            lambda: self.engine.state, ThreadedKernel(cgroups), self.effects.perform, self.effects.in_flight, mode
        )
        enforcer.agreed = self.effects.handover.confirm
        self.engine.on_event(self._look_at)
        return enforcer

    def _look_at(self, event: Event) -> None:
        """Have the enforcer look at what the runtime has just done something to, or says that it has."""
        if self.enforcer is None:
            return
        if isinstance(event, ContainerStarted | ResizeDone):
            self.enforcer.look_at(event.key)
        elif isinstance(event, UpdateFailed):
            self.enforcer.look_at(event.key, at_once=True)
        elif isinstance(event, Synchronised):
            for key in self.engine.state.adjustments:
                self.enforcer.look_at(key)

    async def on_up(self, info: RuntimeInfo) -> None:
        """Learn what the runtime has before calls pass; for ``Link``."""
        self.runtime.version = info.api_versions[0]
        if not self._settled:
            await settle_creations(self.runtime, self.engine)
            self._settled = True
        await resync(self.runtime, self.engine, self.intake)

    async def run(self) -> None:
        """Perform effects and watch the runtime, until cancelled or retired."""
        with self._life:
            await self._work()

    async def _work(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.effects.run)
            nursery.start_soon(self.recorder.run)
            nursery.start_soon(relist, self.runtime, self.engine, self.intake)
            nursery.start_soon(self._settle_doubts)
            nursery.start_soon(self._take_events)
            if self.enforcer is not None:
                nursery.start_soon(self.enforcer.run)
            if self.persistence is not None:
                nursery.start_soon(self.persistence.run)

    def doubt(self) -> None:
        """Have the runtime asked again soon what it has."""
        self._doubted.set()

    async def _settle_doubts(self) -> None:
        """Ask the runtime again after a call whose outcome is not known."""
        while True:
            await self._doubted.wait()
            await trio.sleep(DOUBT_S)
            self._doubted = trio.Event()
            try:
                await resync(self.runtime, self.engine, self.intake)
            except RpcError as error:
                log.debug("the runtime could not be asked again; the link does so when it is back", reason=str(error))

    async def _take_events(self) -> None:
        """Listen to the runtime's events, where it has them; the lists tell the rest."""
        while True:
            try:
                async with self.runtime.pool.open_stream(self.runtime.path("GetContainerEvents"), b"") as events:
                    async for message in events:
                        take_event(message, self.engine, self.intake)
            except RpcError as error:
                if error.status is Status.UNIMPLEMENTED:
                    log.debug("the runtime has no events; its lists are read instead")
                    return
            except MalformedError as error:
                log.warning("the runtime tells an event that cannot be read", reason=str(error))
            await trio.sleep(EVENTS_AGAIN_S)

    def _updated(self, key: ContainerKey) -> None:
        """The runtime says that it has updated a container."""
        if self.enforcer is not None:
            self.enforcer.look_at(key)
        if self.persistence is not None:
            self.persistence.wake()
