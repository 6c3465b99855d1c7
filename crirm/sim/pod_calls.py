"""The calls for pod sandboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import betterproto
from grpclib import GRPCError
from grpclib.const import Status

from crirm.cri.proto.runtime.v1 import (
    ListPodSandboxRequest,
    ListPodSandboxResponse,
    PodSandboxStatusRequest,
    PodSandboxStatusResponse,
    PortForwardRequest,
    PortForwardResponse,
    RemovePodSandboxRequest,
    RemovePodSandboxResponse,
    RunPodSandboxRequest,
    RunPodSandboxResponse,
    StopPodSandboxRequest,
    StopPodSandboxResponse,
    StreamPodSandboxesRequest,
    StreamPodSandboxesResponse,
    UpdatePodSandboxResourcesRequest,
    UpdatePodSandboxResourcesResponse,
)
from crirm.sim.call_base import CallBase
from crirm.sim.index import quoted
from crirm.sim.pods import listed_pod, pod_info, pod_matches, pod_status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crirm.cri.proto.runtime.v1 import PodSandbox, PodSandboxFilter


class PodCalls(CallBase):
    """asyncio-flavoured handlers."""

    async def run_pod_sandbox(self, request: RunPodSandboxRequest) -> RunPodSandboxResponse:
        """Make and start a pod sandbox."""
        return RunPodSandboxResponse(self.model.run_pod(request.config, request.runtime_handler).id)

    async def stop_pod_sandbox(self, request: StopPodSandboxRequest) -> StopPodSandboxResponse:
        """Stop a pod sandbox."""
        self.model.stop_pod(request.pod_sandbox_id)
        return StopPodSandboxResponse()

    async def remove_pod_sandbox(self, request: RemovePodSandboxRequest) -> RemovePodSandboxResponse:
        """Remove a pod sandbox and its containers."""
        self.model.remove_pod(request.pod_sandbox_id)
        return RemovePodSandboxResponse()

    async def pod_sandbox_status(self, request: PodSandboxStatusRequest) -> PodSandboxStatusResponse:
        """Return the status of a pod sandbox."""
        pod = self.model.pods.get(request.pod_sandbox_id, "an error occurred when try to find sandbox")
        return PodSandboxStatusResponse(status=pod_status(pod), info=pod_info(pod) if request.verbose else {})

    async def list_pod_sandbox(self, request: ListPodSandboxRequest) -> ListPodSandboxResponse:
        """List pod sandboxes."""
        return ListPodSandboxResponse(items=self._listed_pods(request.filter))

    async def stream_pod_sandboxes(
        self, request: StreamPodSandboxesRequest
    ) -> AsyncIterator[StreamPodSandboxesResponse]:
        """List pod sandboxes in several messages."""
        for chunk in self.chunks(self._listed_pods(request.filter)):
            yield StreamPodSandboxesResponse(pod_sandboxes=chunk)

    async def update_pod_sandbox_resources(
        self, request: UpdatePodSandboxResourcesRequest
    ) -> UpdatePodSandboxResourcesResponse:
        """Note the resources of a whole pod."""
        self.model.update_pod(request.pod_sandbox_id, request.overhead, request.resources)
        return UpdatePodSandboxResourcesResponse()

    async def port_forward(self, request: PortForwardRequest) -> PortForwardResponse:
        """Return the URL of a stream to ports of a pod."""
        prefix = request.pod_sandbox_id
        if not self.model.pods.get(prefix, f"failed to find sandbox {quoted(prefix)}").is_ready:
            raise GRPCError(Status.UNKNOWN, "sandbox container is not running")
        return PortForwardResponse(self.tokens.url("portforward", request))

    def _listed_pods(self, filter_: PodSandboxFilter) -> list[PodSandbox]:
        by_state = betterproto.serialized_on_wire(filter_.state)
        return [listed_pod(pod) for pod in self.model.pods if pod_matches(pod, filter_, by_state=by_state)]
