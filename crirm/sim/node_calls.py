"""The calls for the runtime as a whole, and the whole runtime service."""

from __future__ import annotations

import json

from grpclib import GRPCError
from grpclib.const import Status

from crirm.cri.proto.runtime.v1 import (
    CgroupDriver,
    CheckpointContainerRequest,
    CheckpointContainerResponse,
    CheckpointPodRequest,
    CheckpointPodResponse,
    LinuxRuntimeConfiguration,
    RestorePodRequest,
    RestorePodResponse,
    RuntimeCondition,
    RuntimeConfigRequest,
    RuntimeConfigResponse,
    RuntimeFeatures,
    RuntimeHandler,
    RuntimeHandlerFeatures,
    RuntimeStatus,
    StatusRequest,
    StatusResponse,
    UpdateRuntimeConfigRequest,
    UpdateRuntimeConfigResponse,
    VersionRequest,
    VersionResponse,
)
from crirm.sim.container_calls import ContainerCalls
from crirm.sim.exec_calls import ExecCalls
from crirm.sim.index import quoted
from crirm.sim.model import RUNTIME_HANDLERS
from crirm.sim.pod_calls import PodCalls
from crirm.sim.stats_calls import StatsCalls

KUBELET_API_VERSION = "0.1.0"
CONDITIONS = ("RuntimeReady", "NetworkReady")


class RuntimeService(PodCalls, ContainerCalls, ExecCalls, StatsCalls):
    """asyncio-flavoured handlers of every method of the runtime service."""

    async def version(self, _request: VersionRequest) -> VersionResponse:
        """Return name and version of the runtime."""
        return VersionResponse(
            version=KUBELET_API_VERSION,
            runtime_name=self.settings.name,
            runtime_version=self.settings.runtime_version,
            runtime_api_version=self.package.removeprefix("runtime."),
        )

    async def status(self, request: StatusRequest) -> StatusResponse:
        """Return that everything is ready."""
        features = RuntimeHandlerFeatures(recursive_read_only_mounts=True)
        info = {"config": json.dumps({"api": self.settings.api.value, "streamChunk": self.settings.stream_chunk})}
        return StatusResponse(
            status=RuntimeStatus(conditions=[RuntimeCondition(type=kind, status=True) for kind in CONDITIONS]),
            info=info if request.verbose else {},
            runtime_handlers=[RuntimeHandler(name=name, features=features) for name in RUNTIME_HANDLERS],
            features=RuntimeFeatures(supplemental_groups_policy=True),
        )

    async def update_runtime_config(self, _request: UpdateRuntimeConfigRequest) -> UpdateRuntimeConfigResponse:
        """Accept the pod network's address range, which is not used."""
        return UpdateRuntimeConfigResponse()

    async def runtime_config(self, _request: RuntimeConfigRequest) -> RuntimeConfigResponse:
        """Return the cgroup driver."""
        driver = CgroupDriver(CgroupDriver.CGROUPFS)
        return RuntimeConfigResponse(linux=LinuxRuntimeConfiguration(cgroup_driver=driver))

    async def checkpoint_container(self, request: CheckpointContainerRequest) -> CheckpointContainerResponse:
        """Refuse: there are no real processes to checkpoint."""
        prefix = request.container_id
        during = f"an error occurred when trying to find container the container status {quoted(prefix)}"
        self.model.containers.get(prefix, f"{during}: an error occurred when try to find container {quoted(prefix)}")
        raise GRPCError(Status.UNIMPLEMENTED, "method CheckpointContainer not implemented")

    async def checkpoint_pod(self, _request: CheckpointPodRequest) -> CheckpointPodResponse:
        """Refuse: there are no real processes to checkpoint."""
        raise GRPCError(Status.UNIMPLEMENTED, "method CheckpointPod not implemented")

    async def restore_pod(self, _request: RestorePodRequest) -> RestorePodResponse:
        """Refuse: there is nothing to restore from."""
        raise GRPCError(Status.UNIMPLEMENTED, "method RestorePod not implemented")
