"""The subject of a request, from its bytes: the name of a pod, of a container in it, or an id.

Every line of the dump contains it, also where nothing is decoded; so the few fields are known by number (a test
compares them with the API), and the generated messages are not imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crirm.cri.describe import text_of
from crirm.cri.wire import Field, walk

if TYPE_CHECKING:
    from crirm.cri.methods import Method

ID_CHARACTERS: Final = 13  # as many as crictl shows
ID: Final = 1  # container_id or pod_sandbox_id, of each request that has one
WITH_ID: Final = frozenset({
    "StopPodSandbox", "RemovePodSandbox", "PodSandboxStatus", "StartContainer", "StopContainer", "RemoveContainer",
    "ContainerStatus", "UpdateContainerResources", "ReopenContainerLog", "ExecSync", "Exec", "Attach", "PortForward",
    "ContainerStats", "PodSandboxStats", "CheckpointContainer", "CheckpointPod", "UpdatePodSandboxResources",
})  # fmt: skip
METADATA_NAME: Final = (1, 1)  # metadata.name of PodSandboxConfig and of ContainerConfig
RUN_CONFIG: Final = 1  # RunPodSandboxRequest.config
CREATE_CONFIG, CREATE_SANDBOX_CONFIG = 2, 3  # CreateContainerRequest.config, .sandbox_config


def qualifier(method: Method, request: bytes) -> str:
    """Return ``pod``, ``pod:container``, the beginning of an id, or nothing.

    Args:
        method: the called method.
        request: the encoded request; missing or malformed parts are named in the result.
    """
    match method.name:
        case "RunPodSandbox":
            return _named(request, RUN_CONFIG, what="pod")
        case "CreateContainer":
            pod = _named(request, CREATE_SANDBOX_CONFIG, what="pod")
            return f"{pod}:{_named(request, CREATE_CONFIG, what='container')}"
        case name if name in WITH_ID:
            of = _text(request, ID)
            return text_of(of[:ID_CHARACTERS]) if of else ""
        case _:
            return ""


def _named(request: bytes, config: int, *, what: str) -> str:
    name = _text(request, config, *METADATA_NAME)
    return text_of(name) if name else f"<missing {what} metadata in request>"


def _text(data: bytes, *path: int) -> str:
    """Return the string at *path*, field numbers from the outside inwards, or an empty one."""
    for number in path:
        values = (part.value for part in walk(data) if isinstance(part, Field) and part.number == number)
        data = next((value for value in values if isinstance(value, bytes)), b"")
    return data.decode(errors="replace")
