"""Creations interrupted by the end of an earlier process: their outcome is found in the runtime's lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.cri.listed import listed_containers
from crirm.daemon.relay.asking import ask
from crirm.model.events import ContainerCreated, CreateFailed
from crirm.model.workload import ContainerState

if TYPE_CHECKING:
    from crirm.daemon.placement.engine import Engine
    from crirm.daemon.relay.asking import Runtime

LIST_TIMEOUT_S = 60.0


async def settle_creations(runtime: Runtime, engine: Engine) -> None:
    """Find out the outcome of the creations of an earlier process.

    One whose call was answered after the list was requested is skipped.

    Raises:
        RpcError: the runtime does not list.
    """
    creating = [c for c in engine.state.workload.containers.values() if c.state is ContainerState.CREATING]
    if not creating:
        return
    with engine.since_asked() as since:
        listed = await ask(runtime, "ListContainers", b"", listed_containers, timeout_s=LIST_TIMEOUT_S)
    creating = [container for container in creating if container.key not in since.touched]
    known = {container.id for container in engine.state.workload.containers.values()}
    there = {(item.pod, item.name, item.attempt): item.id for item in listed if item.id not in known}
    for container in creating:
        found = there.get((container.pod, container.name, container.attempt))
        engine.apply(CreateFailed(container.key) if found is None else ContainerCreated(container.key, found))
