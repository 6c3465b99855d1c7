"""The deciding half of the daemon: engine, intake, effects and the watch on the runtime, as one thing to start."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import attrs
import trio
from grpclib.const import Status

from crirm.cri.methods import RUNTIME_SERVICE
from crirm.daemon.effects import EffectsWorker
from crirm.daemon.engine import Engine
from crirm.daemon.intake import Intake
from crirm.daemon.participants import participant
from crirm.daemon.resync import resync
from crirm.daemon.watch import relist, take_event
from crirm.errors import UsageError
from crirm.logs import get_logger
from crirm.policy.registry import KINDS
from crirm.rpc.grpc_wire import RpcError
from crirm.system.hints import hints_of
from crirm.system.sysfs import discover

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from crirm.daemon.runtime_info import RuntimeInfo
    from crirm.model.quantity import Bytes
    from crirm.model.workload import ContainerKey
    from crirm.policy.api import Choice, Policy
    from crirm.rpc.client import Pool
    from crirm.rpc.held import Interceptor

log = get_logger("runtime")

DOUBT_S = 1.0  # lets calls that are about to end tell for themselves
EVENTS_AGAIN_S = 5.0


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


async def open_node(choice: Choice, pool: Pool, host_root: Path, nursery: trio.Nursery) -> DecidingNode:
    """Discover the machine and make the policy for it.

    Raises:
        CrirmError: the policy does not exist, or does not fit the machine.
    """
    kind = KINDS.get(choice.name)
    if kind is None:
        raise UsageError(f"policy {choice.name!r}: there is none of this name; there are {', '.join(sorted(KINDS))}")
    discovery = await trio.to_thread.run_sync(discover, host_root)
    for oddity in discovery.warnings:
        log.warning("the host's description of itself is odd", what=str(oddity))
    topology = discovery.topology
    policy = kind.make(topology, choice.constraints, kind.options() if choice.options is None else choice.options)
    return DecidingNode(policy, pool, topology.memory_of(topology.node_ids), host_root, nursery)


class DecidingNode:
    """Everything that decides, for one policy.

    Args:
        policy: made for this machine.
        pool: the connection to the runtime.
        memory_capacity: the machine's whole memory.
        host_root: where the host's files are seen.
        nursery: for what takes time; outlives every call.
    """

    def __init__(
        self, policy: Policy, pool: Pool, memory_capacity: Bytes, host_root: Path, nursery: trio.Nursery
    ) -> None:
        self.engine = Engine(policy)
        self.runtime = RuntimeCalls(pool)
        find_hints = partial(hints_of, host_root=host_root)
        self.intake = Intake(self.engine, nursery, memory_capacity, find_hints, self._doubt)
        self.effects = EffectsWorker(self.engine, self.runtime, self._updated)
        self.engine.on_effect(self.effects.perform)
        self._doubted = trio.Event()

    def participant(self, method: str) -> Interceptor | None:
        """See ``relay.Deciding``."""
        return participant(self, method)

    def drift(self) -> Mapping[ContainerKey, str]:
        """See ``control.Observed``."""
        return {}

    async def on_up(self, info: RuntimeInfo) -> None:
        """Learn what the runtime has before calls pass; for ``Link``."""
        self.runtime.version = info.api_versions[0]
        await resync(self.runtime, self.engine, self.intake)

    async def run(self) -> None:
        """Perform effects and watch the runtime, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.effects.run)
            nursery.start_soon(relist, self.runtime, self.engine, self.intake)
            nursery.start_soon(self._settle_doubts)
            nursery.start_soon(self._take_events)

    def _doubt(self) -> None:
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
            await trio.sleep(EVENTS_AGAIN_S)

    def _updated(self, key: ContainerKey) -> None:
        """The runtime says that it has updated a container."""
