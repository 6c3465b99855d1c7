"""What a kubelet does to run pods, as far as placement depends on it."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypedDict, Unpack

import attrs

from crirm.cri.proto.runtime import v1
from crirm.launcher.oci_image import BUSYBOX_IMAGE
from crirm.model.qos import QoSClass
from crirm.model.quantity import parse_bytes, parse_millicpu
from tests.conformance.cri import OK, Cri
from tests.vm.inside import kernel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.model.cpuset import CPUSet, NodeSet
    from tests.conformance.client import Reply

_HOST_NETWORK = v1.NamespaceOption(network=v1.NamespaceMode(v1.NamespaceMode.NODE))
_PERIOD_US = 100_000
_AT_ONCE = 4
_CALL_S = 120.0  # emulation is slow, and the machine that emulates may be busy


@attrs.frozen
class Ask:
    """What a container asks for, as in a pod's manifest.

    Args:
        cpu: request, such as ``1500m``; of a Guaranteed pod also its limit.
        memory: limit, such as ``64Mi``.
        command: what it runs.
    """

    cpu: str = "0"
    memory: str = "0"
    command: tuple[str, ...] = ("sleep", "1000000")


@attrs.frozen
class Container:
    """A container that was started.

    Args:
        cri: how to reach it.
        id: given by the runtime.
        pid: its first process.
    """

    cri: Cri
    id: str
    pid: int

    @property
    def cpus(self) -> CPUSet:
        """Where the kernel lets it run."""
        return kernel.allowed_cpus(self.pid)

    @property
    def mems(self) -> NodeSet:
        """Where the kernel lets it take memory from."""
        return kernel.allowed_mems(self.pid)

    def remove(self) -> None:
        """Stop and remove it."""
        stop = v1.StopContainerRequest(container_id=self.id)
        self.cri.call("StopContainer", stop, v1.StopContainerResponse, _CALL_S)
        remove = v1.RemoveContainerRequest(container_id=self.id)
        self.cri.call("RemoveContainer", remove, v1.RemoveContainerResponse, _CALL_S)


@attrs.frozen
class Pod:
    """A sandbox that runs."""

    cri: Cri
    id: str
    config: v1.PodSandboxConfig
    guaranteed: bool

    def create(self, name: str, ask: Ask, attempt: int = 0) -> Reply:
        """Create a container, for the first time or once more; whatever comes of it."""
        labels = {
            "io.kubernetes.container.name": name,
            "io.kubernetes.pod.name": self.config.metadata.name,
            "io.kubernetes.pod.namespace": self.config.metadata.namespace,
            "io.kubernetes.pod.uid": self.config.metadata.uid,
        }
        config = v1.ContainerConfig(
            metadata=v1.ContainerMetadata(name=name, attempt=attempt),
            image=v1.ImageSpec(image=BUSYBOX_IMAGE),
            command=list(ask.command),
            labels=labels,
            linux=v1.LinuxContainerConfig(
                resources=resources(ask, guaranteed=self.guaranteed),
                security_context=v1.LinuxContainerSecurityContext(namespace_options=_HOST_NETWORK),
            ),
        )
        request = v1.CreateContainerRequest(pod_sandbox_id=self.id, config=config, sandbox_config=self.config)
        return self.cri.reply("CreateContainer", request, _CALL_S)

    def run(self, name: str, ask: Ask, attempt: int = 0) -> Container:
        """Create and start a container."""
        return self.start(self.create(name, ask, attempt))

    def start(self, created: Reply) -> Container:
        """Start the container that a call has created."""
        assert created.code == OK, created.text
        container = v1.CreateContainerResponse().parse(created.message).container_id
        start = v1.StartContainerRequest(container_id=container)
        self.cri.call("StartContainer", start, v1.StartContainerResponse, _CALL_S)
        ask_pid = v1.ContainerStatusRequest(container_id=container, verbose=True)
        status = self.cri.call("ContainerStatus", ask_pid, v1.ContainerStatusResponse, _CALL_S)
        return Container(self.cri, container, int(json.loads(status.info["info"])["pid"]))

    def resize(self, container: Container, ask: Ask) -> Reply:
        """Let a container of this pod have other resources; whatever comes of it."""
        request = v1.UpdateContainerResourcesRequest(
            container_id=container.id, linux=resources(ask, guaranteed=self.guaranteed)
        )
        return self.cri.reply("UpdateContainerResources", request, _CALL_S)

    def remove(self) -> None:
        """Stop and remove it, with all its containers."""
        stop = v1.StopPodSandboxRequest(pod_sandbox_id=self.id)
        self.cri.call("StopPodSandbox", stop, v1.StopPodSandboxResponse, _CALL_S)
        remove = v1.RemovePodSandboxRequest(pod_sandbox_id=self.id)
        self.cri.call("RemovePodSandbox", remove, v1.RemovePodSandboxResponse, _CALL_S)


class PodWords(TypedDict, total=False):
    """What else a pod's manifest may say."""

    namespace: str
    annotations: Mapping[str, str]
    labels: Mapping[str, str]


@attrs.frozen
class Kubelet:
    """Runs pods on one CRI socket, with cgroups as its driver names them."""

    cri: Cri
    systemd: bool

    def pod(
        self,
        name: str,
        qos: QoSClass = QoSClass.GUARANTEED,
        **words: Unpack[PodWords],
    ) -> Pod:
        """Run a pod without containers."""
        uid, namespace = str(uuid.uuid4()), words.get("namespace", "default")
        config = v1.PodSandboxConfig(
            metadata=v1.PodSandboxMetadata(name=name, uid=uid, namespace=namespace),
            labels={
                "io.kubernetes.pod.name": name,
                "io.kubernetes.pod.namespace": namespace,
                **words.get("labels", {}),
            },
            annotations=dict(words.get("annotations", {})),
            linux=v1.LinuxPodSandboxConfig(
                cgroup_parent=cgroup_parent(qos, uid, systemd=self.systemd),
                security_context=v1.LinuxSandboxSecurityContext(namespace_options=_HOST_NETWORK),
            ),
        )
        request = v1.RunPodSandboxRequest(config=config)
        ran = self.cri.call("RunPodSandbox", request, v1.RunPodSandboxResponse, _CALL_S)
        return Pod(self.cri, ran.pod_sandbox_id, config, qos is QoSClass.GUARANTEED)

    def guaranteed(self, name: str, *cpus: str, memory: str = "32Mi", **words: Unpack[PodWords]) -> list[Container]:
        """Run a Guaranteed pod with a container for each of *cpus*."""
        made = self.pod(name, **words)
        return [made.run(f"c{index}", Ask(cpu, memory)) for index, cpu in enumerate(cpus)]

    def burstable(self, name: str, *cpus: str, **words: Unpack[PodWords]) -> list[Container]:
        """Run a Burstable pod with a container for each of *cpus*."""
        made = self.pod(name, QoSClass.BURSTABLE, **words)
        return [made.run(f"c{index}", Ask(cpu)) for index, cpu in enumerate(cpus)]

    def best_effort(self, name: str, **words: Unpack[PodWords]) -> Container:
        """Run a BestEffort pod with one container."""
        return self.pod(name, QoSClass.BEST_EFFORT, **words).run("c0", Ask())

    def remove_all(self) -> None:
        """Remove every pod."""
        listed = self.cri.call("ListPodSandbox", v1.ListPodSandboxRequest(), v1.ListPodSandboxResponse, _CALL_S)
        pods = [Pod(self.cri, item.id, v1.PodSandboxConfig(), guaranteed=False) for item in listed.items]
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            list(threads.map(Pod.remove, pods))


def resources(ask: Ask, *, guaranteed: bool) -> v1.LinuxContainerResources:
    """Return what the kubelet makes of a container's requests and limits.

    Source: kubernetes pkg/kubelet/cm/helpers_linux.go, MilliCPUToShares and MilliCPUToQuota.
    """
    millicpu = parse_millicpu(ask.cpu)
    made = v1.LinuxContainerResources(
        cpu_period=_PERIOD_US, cpu_shares=max(2, millicpu * 1024 // 1000), memory_limit_in_bytes=parse_bytes(ask.memory)
    )
    if guaranteed:
        made.cpu_quota = max(1000, millicpu * _PERIOD_US // 1000)
    return made


def cgroup_parent(qos: QoSClass, uid: str, *, systemd: bool) -> str:
    """Return where the kubelet puts a pod.

    Source: kubernetes pkg/kubelet/cm/pod_container_manager_linux.go and cgroup_manager_linux.go.
    """
    middle = {QoSClass.GUARANTEED: "", QoSClass.BURSTABLE: "burstable", QoSClass.BEST_EFFORT: "besteffort"}[qos]
    if not systemd:
        return "/".join(filter(None, ("/kubepods", middle, f"pod{uid}")))
    own = "-".join(filter(None, ("kubepods", middle, f"pod{uid.replace('-', '_')}"))) + ".slice"
    above = f"kubepods-{middle}.slice/" if middle else ""
    return f"/kubepods.slice/{above}{own}"
