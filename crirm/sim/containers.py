"""Containers: the record of one, and its messages in CRI's answers."""

from __future__ import annotations

import json
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import attrs
import betterproto

from crirm.cri.proto.runtime.v1 import (
    Container,
    ContainerConfig,
    ContainerFilter,
    ContainerMetadata,
    ContainerResources,
    ContainerState,
    ContainerStatus,
    ContainerUser,
    ImageSpec,
    LinuxContainerResources,
    LinuxContainerUser,
    NamespaceMode,
    PodSandboxConfig,
    PodSandboxMetadata,
)
from crirm.sim.pods import has_labels
from crirm.sim.programs import Program, run_for_ever
from crirm.sim.states import CREATED, RUNNING, SIGTERM

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.sim.images import StoredImage


@attrs.define(eq=False)
class Record:
    """One container.

    Attributes:
        id: 64 hexadecimal digits.
        config: as the client sent it; never changed, because answers share its parts.
        log_path: of the log file; empty for none.
        created_ns, started_ns, finished_ns: nanoseconds since 1970; 0 for "not yet".
        resources: in force now.
        argv: command and arguments.
        program: what it does once it runs.
        pid: of the simulated process; 0 unless it runs.
        on_exit: called once when it has ended.
        known_status: the last result of `container_status`; None once it is outdated.
    """

    id: str
    pod_id: str
    config: ContainerConfig
    image_id: str
    log_path: str
    created_ns: int
    resources: LinuxContainerResources
    argv: tuple[str, ...]
    program: Program = attrs.field(factory=run_for_ever)
    started_ns: int = 0
    finished_ns: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    state: ContainerState = CREATED
    pid: int = 0
    asked_to_stop: bool = False
    on_exit: list[Callable[[], None]] = attrs.field(factory=list)
    known_status: ContainerStatus | None = None

    @property
    def is_init(self) -> bool:
        """Whether its process is number 1 of a PID namespace, so that signals without a handler do nothing."""
        return self.config.linux.security_context.namespace_options.pid == NamespaceMode.CONTAINER

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.state == RUNNING


def container_name(metadata: ContainerMetadata, pod: PodSandboxMetadata) -> str:
    """Return the name that only one container can have at a time."""
    return "_".join((metadata.name, pod.name, pod.namespace, pod.uid, str(metadata.attempt)))


def log_path(pod_config: PodSandboxConfig, config: ContainerConfig) -> str:
    """Return the path of the log file; empty unless both the pod and the container name their part of it."""
    if not pod_config.log_directory or not config.log_path:
        return ""
    return str(PurePosixPath(pod_config.log_directory) / config.log_path)


def listed_container(record: Record) -> Container:
    """Return *record* as an item of a list."""
    return Container(
        id=record.id,
        pod_sandbox_id=record.pod_id,
        metadata=record.config.metadata,
        image=record.config.image,
        image_ref=record.image_id,
        image_id=record.image_id,
        state=record.state,
        created_at=record.created_ns,
        labels=record.config.labels,
        annotations=record.config.annotations,
    )


def container_status(record: Record, image: StoredImage | None) -> ContainerStatus:
    """Return *record* as in ContainerStatus and events; *image* is None if it was removed since."""
    config = record.config
    security = config.linux.security_context
    uid, gid = security.run_as_user.value, security.run_as_group.value
    user = LinuxContainerUser(uid=uid, gid=gid, supplemental_groups=[gid, *security.supplemental_groups])
    return ContainerStatus(
        id=record.id,
        metadata=config.metadata,
        state=record.state,
        created_at=record.created_ns,
        started_at=record.started_ns,
        finished_at=record.finished_ns,
        exit_code=record.exit_code,
        image=ImageSpec(image=image.tags[0]) if image and image.tags else config.image,
        image_ref=image.digests[0] if image and image.digests else record.image_id,
        image_id=record.image_id,
        reason=record.reason,
        message=record.message,
        labels=config.labels,
        annotations=config.annotations,
        mounts=config.mounts,
        log_path=record.log_path,
        resources=ContainerResources(linux=record.resources),
        user=ContainerUser(linux=user),
        stop_signal=config.stop_signal or SIGTERM,
    )


def container_info(record: Record) -> dict[str, str]:
    """Return the verbose part of ContainerStatus: one JSON text under the key ``info``."""
    info = {
        "sandboxID": record.pod_id,
        "pid": record.pid,
        "removing": False,
        "config": record.config.to_dict(casing=betterproto.Casing.SNAKE),  # type: ignore[arg-type]  # as in pods
    }
    return {"info": json.dumps(info)}


def container_matches(record: Record, filter_: ContainerFilter, *, by_state: bool) -> bool:
    """Tell whether a list with *filter_*, whose ids are whole, contains *record*; *by_state*: it names a state."""
    return (
        filter_.id in ("", record.id)
        and filter_.pod_sandbox_id in ("", record.pod_id)
        and (not by_state or record.state == filter_.state.state)
        and has_labels(record.config.labels, filter_.label_selector)
    )
