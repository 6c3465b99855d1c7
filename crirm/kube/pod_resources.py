"""Where the devices are that the kubelet has given to a container (``v1.PodResourcesLister``).

Device plugins tell the kubelet the NUMA nodes of their devices. Some of these devices show in no request, since
their plugin only sets environment variables; the kubelet's own word is then the only one.

The kubelet assigns devices when it admits a pod, before it requests any container, so its answer is complete by then.
It does not answer for init containers, except those that restart (sidecars). ``Get`` can be disabled in the kubelet;
``List``, which is longer, is then asked instead.

Source: the kubelet's pkg/kubelet/apis/podresources/server_v1.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs
import trio
from grpclib.const import Status

from crirm.kube.calls import CallError, Peer
from crirm.model.cpuset import MAX_ID, NodeSet
from crirm.model.workload import TopologyHint
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from crirm.kube.proto import v1

TIMEOUT_S: Final = 1.0
PAUSE_S: Final = 10.0
"""How long a kubelet that has not answered is not asked again."""

_LISTER: Final = "/v1.PodResourcesLister"
_DISABLED: Final = "Get method disabled"


class PodResourcesError(CallError):
    """The kubelet does not tell which devices a container has."""


@attrs.define
class PodResources:
    """Asks the kubelet that serves PodResources on a Unix socket.

    Args:
        socket_path: absolute.
        timeout_s: seconds for an answer.
    """

    socket_path: str
    timeout_s: float = TIMEOUT_S
    _lists: bool = attrs.field(default=False, init=False)
    """Whether Get is disabled."""
    _silent_until_s: float = attrs.field(default=0.0, init=False)

    async def hints(self, namespace: str, pod: str, container: str) -> tuple[TopologyHint, ...]:
        """Trio-flavoured: return the location of a container's devices, as far as the kubelet knows it.

        Args:
            namespace: of the pod.
            pod: its name.
            container: its name in the pod.

        Raises:
            PodResourcesError: the kubelet does not answer, or with an error.
        """
        if trio.current_time() < self._silent_until_s:
            raise self._peer.failure(f"did not answer; it is not asked again for {PAUSE_S:g} s")
        with trio.move_on_after(self.timeout_s):
            found = await self._get(namespace, pod)
            return tuple(_hints(found, container))
        self._silent_until_s = trio.current_time() + PAUSE_S
        raise self._peer.failure(f"no answer within {self.timeout_s:g} s")

    @property
    def _peer(self) -> Peer:
        return Peer("the kubelet's PodResources", self.socket_path, PodResourcesError)

    async def _get(self, namespace: str, pod: str) -> v1.PodResources | None:
        from crirm.kube.proto import v1  # noqa: PLC0415 - betterproto, 60 ms and 4 MiB for those who need it

        if not self._lists:
            request = v1.GetPodResourcesRequest(pod_name=pod, pod_namespace=namespace)
            try:
                reply = await self._peer.call(f"{_LISTER}/Get", request, v1.GetPodResourcesResponse, 2 * self.timeout_s)
            except PodResourcesError as error:
                if not _says_disabled(error):
                    raise
                self._lists = True
            else:
                return reply.pod_resources
        empty = v1.ListPodResourcesRequest()
        listed = await self._peer.call(f"{_LISTER}/List", empty, v1.ListPodResourcesResponse, 2 * self.timeout_s)
        return next((one for one in listed.pod_resources if (one.namespace, one.name) == (namespace, pod)), None)


def _says_disabled(error: PodResourcesError) -> bool:
    cause = error.__cause__
    return isinstance(cause, RpcError) and (cause.status is Status.UNIMPLEMENTED or _DISABLED in cause.message)


def _hints(pod: v1.PodResources | None, container: str) -> Iterator[TopologyHint]:
    """Yield a hint for each place of each resource of a container."""
    told: dict[tuple[str, NodeSet], str] = {}
    for one in pod.containers if pod is not None else ():
        for devices in one.devices if one.name == container else ():
            nodes = NodeSet(_valid(node.id for node in devices.topology.nodes))
            if nodes:
                told.setdefault((devices.resource_name, nodes), ",".join(devices.device_ids))
    for (resource, nodes), ids in told.items():
        yield TopologyHint(f"{resource} {ids}".strip(), nodes=nodes)


def _valid(ids: Iterable[int]) -> Iterator[int]:
    """Yield the numbers that can be those of NUMA nodes; -1 is said where there is none."""
    return (number for number in ids if 0 <= number <= MAX_ID)
