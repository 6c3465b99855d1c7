"""A node without a server: the model, with a clock that stands still until it is moved, and requests for it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import attrs

from crirm.cri.proto.runtime import v1
from crirm.sim.model import Model

if TYPE_CHECKING:
    from crirm.sim.console import Console
    from crirm.sim.containers import Record
    from crirm.sim.pods import Pod

BUSYBOX = "docker.io/library/busybox:latest"


@attrs.define
class Clock:
    """Nanoseconds since 1970."""

    now_ns: int = 1_700_000_000_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def move(self, seconds: float) -> None:
        self.now_ns += int(seconds * 10**9)


class Node:
    """A model and its clock."""

    def __init__(self, console: Console | None = None) -> None:
        self.clock = Clock()
        numbers = itertools.count()
        self.model = Model(self.clock, lambda: f"{next(numbers) + 0xA000_0000:08x}".ljust(64, "0"), console)

    def pod(self, name: str = "pod", **config: object) -> Pod:
        return self.model.run_pod(pod_config(name, **config), "")

    def container(self, pod: Pod, *argv: str, name: str = "c", log_path: str = "", init: bool = True) -> Record:
        """Created, not started."""
        config = container_config(*argv, name=name, log_path=log_path, init=init)
        return self.model.create_container(v1.CreateContainerRequest(pod.id, config, pod.config))

    def running(self, pod: Pod, *argv: str, name: str = "c", log_path: str = "", init: bool = True) -> Record:
        record = self.container(pod, *argv, name=name, log_path=log_path, init=init)
        self.model.start_container(record.id)
        return record

    def tick(self, seconds: float) -> None:
        """Let time pass."""
        self.clock.move(seconds)
        self.model.tick()

    def event_kinds(self) -> list[tuple[str, str]]:
        """Type and container of the events that nobody has taken; they are taken now."""
        subscription = self.model.events.subscribe(lambda: None, self.clock())
        self.model.events.unsubscribe(subscription)
        kinds = [v1.ContainerEventType(event.container_event_type).name or "" for event in subscription.queue]
        ids = [event.container_id for event in subscription.queue]
        short = [kind.removeprefix("CONTAINER_").removesuffix("_EVENT") for kind in kinds]
        return list(zip(short, ids, strict=True))


def pod_config(name: str = "pod", **config: object) -> v1.PodSandboxConfig:
    metadata = v1.PodSandboxMetadata(name=name, namespace="default", uid=f"uid-{name}")
    return v1.PodSandboxConfig(metadata=metadata, labels={"app": name}, **config)  # type: ignore[arg-type]


def container_config(
    *argv: str, name: str = "c", log_path: str = "", init: bool = True, image: str = BUSYBOX
) -> v1.ContainerConfig:
    """*init*: whether the process is number 1 of its PID namespace, as under the kubelet."""
    mode = v1.NamespaceMode(v1.NamespaceMode.CONTAINER if init else v1.NamespaceMode.POD)
    security = v1.LinuxContainerSecurityContext(namespace_options=v1.NamespaceOption(pid=mode))
    return v1.ContainerConfig(
        metadata=v1.ContainerMetadata(name=name),
        image=v1.ImageSpec(image=image),
        command=list(argv),
        labels={"container": name},
        log_path=log_path,
        linux=v1.LinuxContainerConfig(security_context=security),
    )
