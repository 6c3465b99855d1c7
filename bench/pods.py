"""Pods and containers as the kubelet asks for them, and the life of one, call by call."""

from __future__ import annotations

import attrs

from bench.client import Client  # noqa: TC001 - attrs resolves field types at run time
from crirm.cri.proto.runtime import v1

# The seven calls of a pod's life, in their order.
STEPS = (
    "RunPodSandbox",
    "CreateContainer",
    "StartContainer",
    "StopContainer",
    "RemoveContainer",
    "StopPodSandbox",
    "RemovePodSandbox",
)
_FILLING_AT_ONCE = 8


@attrs.frozen
class Pods:
    """What pods on one runtime are made of.

    Args:
        image: what containers run; it has ``sleep``.
        cgroup_parent: below which cgroup they go; empty: where the runtime puts them.
    """

    image: str
    cgroup_parent: str

    def sandbox(self, name: str) -> v1.PodSandboxConfig:
        """Return the configuration of the pod *name*, on the host network so that no CNI plug-in is needed."""
        return v1.PodSandboxConfig(
            metadata=v1.PodSandboxMetadata(name=name, namespace="bench", uid=f"uid-{name}"),
            labels=_labels(name),
            linux=v1.LinuxPodSandboxConfig(
                cgroup_parent=self.cgroup_parent,
                security_context=v1.LinuxSandboxSecurityContext(namespace_options=_host_network()),
            ),
        )

    def container(self, pod_name: str, name: str) -> v1.ContainerConfig:
        """Return the configuration of a container, with the labels and annotations that the kubelet gives each."""
        return v1.ContainerConfig(
            metadata=v1.ContainerMetadata(name=name),
            image=v1.ImageSpec(image=self.image),
            command=["sleep", "1000000"],
            labels={**_labels(pod_name), "io.kubernetes.container.name": name},
            annotations={
                "io.kubernetes.container.hash": "8a3f19d2",
                "io.kubernetes.container.restartCount": "0",
                "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
                "io.kubernetes.container.terminationMessagePolicy": "File",
                "io.kubernetes.pod.terminationGracePeriod": "30",
            },
            linux=v1.LinuxContainerConfig(
                resources=v1.LinuxContainerResources(cpu_period=100_000, cpu_quota=50_000, cpu_shares=256),
                security_context=v1.LinuxContainerSecurityContext(namespace_options=_host_network()),
            ),
        )

    def fill(self, client: Client, pod_name: str, first: int, end: int) -> None:
        """Create the containers *first* to *end* - 1 in a pod that is made if *first* is 0; none is started.

        What a runtime lists does not depend on whether they run, and starting 1500 containers takes minutes.
        """
        sandbox = self.sandbox(pod_name)
        if first == 0:
            client.call("RunPodSandbox", bytes(v1.RunPodSandboxRequest(config=sandbox)))
        pods = v1.ListPodSandboxRequest(filter=v1.PodSandboxFilter(label_selector={"io.kubernetes.pod.name": pod_name}))
        (pod,) = v1.ListPodSandboxResponse().parse(client.call("ListPodSandbox", bytes(pods))).items
        requests = [
            bytes(v1.CreateContainerRequest(pod.id, self.container(pod_name, f"c{number}"), sandbox))
            for number in range(first, end)
        ]
        client.burst("CreateContainer", requests, _FILLING_AT_ONCE)

    def live(self, client: Client, name: str) -> list[float]:
        """Live a pod's life and return how long each of its `STEPS` took, in seconds."""
        sandbox = self.sandbox(name)
        steps: list[float] = []
        pod_id = (
            v1.RunPodSandboxResponse()
            .parse(client.timed(steps, "RunPodSandbox", bytes(v1.RunPodSandboxRequest(config=sandbox))))
            .pod_sandbox_id
        )
        create = v1.CreateContainerRequest(pod_id, self.container(name, "c"), sandbox)
        container_id = (
            v1.CreateContainerResponse().parse(client.timed(steps, "CreateContainer", bytes(create))).container_id
        )
        for method, request in (
            ("StartContainer", v1.StartContainerRequest(container_id)),
            ("StopContainer", v1.StopContainerRequest(container_id, timeout=0)),  # at once: sleep ignores SIGTERM
            ("RemoveContainer", v1.RemoveContainerRequest(container_id)),
            ("StopPodSandbox", v1.StopPodSandboxRequest(pod_id)),
            ("RemovePodSandbox", v1.RemovePodSandboxRequest(pod_id)),
        ):
            client.timed(steps, method, bytes(request))
        return steps


def _labels(pod_name: str) -> dict[str, str]:
    return {
        "io.kubernetes.pod.name": pod_name,
        "io.kubernetes.pod.namespace": "bench",
        "io.kubernetes.pod.uid": f"uid-{pod_name}",
    }


def _host_network() -> v1.NamespaceOption:
    return v1.NamespaceOption(network=v1.NamespaceMode(v1.NamespaceMode.NODE))
