"""Pods and containers as the kubelet asks for them, and the life of one."""

from __future__ import annotations

import enum
from functools import cache
from typing import TYPE_CHECKING, Final

import attrs

from bench.protobuf import bytes_field, pick, text_field
from crirm.cri.proto.runtime import v1

if TYPE_CHECKING:
    from bench.client import Client

_FILLING_AT_ONCE: Final = 8
_NAME: Final = "bench-{:08}"  # of one width, so that another name is put into encoded requests
_TEMPLATE: Final = _NAME.format(0)


class Kind(enum.Enum):
    """What a pod asks for, by its QoS class."""

    SMALL = "burstable"  # 50 milli-CPUs
    EXCLUSIVE = "guaranteed"  # two whole CPUs


_RESOURCES: Final = {
    Kind.SMALL: v1.LinuxContainerResources(cpu_period=100_000, cpu_quota=50_000, cpu_shares=51),
    Kind.EXCLUSIVE: v1.LinuxContainerResources(
        cpu_period=100_000, cpu_quota=200_000, cpu_shares=2048, memory_limit_in_bytes=64 << 20
    ),
}


@attrs.frozen
class Pods:
    """What pods on one runtime are made of.

    Args:
        image: what containers run; it has ``sleep``.
        cgroup_parents: below which cgroup those of each kind go; ``{}`` stands for the pod's name.
    """

    image: str
    cgroup_parents: tuple[tuple[Kind, str], ...]

    def live(self, client: Client, number: int, kind: Kind) -> float:
        """Live a pod's life: seven calls; returns the seconds that they took together."""
        run, create = _requests(self, number, kind)
        steps_s: list[float] = []
        pod = text_field(1, pick(client.timed(steps_s, "RunPodSandbox", run), 1).decode())
        container = text_field(1, pick(client.timed(steps_s, "CreateContainer", pod + create), 1).decode())
        client.timed(steps_s, "StartContainer", container)
        client.timed(steps_s, "StopContainer", container)  # without grace, since sleep ignores SIGTERM
        client.timed(steps_s, "RemoveContainer", container)
        client.timed(steps_s, "StopPodSandbox", pod)
        client.timed(steps_s, "RemovePodSandbox", pod)
        return sum(steps_s)

    def stay(self, client: Client, numbers: range) -> None:
        """Start one small pod of one container for each of *numbers*."""
        for number in numbers:
            run, create = _requests(self, number, Kind.SMALL)
            pod = text_field(1, pick(client.call("RunPodSandbox", run), 1).decode())
            container = text_field(1, pick(client.call("CreateContainer", pod + create), 1).decode())
            client.call("StartContainer", container)

    def fill(self, client: Client, numbers: range) -> None:
        """Create containers in a pod of their own; none is started.

        What a runtime lists does not depend on whether they run, and starting 1500 containers takes minutes.
        """
        run, _ = _requests(self, numbers.start, Kind.SMALL)
        pod = text_field(1, pick(client.call("RunPodSandbox", run), 1).decode())
        requests = [pod + _requests(self, number, Kind.SMALL)[1] for number in numbers]
        client.burst("CreateContainer", requests, _FILLING_AT_ONCE)


def _requests(pods: Pods, number: int, kind: Kind) -> tuple[bytes, bytes]:
    """Return the requests that make a pod and its container, the second without the pod's id."""
    name = _NAME.format(number).encode()
    run, create = _templates(pods, kind)
    return run.replace(_TEMPLATE.encode(), name), create.replace(_TEMPLATE.encode(), name)


@cache
def _templates(pods: Pods, kind: Kind) -> tuple[bytes, bytes]:
    """Encoding takes milliseconds, in which a relay and the caches would cool down."""
    sandbox = _sandbox(dict(pods.cgroup_parents)[kind])
    run = bytes(v1.RunPodSandboxRequest(config=sandbox))
    container = _container(pods.image, kind)
    return run, bytes_field(2, bytes(container)) + bytes_field(3, bytes(sandbox))


def _sandbox(cgroup_parent: str) -> v1.PodSandboxConfig:
    """Return the configuration of a pod, on the host network so that no CNI plug-in is needed."""
    return v1.PodSandboxConfig(
        metadata=v1.PodSandboxMetadata(name=_TEMPLATE, namespace="bench", uid=f"uid-{_TEMPLATE}"),
        labels=_labels(),
        linux=v1.LinuxPodSandboxConfig(
            cgroup_parent=cgroup_parent.format(_TEMPLATE),
            security_context=v1.LinuxSandboxSecurityContext(namespace_options=_host_network()),
        ),
    )


def _container(image: str, kind: Kind) -> v1.ContainerConfig:
    """Return the configuration of a container, with the labels and annotations that the kubelet gives each."""
    return v1.ContainerConfig(
        metadata=v1.ContainerMetadata(name=_TEMPLATE),
        image=v1.ImageSpec(image=image),
        command=["sleep", "1000000"],
        labels={**_labels(), "io.kubernetes.container.name": _TEMPLATE},
        annotations={
            "io.kubernetes.container.hash": "8a3f19d2",
            "io.kubernetes.container.restartCount": "0",
            "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
            "io.kubernetes.container.terminationMessagePolicy": "File",
            "io.kubernetes.pod.terminationGracePeriod": "30",
        },
        linux=v1.LinuxContainerConfig(
            resources=_RESOURCES[kind],
            security_context=v1.LinuxContainerSecurityContext(namespace_options=_host_network()),
        ),
    )


def _labels() -> dict[str, str]:
    return {
        "io.kubernetes.pod.name": _TEMPLATE,
        "io.kubernetes.pod.namespace": "bench",
        "io.kubernetes.pod.uid": f"uid-{_TEMPLATE}",
    }


def _host_network() -> v1.NamespaceOption:
    return v1.NamespaceOption(network=v1.NamespaceMode(v1.NamespaceMode.NODE))
