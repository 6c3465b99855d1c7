"""The calls for figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grpclib import GRPCError
from grpclib.const import Status

from crirm.cri.proto.runtime.v1 import (
    ContainerStatsRequest,
    ContainerStatsResponse,
    ListContainerStatsRequest,
    ListContainerStatsResponse,
    ListMetricDescriptorsRequest,
    ListMetricDescriptorsResponse,
    ListPodSandboxMetricsRequest,
    ListPodSandboxMetricsResponse,
    ListPodSandboxStatsRequest,
    ListPodSandboxStatsResponse,
    PodSandboxStatsRequest,
    PodSandboxStatsResponse,
    StreamContainerStatsRequest,
    StreamContainerStatsResponse,
    StreamPodSandboxMetricsRequest,
    StreamPodSandboxMetricsResponse,
    StreamPodSandboxStatsRequest,
    StreamPodSandboxStatsResponse,
)
from crirm.sim.call_base import CallBase
from crirm.sim.pods import has_labels
from crirm.sim.stats import DESCRIPTORS, container_stats, pod_metrics, pod_stats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crirm.cri.proto.runtime.v1 import (
        ContainerStats,
        ContainerStatsFilter,
        PodSandboxMetrics,
        PodSandboxStats,
        PodSandboxStatsFilter,
    )
    from crirm.sim.containers import Record
    from crirm.sim.pods import Pod


class StatsCalls(CallBase):
    """asyncio-flavoured handlers."""

    async def container_stats(self, request: ContainerStatsRequest) -> ContainerStatsResponse:
        """Return the figures of one running container."""
        record = self.model.containers.get(request.container_id, "failed to find container")
        if not record.is_running:
            raise GRPCError(Status.UNKNOWN, "unexpected metrics response: []")
        return ContainerStatsResponse(stats=container_stats(record, self.model.clock()))

    async def list_container_stats(self, request: ListContainerStatsRequest) -> ListContainerStatsResponse:
        """Return the figures of containers; those that do not run have few."""
        return ListContainerStatsResponse(stats=self._container_stats(request.filter))

    async def stream_container_stats(
        self, request: StreamContainerStatsRequest
    ) -> AsyncIterator[StreamContainerStatsResponse]:
        """Return the figures of containers in several messages."""
        for chunk in self.chunks(self._container_stats(request.filter)):
            yield StreamContainerStatsResponse(container_stats=chunk)

    async def pod_sandbox_stats(self, request: PodSandboxStatsRequest) -> PodSandboxStatsResponse:
        """Return the figures of one ready pod sandbox."""
        prefix = request.pod_sandbox_id
        pod = self.model.pods.get(prefix, f"an error occurred when trying to find sandbox {prefix}")
        if not pod.is_ready:
            reason = f'sandbox container "{pod.id}" is not in ready state: unavailable'
            raise GRPCError(
                Status.UNAVAILABLE,
                f"failed to decode pod sandbox metrics {pod.id}: failed to get pod sandbox stats since {reason}",
            )
        return PodSandboxStatsResponse(stats=pod_stats(pod, self.model.containers_of(pod), self.model.clock()))

    async def list_pod_sandbox_stats(self, request: ListPodSandboxStatsRequest) -> ListPodSandboxStatsResponse:
        """Return the figures of ready pod sandboxes."""
        return ListPodSandboxStatsResponse(stats=self._pod_stats(request.filter))

    async def stream_pod_sandbox_stats(
        self, request: StreamPodSandboxStatsRequest
    ) -> AsyncIterator[StreamPodSandboxStatsResponse]:
        """Return the figures of ready pod sandboxes in several messages."""
        for chunk in self.chunks(self._pod_stats(request.filter)):
            yield StreamPodSandboxStatsResponse(pod_sandbox_stats=chunk)

    async def list_metric_descriptors(self, _request: ListMetricDescriptorsRequest) -> ListMetricDescriptorsResponse:
        """Say which metrics there are."""
        return ListMetricDescriptorsResponse(descriptors=DESCRIPTORS)

    async def list_pod_sandbox_metrics(self, _request: ListPodSandboxMetricsRequest) -> ListPodSandboxMetricsResponse:
        """Return the metrics of all ready pod sandboxes."""
        return ListPodSandboxMetricsResponse(pod_metrics=self._pod_metrics())

    async def stream_pod_sandbox_metrics(
        self, _request: StreamPodSandboxMetricsRequest
    ) -> AsyncIterator[StreamPodSandboxMetricsResponse]:
        """Return the metrics of all ready pod sandboxes in several messages."""
        for chunk in self.chunks(self._pod_metrics()):
            yield StreamPodSandboxMetricsResponse(pod_sandbox_metrics=chunk)

    def _running(self, pod: Pod) -> list[Record]:
        return [record for record in self.model.containers_of(pod) if record.is_running]

    def _container_stats(self, filter_: ContainerStatsFilter) -> list[ContainerStats]:
        identity = self.model.containers.whole_id(filter_.id)
        pod_id = self.model.pods.whole_id(filter_.pod_sandbox_id)
        now = self.model.clock()
        return [
            container_stats(record, now)
            for record in self.model.containers
            if identity in ("", record.id)
            and pod_id in ("", record.pod_id)
            and has_labels(record.config.labels, filter_.label_selector)
        ]

    def _pod_stats(self, filter_: PodSandboxStatsFilter) -> list[PodSandboxStats]:
        identity = self.model.pods.whole_id(filter_.id)
        now = self.model.clock()
        return [
            pod_stats(pod, self.model.containers_of(pod), now)
            for pod in self.model.pods
            if pod.is_ready and identity in ("", pod.id) and has_labels(pod.config.labels, filter_.label_selector)
        ]

    def _pod_metrics(self) -> list[PodSandboxMetrics]:
        now = self.model.clock()
        return [pod_metrics(pod, self._running(pod), now) for pod in self.model.pods if pod.is_ready]
