"""What every runtime says about itself, and how it refuses what it cannot do."""

from __future__ import annotations

from typing import Any

from crirm.cri.proto.runtime import v1
from tests.conformance.client import unary
from tests.conformance.cri import METHODS, NOT_FOUND, OK, REQUESTS, STREAMING, UNIMPLEMENTED, World

Outcome = dict[str, Any]

_NO_ID = "0123456789abcdef-is-no-id"


def version(world: World) -> Outcome:
    known = world.cri.call("Version", v1.VersionRequest(version="v1"), v1.VersionResponse)
    assert known.runtime_name
    assert known.runtime_version
    assert known.runtime_api_version in {"v1", "v1alpha2"}
    return {"version": known.to_dict()}


def status(world: World) -> Outcome:
    known = world.cri.call("Status", v1.StatusRequest(), v1.StatusResponse)
    conditions = {condition.type: condition.status for condition in known.status.conditions}
    assert conditions["RuntimeReady"]
    assert not known.info
    return {"status": world.plain(known)}


def verbose_status(world: World) -> Outcome:
    known = world.cri.call("Status", v1.StatusRequest(verbose=True), v1.StatusResponse)
    assert known.info
    return {"status": world.plain(known.status), "info": dict(known.info)}


def runtime_config(world: World) -> Outcome:
    return {"configured": world.outcome("RuntimeConfig", v1.RuntimeConfigRequest())}


def update_runtime_config(world: World) -> Outcome:
    config = v1.RuntimeConfig(network_config=v1.NetworkConfig(pod_cidr="10.88.0.0/16"))
    return {"updated": world.outcome("UpdateRuntimeConfig", v1.UpdateRuntimeConfigRequest(runtime_config=config))}


def empty_requests(world: World) -> Outcome:
    """Each unary method, asked with an empty message."""
    answers = {}
    for method in sorted(set(METHODS) - STREAMING):
        reply = unary(world.cri.client, world.cri.path(method), b"")
        answers[method] = {"code": reply.code, "text": world.plain(reply.text)}
    assert answers["Version"]["code"] == OK
    assert answers["RunPodSandbox"]["code"] != OK
    return answers


def unknown_ids(world: World) -> Outcome:
    """Each method that takes the id of a pod or container, asked about one that is not there."""
    answers = {}
    for method, request_type in REQUESTS.items():
        for field in ("pod_sandbox_id", "container_id"):
            names = request_type.__dataclass_fields__
            if field in names and method not in STREAMING:
                answers[method] = world.outcome(method, request_type(**{field: _NO_ID}))
    assert answers["PodSandboxStatus"]["code"] == NOT_FOUND
    assert answers["ContainerStatus"]["code"] == NOT_FOUND
    assert _NO_ID in answers["ContainerStatus"]["text"]
    return answers


def unknown_methods(world: World) -> Outcome:
    """Methods and services that are not there, and paths that are none."""
    package = world.cri.package
    paths = (
        f"/{package}.RuntimeService/NotThoughtOfYet",
        f"/{package}.ImageService/NotThoughtOfYet",
        f"/{package}.RuntimeService/version",
        "/runtime.v9.RuntimeService/Version",
        "/crirm.test.Nothing/AtAll",
        "/nonsense",
    )
    answers = {}
    for path in paths:
        reply = unary(world.cri.client, path, b"\x0a\x03abc")
        answers[path.replace(package, "<package>")] = {"code": reply.code, "text": world.plain(reply.text)}
        assert reply.code == UNIMPLEMENTED or path == "/nonsense"
        assert reply.code != OK
        assert not reply.messages
    return answers


def streamed_lists(world: World) -> Outcome:
    """The server-streaming forms of the lists, which few runtimes have yet."""
    answers = {}
    with world.pod("streamed") as pod:
        pod.run("main")
        for method in sorted(STREAMING - {"GetContainerEvents"}):
            reply = world.cri.start(method, REQUESTS[method]()).finish()
            answers[method] = {"code": reply.code, "text": world.plain(reply.text), "messages": len(reply.messages)}
    assert {answer["code"] for answer in answers.values()} in ({OK}, {UNIMPLEMENTED})
    return answers


def unreadable_request(world: World) -> Outcome:
    """A request that is no protobuf message."""
    reply = unary(world.cri.client, world.cri.path("PodSandboxStatus"), b"\x0a\xff\xff\xff\xff\xff")
    assert reply.code != OK
    return {"code": reply.code, "text": world.plain(reply.text)}


SCENARIOS = (
    version,
    status,
    verbose_status,
    runtime_config,
    update_runtime_config,
    empty_requests,
    unknown_ids,
    unknown_methods,
    streamed_lists,
    unreadable_request,
)
