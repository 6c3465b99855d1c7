"""A container is asked for in a pod that crirm does not know: the runtime is asked about the pod first.

So it is when the connection breaks after the runtime has made a sandbox: the kubelet finds it with its next list, 0.3 s
later, and goes on with it. A container that went on without a place would run on everybody's CPUs until the runtime's
lists were compared, so it waits for one question. Where the runtime does not answer that, the request itself tells of
the pod: the kubelet describes it once more in each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
from grpclib.const import Status

from crirm.cri import decode
from crirm.cri.message import edited
from crirm.daemon.observation.looking import decide_afresh
from crirm.daemon.observation.resync import with_details
from crirm.daemon.relay.asking import ask
from crirm.logs import get_logger
from crirm.model.events import PodAdded
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from collections.abc import Callable

    import trio

    from crirm.daemon.placement.engine import Engine
    from crirm.daemon.placement.intake import Intake
    from crirm.daemon.relay.asking import Runtime
    from crirm.model.workload import Pod, PodId
    from crirm.rpc.held import Held

log = get_logger("runtime")

WITHIN_S: Final = 2.0  # the kubelet waits 2 minutes


@attrs.frozen
class Meeting:
    """Gets to know pods one by one.

    Args:
        runtime: is asked.
        engine: is told of them.
        intake: is told of doubt.
        nursery: outlives every call.
    """

    runtime: Runtime
    engine: Engine
    intake: Intake
    nursery: trio.Nursery

    def meet(self, pod: PodId, described: Pod | None, again: Callable[[], None], held: Held) -> None:
        """Have *again* called once the runtime was asked about a pod.

        Args:
            pod: its id, which callers may shorten.
            described: the pod as the request has it, taken for true where the runtime does not answer.
            again: decides afresh; the pod may be known then, or not. If it fails, the call is refused.
            held: the call that waits.
        """
        self.nursery.start_soon(self._meet, pod, described, again, held)

    async def _meet(self, pod: PodId, described: Pod | None, again: Callable[[], None], held: Held) -> None:
        try:
            await self._learn(pod, described)
        except Exception:  # the call is decided about as before
            log.exception("a pod could not be taken note of, this is a bug in crirm", pod=pod)
        decide_afresh(again, held)

    async def _learn(self, pod: PodId, described: Pod | None) -> None:
        with self.engine.since_asked() as since:
            found = await self._ask(pod, described)
            if found is not None and found.id not in since.touched | self.engine.state.workload.pods.keys():
                log.info("crirm learns of a pod that it did not know", pod=f"{found.namespace}/{found.name}")
                self.engine.apply(PodAdded(found))

    async def _ask(self, pod: PodId, described: Pod | None) -> Pod | None:
        request = edited(b"", (), {1: pod, 2: 1})  # pod_sandbox_id, verbose
        try:
            found = await ask(self.runtime, "PodSandboxStatus", request, _pod, timeout_s=WITHIN_S)
        except RpcError as error:
            if error.status is Status.NOT_FOUND:
                return None
            log.debug("the runtime does not tell of a pod", pod=pod, reason=str(error))
            self.intake.doubt()
            return described
        told_less = not found.cgroup_parent and described is not None and described.uid == found.uid
        return attrs.evolve(described, id=found.id) if described is not None and told_less else found


def _pod(answer: bytes) -> Pod:
    return with_details(decode.pod_status(answer), decode.verbose_info(answer).get("info", ""))
