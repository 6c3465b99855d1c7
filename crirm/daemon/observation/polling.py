"""Containers that exit by themselves: noticed by events where the runtime has them, and by polled lists.

crirm requests a list of its own from time to time and decodes it in a thread, since a list of 1500 containers takes
longer than the event loop may be blocked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from crirm.cri.listed import seen_containers
from crirm.cri.message import MalformedError
from crirm.cri.numbers import ContainerEventType
from crirm.cri.replies import event
from crirm.logs import get_logger
from crirm.model.events import ContainerExited, ContainerRemoved
from crirm.model.workload import ContainerId, ContainerState
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from crirm.cri.listed import Seen
    from crirm.daemon.placement.engine import Engine
    from crirm.daemon.placement.intake import Intake
    from crirm.daemon.relay.asking import Runtime
    from crirm.model.workload import ContainerKey

log = get_logger("runtime")

RELIST_S = 5.0
LIST_TIMEOUT_S = 30.0


async def relist(runtime: Runtime, engine: Engine, intake: Intake) -> None:
    """Compare crirm's state with the runtime's list periodically, until cancelled."""
    seen: frozenset[ContainerId] = frozenset()  # strangers and misjudged; some may remain so
    while True:
        await trio.sleep(RELIST_S)
        before = engine.state.workload.containers
        if not before:
            continue
        try:
            with engine.since_asked() as since:
                answer = await runtime.call("ListContainers", b"", timeout_s=LIST_TIMEOUT_S)
                listed = await trio.to_thread.run_sync(seen_containers, answer)
            compare(listed, engine, intake, {c.id for c in before.values()} - since.touched)
            unknown = (strangers(listed, engine, intake) | misjudged(listed, engine, intake)) - since.touched
        except (RpcError, MalformedError) as error:
            log.debug("cannot list the runtime's containers", reason=str(error))  # the link logs an absent one
            continue
        if unknown - seen:
            intake.doubt()
        seen = unknown


def compare(listed: list[Seen], engine: Engine, intake: Intake, asked_about: set[ContainerId | None]) -> None:
    """Report ended containers; a missing one counts only if it was known before the request, and unchanged since."""
    there = {item.id for item in listed}
    ended = [intake.key_of(item.id) for item in listed if item.state is ContainerState.EXITED]
    for key in ended:
        if key is not None:
            tell_end(key, engine)
    for container in list(engine.state.workload.containers.values()):
        if container.id in asked_about and container.id is not None and container.id not in there:
            engine.apply(ContainerRemoved(container.key))


def strangers(listed: list[Seen], engine: Engine, intake: Intake) -> frozenset[ContainerId]:
    """Return the ids of live containers that crirm does not know: they were created bypassing it."""
    known = engine.state.workload.containers.values()
    coming = {(c.pod, c.name, c.attempt) for c in known if c.state is ContainerState.CREATING}
    alive = [item for item in listed if item.state is not ContainerState.EXITED]
    unknown = [item.whole for item in alive if intake.key_of(item.id) is None]
    return frozenset(item.id for item in unknown if (item.pod, item.name, item.attempt) not in coming)


def misjudged(listed: list[Seen], engine: Engine, intake: Intake) -> frozenset[ContainerId]:
    """Return the ids of running containers that crirm believes exited or not started."""
    containers = engine.state.workload.containers
    running = [(item.id, intake.key_of(item.id)) for item in listed if item.state is ContainerState.RUNNING]
    return frozenset(id_ for id_, key in running if key and containers[key].state is not ContainerState.RUNNING)


def tell_end(key: ContainerKey, engine: Engine) -> None:
    """Report an end unless it is known: lists repeat it as long as the container exists."""
    container = engine.state.workload.containers.get(key)
    if container is not None and container.state is not ContainerState.EXITED:
        engine.apply(ContainerExited(key))


def take_event(message: bytes, engine: Engine, intake: Intake) -> None:
    """Process one ContainerEventResponse."""
    container, what = event(message)
    key = intake.key_of(container)
    if key is None:
        return
    if what == ContainerEventType.CONTAINER_STOPPED_EVENT:
        tell_end(key, engine)
    elif what == ContainerEventType.CONTAINER_DELETED_EVENT:
        engine.apply(ContainerRemoved(key))
