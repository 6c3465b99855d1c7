"""CreateContainer in a pod that crirm does not know: first the runtime is asked about the pod.

This happens when the connection breaks after the runtime has created a sandbox: the kubelet finds it in its next list,
0.3 s later, and continues with it. A container without an assignment could run on everybody's CPUs until the runtime's
lists are compared, so its request waits for one PodSandboxStatus. If the runtime does not answer that, the pod is taken
from the request itself, in which the kubelet describes it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
from grpclib.const import Status

from crirm.cri.encode import pod_question
from crirm.cri.listed import pod_status
from crirm.cri.replies import verbose_info
from crirm.daemon.observation.resync import with_details
from crirm.daemon.relay.asking import ask
from crirm.logs import get_logger
from crirm.model.events import PodAdded
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from crirm.daemon.placement.engine import Engine
    from crirm.daemon.placement.intake import Intake
    from crirm.daemon.relay.asking import Runtime
    from crirm.model.workload import Pod, PodId

log = get_logger("runtime")

WITHIN_S: Final = 2.0  # the kubelet waits 2 minutes


@attrs.frozen
class Meeting:
    """Looks up single pods.

    Args:
        runtime: is asked.
        engine: receives them.
        intake: notified of doubt.
    """

    runtime: Runtime
    engine: Engine
    intake: Intake

    async def meet(self, pod: PodId, described: Pod | None) -> None:
        """Ask the runtime about a pod; it may still be unknown afterwards.

        Args:
            pod: its id, which callers may shorten.
            described: the pod as in the request, used if the runtime does not answer.
        """
        try:
            await self._learn(pod, described)
        except Exception:  # the request is decided without it
            log.exception("could not process a pod; this is a bug in crirm", pod=pod)

    async def _learn(self, pod: PodId, described: Pod | None) -> None:
        with self.engine.since_asked() as since:
            found = await self._ask(pod, described)
            if found is not None and found.id not in since.touched | self.engine.state.workload.pods.keys():
                log.info("found a pod that was not known yet", pod=f"{found.namespace}/{found.name}")
                self.engine.apply(PodAdded(found))

    async def _ask(self, pod: PodId, described: Pod | None) -> Pod | None:
        try:
            found = await ask(self.runtime, "PodSandboxStatus", pod_question(pod), _pod, timeout_s=WITHIN_S)
        except RpcError as error:
            if error.status is Status.NOT_FOUND:
                return None
            log.debug("cannot get the status of a pod; using the request instead", pod=pod, reason=str(error))
            self.intake.doubt()
            return described
        told_less = not found.cgroup_parent and described is not None and described.uid == found.uid
        return attrs.evolve(described, id=found.id) if described is not None and told_less else found


def _pod(answer: bytes) -> Pod:
    return with_details(pod_status(answer), verbose_info(answer).get("info", ""))
