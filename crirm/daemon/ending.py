"""Whether a container has ended that is believed to run, asked of the runtime before somebody takes its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpclib.const import Status

from crirm.cri import decode
from crirm.cri.message import edited
from crirm.daemon.asking import ask
from crirm.logs import get_logger
from crirm.model.events import ContainerExited, ContainerRemoved
from crirm.model.workload import ContainerState
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from crirm.daemon.effects import Runtime
    from crirm.daemon.engine import Engine
    from crirm.model.workload import ContainerKey

log = get_logger("runtime")

ASKED_WITHIN_S = 2.0  # a kubelet waits for the answer; what is not known by then counts as running


async def learn_end(runtime: Runtime, engine: Engine, key: ContainerKey) -> None:
    """Ask the runtime about *key*, and tell the engine if it has ended; an end is never old news."""
    container = engine.state.workload.containers.get(key)
    if container is None or container.id is None:
        return
    request = edited(b"", (), {1: container.id})  # container_id
    try:
        state = await ask(runtime, "ContainerStatus", request, decode.status_state, timeout_s=ASKED_WITHIN_S)
    except RpcError as error:
        if error.status is Status.NOT_FOUND:
            engine.apply(ContainerRemoved(key))
        else:
            log.debug("it is not known whether a container runs", container=key, reason=str(error))
        return
    if state is ContainerState.EXITED:
        engine.apply(ContainerExited(key))
