from __future__ import annotations

import pytest

from crirm.cri import qualifier as numbers
from crirm.cri.methods import METHODS
from crirm.cri.proto.runtime import v1
from crirm.cri.qualifier import qualifier
from crirm.cri.schema import schema

POD = v1.PodSandboxConfig(metadata=v1.PodSandboxMetadata(name="web-0", namespace="default"))
CONTAINER = v1.ContainerConfig(metadata=v1.ContainerMetadata(name="nginx"))


@pytest.mark.parametrize(
    ("method", "request_", "expected"),
    [
        pytest.param("RunPodSandbox", v1.RunPodSandboxRequest(config=POD), "web-0", id="a pod by its name"),
        pytest.param(
            "CreateContainer",
            v1.CreateContainerRequest("p1", config=CONTAINER, sandbox_config=POD),
            "web-0:nginx",
            id="a container by its pod's name and its own",
        ),
        pytest.param("RunPodSandbox", b"", "<missing pod metadata in request>", id="a pod without metadata"),
        pytest.param(
            "CreateContainer",
            v1.CreateContainerRequest(sandbox_config=POD),
            "web-0:<missing container metadata in request>",
            id="a container without metadata",
        ),
        pytest.param("RunPodSandbox", b"\x08\x01\xff", "<missing pod metadata in request>", id="no message at all"),
        pytest.param("StartContainer", v1.StartContainerRequest("0123456789abcdef"), "0123456789abc", id="by id"),
        pytest.param("StopPodSandbox", v1.StopPodSandboxRequest("p1"), "p1", id="a pod by id"),
        pytest.param("ListContainers", v1.ListContainersRequest(), "", id="about nobody in particular"),
        pytest.param("StopPodSandbox", v1.StopPodSandboxRequest("a\nb"), '"a\\nb"', id="forges no line"),
    ],
)
def test_whom_a_request_is_about(method: str, request_: object, expected: str) -> None:
    assert qualifier(METHODS["RuntimeService", method], bytes(request_)) == expected  # type: ignore[call-overload]


def numbered(message: str) -> dict[str, int]:
    return {shape.name: number for number, shape in schema(message).items()}


def test_field_numbers_are_those_of_the_api() -> None:
    ids = {
        name: {
            number for field, number in numbered(method.request).items() if field in {"container_id", "pod_sandbox_id"}
        }
        for (_, name), method in METHODS.items()
        if name != "CreateContainer"
    }
    assert {name for name, found in ids.items() if found} == numbers.WITH_ID
    assert {number for found in ids.values() for number in found} == {numbers.ID}
    create = numbered("CreateContainerRequest")
    assert (create["config"], create["sandbox_config"]) == (numbers.CREATE_CONFIG, numbers.CREATE_SANDBOX_CONFIG)
    assert numbered("RunPodSandboxRequest")["config"] == numbers.RUN_CONFIG
    for config, metadata in (("PodSandboxConfig", "PodSandboxMetadata"), ("ContainerConfig", "ContainerMetadata")):
        assert (numbered(config)["metadata"], numbered(metadata)["name"]) == numbers.METADATA_NAME
