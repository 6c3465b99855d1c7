"""The methods of CRI: names and message names, without the messages themselves.

``runtime.v1alpha2`` has the methods and the wire format of ``runtime.v1`` under its own package name, so one table
serves both, and a call changes version by changing its path.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import attrs

V1: Final = "runtime.v1"
V1ALPHA2: Final = "runtime.v1alpha2"
PACKAGES: Final = (V1, V1ALPHA2)  # the newest first
RUNTIME_SERVICE: Final = "RuntimeService"
IMAGE_SERVICE: Final = "ImageService"


class MethodName(NamedTuple):
    """A gRPC path in parts; missing ones are empty."""

    package: str
    service: str
    method: str


@attrs.frozen
class Method:
    """A known method; messages by the names of their classes, which both packages share."""

    service: str
    name: str
    request: str
    reply: str
    streams: bool  # the server answers with any number of replies


def split(path: str) -> MethodName:
    """Split a gRPC path, ``/package.Service/Method``."""
    full_service, _, method = path.removeprefix("/").rpartition("/")
    package, _, service = full_service.rpartition(".")
    return MethodName(package, service, method)


def bridged(path: str, package: str) -> str:
    """Return the CRI *path* with *package* instead of its own; the path of another API unchanged."""
    name = split(path)
    return f"/{package}.{name.service}/{name.method}" if name.package in PACKAGES else path


def find(path: str) -> Method | None:
    """Return the method at *path*, or None if it is not CRI or newer than this table."""
    name = split(path)
    return METHODS.get((name.service, name.method)) if name.package in PACKAGES else None


INTERCEPTED: Final = frozenset({
    "RunPodSandbox", "StopPodSandbox", "RemovePodSandbox", "CreateContainer", "StartContainer", "StopContainer",
    "RemoveContainer", "UpdateContainerResources", "UpdatePodSandboxResources", "ContainerStatus",
})  # fmt: skip
"""Methods of the RuntimeService that matter for placement: crirm observes or holds them."""


def _rows() -> list[Method]:
    unary_runtime = (
        "Version", "RunPodSandbox", "StopPodSandbox", "RemovePodSandbox", "PodSandboxStatus", "ListPodSandbox",
        "CreateContainer", "StartContainer", "StopContainer", "RemoveContainer", "ListContainers", "ContainerStatus",
        "UpdateContainerResources", "ReopenContainerLog", "ExecSync", "Exec", "Attach", "PortForward",
        "ContainerStats", "ListContainerStats", "PodSandboxStats", "ListPodSandboxStats", "UpdateRuntimeConfig",
        "Status", "CheckpointContainer", "CheckpointPod", "RestorePod", "ListMetricDescriptors",
        "ListPodSandboxMetrics", "RuntimeConfig", "UpdatePodSandboxResources",
    )  # fmt: skip
    streaming_runtime = (
        "StreamPodSandboxes", "StreamContainers", "StreamContainerStats", "StreamPodSandboxStats",
        "StreamPodSandboxMetrics",
    )  # fmt: skip
    unary_image = ("ListImages", "ImageStatus", "PullImage", "RemoveImage", "ImageFsInfo")
    return [
        *(_row(RUNTIME_SERVICE, name, streams=False) for name in unary_runtime),
        *(_row(RUNTIME_SERVICE, name, streams=True) for name in streaming_runtime),
        Method(RUNTIME_SERVICE, "GetContainerEvents", "GetEventsRequest", "ContainerEventResponse", streams=True),
        *(_row(IMAGE_SERVICE, name, streams=False) for name in unary_image),
        _row(IMAGE_SERVICE, "StreamImages", streams=True),
    ]


def _row(service: str, name: str, *, streams: bool) -> Method:
    return Method(service, name, f"{name}Request", f"{name}Response", streams)


METHODS: Final = {(row.service, row.name): row for row in _rows()}
