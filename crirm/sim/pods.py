"""Pod sandboxes: the record of one, and its messages in CRI's answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import attrs
import betterproto

from crirm.cri.proto.runtime.v1 import (
    LinuxContainerResources,
    LinuxPodSandboxStatus,
    Namespace,
    NamespaceMode,
    PodSandbox,
    PodSandboxConfig,
    PodSandboxFilter,
    PodSandboxMetadata,
    PodSandboxNetworkStatus,
    PodSandboxStatus,
)
from crirm.sim.states import NOT_READY, READY

if TYPE_CHECKING:
    from crirm.cri.proto.runtime.v1 import PodSandboxState


@attrs.define(eq=False)
class Pod:
    """One pod sandbox.

    Attributes:
        id: 64 hexadecimal digits.
        config: as the client sent it; never changed, because answers share its parts.
        created_ns: nanoseconds since 1970.
        ip: address of the pod; empty on the host's network.
        pid: of its simulated pause process.
        container_ids: oldest first.
    """

    id: str
    config: PodSandboxConfig
    runtime_handler: str
    created_ns: int
    ip: str
    pid: int
    is_ready: bool = True
    overhead: LinuxContainerResources | None = None
    resources: LinuxContainerResources | None = None
    container_ids: list[str] = attrs.field(factory=list)

    @property
    def state(self) -> PodSandboxState:
        """READY until it is stopped."""
        return READY if self.is_ready else NOT_READY


def pod_name(metadata: PodSandboxMetadata) -> str:
    """Return the name that only one pod sandbox can have at a time."""
    return "_".join((metadata.name, metadata.namespace, metadata.uid, str(metadata.attempt)))


def on_host_network(config: PodSandboxConfig) -> bool:
    """Tell whether the pod shares the node's network namespace."""
    return config.linux.security_context.namespace_options.network == NamespaceMode.NODE


def listed_pod(pod: Pod) -> PodSandbox:
    """Return *pod* as an item of a list."""
    return PodSandbox(
        id=pod.id,
        metadata=pod.config.metadata,
        state=pod.state,
        created_at=pod.created_ns,
        labels=pod.config.labels,
        annotations=pod.config.annotations,
        runtime_handler=pod.runtime_handler,
    )


def pod_status(pod: Pod) -> PodSandboxStatus:
    """Return *pod* as in PodSandboxStatus and events."""
    options = pod.config.linux.security_context.namespace_options
    return PodSandboxStatus(
        id=pod.id,
        metadata=pod.config.metadata,
        state=pod.state,
        created_at=pod.created_ns,
        network=PodSandboxNetworkStatus(ip=pod.ip if pod.is_ready else ""),
        linux=LinuxPodSandboxStatus(namespaces=Namespace(options=options)),
        labels=pod.config.labels,
        annotations=pod.config.annotations,
        runtime_handler=pod.runtime_handler,
    )


def pod_info(pod: Pod) -> dict[str, str]:
    """Return the verbose part of PodSandboxStatus: one JSON text under the key ``info``."""
    info: dict[str, object] = {
        "pid": pod.pid if pod.is_ready else 0,
        "processStatus": "running" if pod.is_ready else "deleted",
        "runtimeHandler": pod.runtime_handler,
        "config": pod.config.to_dict(casing=betterproto.Casing.SNAKE),  # type: ignore[arg-type]  # its members are functions
        "overhead": pod.overhead and pod.overhead.to_dict(),
        "resources": pod.resources and pod.resources.to_dict(),
    }
    return {"info": json.dumps(info)}


def has_labels(labels: dict[str, str], selector: dict[str, str]) -> bool:
    """Tell whether *labels* has every pair of *selector*."""
    return all(labels.get(key) == value for key, value in selector.items())


def pod_matches(pod: Pod, filter_: PodSandboxFilter, *, by_state: bool) -> bool:
    """Tell whether a list with *filter_* contains *pod*; *by_state* says whether the filter names a state."""
    return (
        pod.id.startswith(filter_.id)
        and (not by_state or pod.state == filter_.state.state)
        and has_labels(pod.config.labels, filter_.label_selector)
    )
