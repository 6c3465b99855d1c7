"""Typed CRI calls over a generic client, and what scenarios need around them."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import betterproto

from crirm.cri.proto.runtime import v1
from crirm.launcher.oci_image import BUSYBOX_IMAGE
from tests.conformance import client as grpc_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conformance.client import Call, Client, Metadata, Reply
    from tests.conformance.normal import Masks

M = TypeVar("M", bound=betterproto.Message)

V1 = "runtime.v1"
V1ALPHA2 = "runtime.v1alpha2"

HOST = v1.NamespaceMode(v1.NamespaceMode.NODE)

OK = 0
CANCELLED = 1
UNKNOWN = 2
INVALID_ARGUMENT = 3
DEADLINE_EXCEEDED = 4
NOT_FOUND = 5
RESOURCE_EXHAUSTED = 8
UNIMPLEMENTED = 12

_HANDLERS = {
    path.rpartition("/")[2]: (path.split("/")[1].rpartition(".")[2], handler)
    for base in (v1.RuntimeServiceBase, v1.ImageServiceBase)
    for path, handler in base().__mapping__().items()
}

METHODS = {method: service for method, (service, _) in _HANDLERS.items()}
STREAMING = {method for method, (_, handler) in _HANDLERS.items() if handler.cardinality.server_streaming}
REQUESTS = {method: handler.request_type for method, (_, handler) in _HANDLERS.items()}


class CallError(AssertionError):
    """A call that the scenario needs did not succeed."""


def wait_until(holds: Callable[[], bool], within_s: float = 15.0) -> None:
    """Ask again and again, for conditions that the runtime reaches in its own time."""
    until = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < until, "what was waited for did not come about"
        time.sleep(0.02)


@attrs.frozen
class Cri:
    """CRI of one API package over one client."""

    client: Client
    package: str

    def path(self, method: str) -> str:
        return f"/{self.package}.{METHODS[method]}/{method}"

    def start(
        self, method: str, request: betterproto.Message, metadata: Metadata = (), timeout_s: float = 30.0
    ) -> Call:
        return self.client.start(self.path(method), bytes(request), metadata=metadata, timeout_s=timeout_s)

    def reply(self, method: str, request: betterproto.Message, timeout_s: float = 30.0) -> Reply:
        return grpc_client.unary(self.client, self.path(method), bytes(request), timeout_s=timeout_s)

    def call(self, method: str, request: betterproto.Message, kind: type[M], timeout_s: float = 30.0) -> M:
        reply = self.reply(method, request, timeout_s)
        if reply.code != OK:
            raise CallError(f"{method}: {reply.code} {reply.text}")
        return kind().parse(reply.message)


@attrs.define(eq=False)
class World:
    """What a scenario runs in: one runtime, reached by one path, with one API package."""

    cri: Cri
    cgroup_parent: str
    logs: Path  # log directory of its pods
    runtime: str
    has_events: bool
    has_processes: bool  # whether what runs in its containers are processes of this machine
    masks: Masks
    import_image: Callable[..., None]  # brings in one image under the names given, without CRI where that can be

    def plain(self, value: object) -> Any:
        """A value without the ids, times and amounts that differ from run to run."""
        return self.masks.plain(value)

    def outcome(self, method: str, request: betterproto.Message, timeout_s: float = 30.0) -> Any:
        """Code and text of a call, and the normalised reply where there is one."""
        reply = self.cri.reply(method, request, timeout_s)
        if reply.code != OK:
            return {"code": reply.code, "text": self.plain(reply.text)}
        response = _HANDLERS[method][1].reply_type().parse(reply.message)
        return {"code": OK, "reply": self.plain(response)}

    def pod_config(self, name: str, **changes: object) -> v1.PodSandboxConfig:
        return v1.PodSandboxConfig(
            metadata=v1.PodSandboxMetadata(name=name, uid=f"uid-{name}", namespace="conformance"),
            log_directory=str(self.logs / name),
            labels={"suite": "conformance", "pod": name},
            annotations={"crirm.test/pod": name},
            linux=v1.LinuxPodSandboxConfig(
                cgroup_parent=f"{self.cgroup_parent}/{name}",
                security_context=v1.LinuxSandboxSecurityContext(
                    namespace_options=v1.NamespaceOption(
                        network=HOST, pid=v1.NamespaceMode(v1.NamespaceMode.CONTAINER), ipc=HOST
                    )
                ),
            ),
            **changes,  # type: ignore[arg-type]
        )

    def container_config(self, name: str, *command: str, **changes: object) -> v1.ContainerConfig:
        return v1.ContainerConfig(
            metadata=v1.ContainerMetadata(name=name),
            image=v1.ImageSpec(image=BUSYBOX_IMAGE),
            command=list(command or ("/bin/sleep", "3600")),
            labels={"suite": "conformance", "container": name},
            annotations={"crirm.test/container": name},
            log_path=f"{name}.log",
            linux=v1.LinuxContainerConfig(
                resources=v1.LinuxContainerResources(cpu_period=100_000, cpu_quota=50_000, cpu_shares=512)
            ),
            **changes,  # type: ignore[arg-type]
        )

    @contextmanager
    def pod(self, name: str) -> Iterator[Pod]:
        """A running sandbox that is stopped and removed afterwards, with whatever runs in it."""
        config = self.pod_config(name)
        (self.logs / name).mkdir(parents=True, exist_ok=True)
        ran = self.cri.call("RunPodSandbox", v1.RunPodSandboxRequest(config=config), v1.RunPodSandboxResponse)
        self.masks.name(ran.pod_sandbox_id, f"pod {name}")
        try:
            yield Pod(self, ran.pod_sandbox_id, config)
        finally:
            self.cri.reply("StopPodSandbox", v1.StopPodSandboxRequest(pod_sandbox_id=ran.pod_sandbox_id))
            self.cri.reply("RemovePodSandbox", v1.RemovePodSandboxRequest(pod_sandbox_id=ran.pod_sandbox_id))


@attrs.define(eq=False)
class Pod:
    """A sandbox that runs."""

    world: World
    id: str
    config: v1.PodSandboxConfig

    def create(self, name: str, *command: str, **changes: object) -> str:
        """Create a container; its id."""
        request = v1.CreateContainerRequest(
            pod_sandbox_id=self.id,
            config=self.world.container_config(name, *command, **changes),
            sandbox_config=self.config,
        )
        created = self.world.cri.call("CreateContainer", request, v1.CreateContainerResponse)
        self.world.masks.name(created.container_id, f"container {name}")
        return created.container_id

    def run(self, name: str, *command: str, **changes: object) -> str:
        """Create and start a container; its id."""
        container = self.create(name, *command, **changes)
        self.world.cri.call(
            "StartContainer", v1.StartContainerRequest(container_id=container), v1.StartContainerResponse
        )
        return container
