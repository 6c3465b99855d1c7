"""The kubelet's calls for one pod with one container, from RunPodSandbox to RemovePodSandbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import attrs
import betterproto

from crirm.cri.methods import RUNTIME_SERVICE, V1
from crirm.cri.proto.runtime import v1

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crirm.rpc.client import Pool

M = TypeVar("M", bound=betterproto.Message)

_TIMEOUT_S = 60.0
_UID = "crirm-demo"


@attrs.frozen
class Step:
    """One call that was answered.

    Args:
        method: its name.
        said: the interesting part of the answer.
    """

    method: str
    said: str


@attrs.frozen
class PodLife:
    """One pod's life on the runtime behind *pool*.

    Args:
        pool: connected.
        image: what the container runs; it must have a shell.
        root: below which cgroup the pod goes, where the kubelet would put a Burstable one; empty: the root of all.
    """

    pool: Pool
    image: str
    root: str

    async def __call__(self) -> AsyncIterator[Step]:
        """Trio-flavoured: make the calls, and yield each step once it is done."""
        version = await self._call("Version", v1.VersionRequest(), v1.VersionResponse)
        yield Step("Version", f"{version.runtime_name} {version.runtime_version}")
        sandbox_config = self._sandbox()
        pod = await self._call(
            "RunPodSandbox", v1.RunPodSandboxRequest(config=sandbox_config), v1.RunPodSandboxResponse
        )
        yield Step("RunPodSandbox", f"pod sandbox {pod.pod_sandbox_id[:13]}")
        create = v1.CreateContainerRequest(
            pod_sandbox_id=pod.pod_sandbox_id, config=self._container(), sandbox_config=sandbox_config
        )
        container = await self._call("CreateContainer", create, v1.CreateContainerResponse)
        yield Step("CreateContainer", f"container {container.container_id[:13]}")
        async for step in self._run(container.container_id):
            yield step
        await self._call(
            "StopPodSandbox", v1.StopPodSandboxRequest(pod_sandbox_id=pod.pod_sandbox_id), v1.StopPodSandboxResponse
        )
        yield Step("StopPodSandbox", "")
        await self._call(
            "RemovePodSandbox",
            v1.RemovePodSandboxRequest(pod_sandbox_id=pod.pod_sandbox_id),
            v1.RemovePodSandboxResponse,
        )
        yield Step("RemovePodSandbox", "pod removed")

    async def _run(self, container_id: str) -> AsyncIterator[Step]:
        start = v1.StartContainerRequest(container_id=container_id)
        await self._call("StartContainer", start, v1.StartContainerResponse)
        yield Step("StartContainer", "")
        listed = await self._call("ListContainers", v1.ListContainersRequest(), v1.ListContainersResponse)
        states = ", ".join(f"{c.metadata.name} is {v1.ContainerState(c.state).name}" for c in listed.containers)
        yield Step("ListContainers", states)
        execute = v1.ExecSyncRequest(container_id=container_id, cmd=["echo", "hello from inside"], timeout=10)
        answer = await self._call("ExecSync", execute, v1.ExecSyncResponse)
        yield Step("ExecSync", f"{answer.stdout.decode('utf-8', 'replace').strip()!r}, exit code {answer.exit_code}")
        stop = v1.StopContainerRequest(container_id=container_id, timeout=1)
        await self._call("StopContainer", stop, v1.StopContainerResponse)
        yield Step("StopContainer", "")
        ask = v1.ContainerStatusRequest(container_id=container_id)
        status = (await self._call("ContainerStatus", ask, v1.ContainerStatusResponse)).status
        yield Step("ContainerStatus", f"{v1.ContainerState(status.state).name}, exit code {status.exit_code}")
        remove = v1.RemoveContainerRequest(container_id=container_id)
        await self._call("RemoveContainer", remove, v1.RemoveContainerResponse)
        yield Step("RemoveContainer", "")

    def _sandbox(self) -> v1.PodSandboxConfig:
        host_network = v1.NamespaceOption(
            network=v1.NamespaceMode(v1.NamespaceMode.NODE)
        )  # so that no CNI plug-in is needed
        return v1.PodSandboxConfig(
            metadata=v1.PodSandboxMetadata(name="demo", namespace="default", uid=_UID),
            linux=v1.LinuxPodSandboxConfig(
                cgroup_parent=f"{self.root}/kubepods/burstable/pod{_UID}",
                security_context=v1.LinuxSandboxSecurityContext(namespace_options=host_network),
            ),
        )

    def _container(self) -> v1.ContainerConfig:
        host_network = v1.NamespaceOption(network=v1.NamespaceMode(v1.NamespaceMode.NODE))
        return v1.ContainerConfig(
            metadata=v1.ContainerMetadata(name="hello"),
            image=v1.ImageSpec(image=self.image),
            command=["sleep", "1000000"],
            linux=v1.LinuxContainerConfig(
                resources=v1.LinuxContainerResources(cpu_period=100_000, cpu_quota=50_000, cpu_shares=256),
                security_context=v1.LinuxContainerSecurityContext(namespace_options=host_network),
            ),
        )

    async def _call(self, name: str, request: betterproto.Message, reply: type[M]) -> M:
        path = f"/{V1}.{RUNTIME_SERVICE}/{name}"
        return reply().parse(await self.pool.unary(path, bytes(request), timeout_s=_TIMEOUT_S))
