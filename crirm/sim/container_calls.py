"""The calls for the life of containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import betterproto

from crirm.cri.proto.runtime.v1 import (
    ContainerFilter,
    ContainerStatusRequest,
    ContainerStatusResponse,
    CreateContainerRequest,
    CreateContainerResponse,
    GetEventsRequest,
    ListContainersRequest,
    ListContainersResponse,
    RemoveContainerRequest,
    RemoveContainerResponse,
    ReopenContainerLogRequest,
    ReopenContainerLogResponse,
    StartContainerRequest,
    StartContainerResponse,
    StopContainerRequest,
    StopContainerResponse,
    StreamContainersRequest,
    StreamContainersResponse,
    UpdateContainerResourcesRequest,
    UpdateContainerResourcesResponse,
)
from crirm.rpc import bridge
from crirm.sim.call_base import CallBase
from crirm.sim.containers import container_info, container_matches, listed_container
from crirm.sim.index import quoted
from crirm.sim.waiting import wait

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crirm.cri.proto.runtime.v1 import Container, ContainerEventResponse


class ContainerCalls(CallBase):
    """asyncio-flavoured handlers."""

    async def create_container(self, request: CreateContainerRequest) -> CreateContainerResponse:
        """Make a container."""
        return CreateContainerResponse(self.model.create_container(request).id)

    async def start_container(self, request: StartContainerRequest) -> StartContainerResponse:
        """Start a container."""
        self.model.start_container(request.container_id)
        return StartContainerResponse()

    async def stop_container(self, request: StopContainerRequest) -> StopContainerResponse:
        """Ask a container to stop, and kill it when its time is over."""
        prefix = request.container_id
        record = self.model.containers.find(prefix, f"an error occurred when try to find container {quoted(prefix)}")
        if record is None:
            return StopContainerResponse()
        if request.timeout > 0:
            self.model.ask_to_stop(record)
        if request.timeout > 0 and record.is_running:
            exited = bridge.AsyncioEvent()
            record.on_exit.append(exited.set)
            await wait(exited, request.timeout)
        self.model.kill(record)
        return StopContainerResponse()

    async def remove_container(self, request: RemoveContainerRequest) -> RemoveContainerResponse:
        """Remove a container."""
        self.model.remove_container(request.container_id)
        return RemoveContainerResponse()

    async def list_containers(self, request: ListContainersRequest) -> ListContainersResponse:
        """List containers."""
        return ListContainersResponse(containers=self._listed_containers(request.filter))

    async def stream_containers(self, request: StreamContainersRequest) -> AsyncIterator[StreamContainersResponse]:
        """List containers in several messages."""
        for chunk in self.chunks(self._listed_containers(request.filter)):
            yield StreamContainersResponse(containers=chunk)

    async def container_status(self, request: ContainerStatusRequest) -> ContainerStatusResponse:
        """Return the status of a container."""
        prefix = request.container_id
        record = self.model.containers.get(prefix, f"an error occurred when try to find container {quoted(prefix)}")
        status = self.model.status_of(record)
        return ContainerStatusResponse(status=status, info=container_info(record) if request.verbose else {})

    async def update_container_resources(
        self, request: UpdateContainerResourcesRequest
    ) -> UpdateContainerResourcesResponse:
        """Change the resources of a container."""
        self.model.update_container(request.container_id, request.linux)
        return UpdateContainerResourcesResponse()

    async def reopen_container_log(self, request: ReopenContainerLogRequest) -> ReopenContainerLogResponse:
        """Reopen the log file."""
        self.model.reopen_log(request.container_id)
        return ReopenContainerLogResponse()

    async def get_container_events(self, _request: GetEventsRequest) -> AsyncIterator[ContainerEventResponse]:
        """Stream container events until the client cancels."""
        news = bridge.AsyncioEvent()
        subscription = self.model.events.subscribe(news.set, self.model.clock())
        try:
            while True:
                while subscription.queue:
                    yield subscription.queue.popleft()
                news.clear()
                await news.wait()
        finally:
            self.model.events.unsubscribe(subscription)

    def _listed_containers(self, filter_: ContainerFilter) -> list[Container]:
        whole = ContainerFilter(
            id=self.model.containers.whole_id(filter_.id),
            state=filter_.state,
            pod_sandbox_id=self.model.pods.whole_id(filter_.pod_sandbox_id),
            label_selector=filter_.label_selector,
        )
        by_state = betterproto.serialized_on_wire(filter_.state)
        return [
            listed_container(record)
            for record in self.model.containers
            if container_matches(record, whole, by_state=by_state)
        ]
