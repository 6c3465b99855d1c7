"""What the kubelet is told to run."""

from __future__ import annotations

from collections.abc import Mapping  # noqa: TC003 - attrs resolves field types at run time
from typing import Any

import attrs

from tests.simulation.messages import Resources

PERIOD_US = 100_000
GIB = 1 << 30


@attrs.frozen
class ContainerSpec:
    """A container of a pod.

    Args:
        name: in the pod.
        millicpu: requested; also the limit of a Guaranteed pod.
        lifetime_s: how long it runs by itself; None: until it is stopped.
        kind: ``init`` ends before the next one starts, ``sidecar`` starts before the next and stays, ``main``.
    """

    name: str
    millicpu: int = 0
    lifetime_s: float | None = None
    kind: str = "main"


@attrs.frozen
class PodSpec:
    """A pod.

    Args:
        name: of the pod, and its UID.
        qos: ``guaranteed``, ``burstable`` or ``besteffort``.
        containers: in the order in which they are started.
        lifetime_s: after which it is deleted; None: at the end of the run.
        restart: whether containers that have ended are started again.
        namespace: of the pod.
        annotations: of the pod.
    """

    name: str
    qos: str
    containers: tuple[ContainerSpec, ...]
    lifetime_s: float | None = None
    restart: bool = True
    namespace: str = "default"
    annotations: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def parent(self) -> str:
        """The pod's cgroup."""
        group = "" if self.qos == "guaranteed" else f"/{self.qos}"
        return f"/kubepods{group}/pod{self.name}"

    @classmethod
    def of(cls, args: Mapping[str, Any]) -> PodSpec:
        """Make it from the arguments of a step."""
        return cls(**{**args, "containers": tuple(ContainerSpec(**one) for one in args["containers"])})


def resources_of(pod: PodSpec, millicpu: int) -> Resources:
    """Return what the kubelet sends for a container that requests *millicpu*."""
    shares = max(2, millicpu * 1024 // 1000)
    if pod.qos == "guaranteed":
        return Resources(PERIOD_US, millicpu * PERIOD_US // 1000, shares, GIB)
    return Resources(PERIOD_US, 0, shares, 0)


def resources_of_pod(pod: PodSpec) -> Resources:
    """Return what the kubelet tells of a whole pod: what may be requested at the same time, at most."""
    sidecars = together = most = 0
    count = before = highest = 0
    for one in pod.containers:
        together += one.millicpu if one.kind != "init" else 0
        count += one.kind != "init"
        if one.kind == "init":
            most, highest = max(most, sidecars + one.millicpu), max(highest, before + 1)
        if one.kind == "sidecar":
            sidecars, before = sidecars + one.millicpu, before + 1
    whole = resources_of(pod, max(together, most))
    return attrs.evolve(whole, memory=whole.memory * max(count, highest))
