"""Pods and containers that exist before the first call, for benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crirm.cri.proto.runtime.v1 import (
    ContainerConfig,
    ContainerMetadata,
    CreateContainerRequest,
    ImageSpec,
    PodSandboxConfig,
    PodSandboxMetadata,
)

if TYPE_CHECKING:
    from crirm.sim.model import Model
    from crirm.sim.settings import SimSettings

IMAGE = "docker.io/library/busybox:latest"
PADDING = "padding"


def seed(model: Model, settings: SimSettings) -> None:
    """Fill *model* with the pods and running containers of *settings*, without events."""
    model.is_quiet = True
    for pod_number in range(settings.pods):
        metadata = PodSandboxMetadata(name=f"pod-{pod_number}", namespace="default", uid=f"uid-{pod_number}")
        config = PodSandboxConfig(metadata=metadata, labels={"pod": f"pod-{pod_number}"})
        pod = model.run_pod(config, "")
        for number in range(settings.containers_per_pod):
            request = CreateContainerRequest(pod.id, _container(number, settings.annotation_bytes), config)
            model.start_container(model.create_container(request).id)
    model.is_quiet = False


def _container(number: int, annotation_bytes: int) -> ContainerConfig:
    return ContainerConfig(
        metadata=ContainerMetadata(name=f"c{number}"),
        image=ImageSpec(image=IMAGE),
        command=["sleep", "infinity"],
        annotations={PADDING: "x" * annotation_bytes} if annotation_bytes else {},
    )
