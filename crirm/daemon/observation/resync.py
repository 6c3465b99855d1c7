"""Synchronisation with the runtime's lists, when the link comes up and whenever in doubt."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import attrs
import trio
from grpclib.const import Status

from crirm.cri.encode import container_question, pod_question
from crirm.cri.listed import listed_pods, seen_containers
from crirm.cri.message import MalformedError
from crirm.cri.replies import status_cpus, status_resources, verbose_info, with_cgroup_parent
from crirm.daemon.relay.asking import ask
from crirm.logs import get_logger
from crirm.model.cpuset import NO_CPUS, CPUSet, ListFormatError
from crirm.model.events import Synchronised
from crirm.model.refusal import RefusedError
from crirm.model.resources import LinuxResources, Requirements, with_bound
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId
from crirm.rpc.grpc_wire import RpcError

if TYPE_CHECKING:
    from crirm.cri.listed import Seen
    from crirm.daemon.placement.engine import Engine
    from crirm.daemon.placement.intake import Intake
    from crirm.daemon.relay.asking import Runtime

Given = tuple[LinuxResources, CPUSet, dict[str, str]]
"""What a container runs with: its resources, the CPUs to which it is bound, and its environment."""

log = get_logger("runtime")

LIST_TIMEOUT_S = 60.0
STATUS_TIMEOUT_S = 30.0
AT_ONCE = 16
_CRIO_CGROUP_PARENT = "io.kubernetes.cri-o.CgroupParent"


async def resync(runtime: Runtime, engine: Engine, intake: Intake) -> None:
    """List containers and pods, get the details of unknown ones, and update the engine.

    Pods are listed second, so that they include the pod of every listed container.

    Raises:
        RpcError: the runtime does not list.
    """
    with engine.since_asked() as since:
        listed = await ask(runtime, "ListContainers", b"", seen_containers, timeout_s=LIST_TIMEOUT_S)
        pods = await ask(runtime, "ListPodSandbox", b"", listed_pods, timeout_s=LIST_TIMEOUT_S)
        details = Details(runtime, engine, intake)
        async with trio.open_nursery() as nursery:
            limit = trio.CapacityLimiter(AT_ONCE)
            for pod in pods:
                nursery.start_soon(details.look_at_pod, pod, limit)
        async with trio.open_nursery() as nursery:
            for item in listed:
                nursery.start_soon(details.look_at_container, item, limit)
        event = Synchronised(tuple(details.pods.values()), tuple(details.containers), since.touched)
        engine.apply(event)
    log.debug("synchronised with the runtime", pods=len(event.pods), containers=len(event.containers))


@attrs.define
class Details:
    """Collects pods and containers with the details that lists do not have."""

    runtime: Runtime
    engine: Engine
    intake: Intake
    pods: dict[PodId, Pod] = attrs.field(factory=dict)
    containers: list[Container] = attrs.field(factory=list)

    async def look_at_pod(self, pod: Pod, limit: trio.CapacityLimiter) -> None:
        """Add *pod*, with its cgroup, which only the verbose status has."""
        known = self.engine.state.workload.pods.get(pod.id)
        if known is None:
            async with limit:
                info = await self._info(pod)
            if info is None:
                return  # removed meanwhile
            known = with_details(pod, info)
        self.pods[known.id] = known

    async def _info(self, pod: Pod) -> str | None:
        """Return the verbose info of a pod, empty if the runtime has none; None if the pod is gone."""
        request = pod_question(pod.id)
        try:
            info = await ask(self.runtime, "PodSandboxStatus", request, verbose_info, timeout_s=STATUS_TIMEOUT_S)
        except RpcError as error:
            log.debug("cannot find out a pod's cgroup", pod=f"{pod.namespace}/{pod.name}", reason=str(error))
            return None if error.status is Status.NOT_FOUND else ""
        return info.get("info", "")

    async def look_at_container(self, seen: Seen, limit: trio.CapacityLimiter) -> None:
        """Add the container *seen*; the resources of an unknown one are requested."""
        key = self.intake.key_of(seen.id)
        known = self.engine.state.workload.containers.get(key) if key else None
        if known is not None:
            self.containers.append(attrs.evolve(known, state=seen.state))
            return
        if seen.state is ContainerState.EXITED:
            return  # it holds nothing, and may be listed for days
        try:
            item = seen.whole
        except MalformedError as error:
            log.warning("ignoring a listed container that cannot be read", container=seen.id, reason=str(error))
            return
        async with limit:
            has = await self._has(seen.id)
        pod = self.pods.get(item.pod)
        if pod is None or has is None:
            return  # removed meanwhile
        resources, cpus, environment = has
        container = Container(
            key=ContainerKey(item.id),
            id=item.id,
            pod=item.pod,
            name=item.name,
            attempt=item.attempt,
            state=item.state,
            labels=item.labels,
            annotations=item.annotations,
            resources=resources,
            requirements=self._requirements(pod, item.name, with_bound(resources, len(cpus))),
            found_on=cpus,
            claims=await self.intake.claims(item.name, environment),
        )
        self.containers.append(self.intake.override(container, pod))

    def _requirements(self, pod: Pod, name: str, resources: LinuxResources) -> Requirements:
        try:
            return self.intake.requirements(pod, name, resources)
        except RefusedError as error:  # it already runs, so it can no longer be refused
            log.warning("ignoring an invalid annotation of a running container", container=name, reason=str(error))
            return Requirements()

    async def _has(self, container: ContainerId) -> Given | None:
        """Return a container's resources, the CPUs to which it is bound, and its environment; None if it is gone."""
        request = container_question(container)
        try:
            return await ask(self.runtime, "ContainerStatus", request, _given_in, timeout_s=STATUS_TIMEOUT_S)
        except RpcError as error:
            return None if error.status is Status.NOT_FOUND else (LinuxResources(), NO_CPUS, {})


def _given_in(status: bytes) -> Given:
    told, info = status_resources(status), verbose_info(status).get("info", "")
    resources = spec_resources(info) if told is None else told
    return resources, _cpus(status_cpus(status)) or spec_cpus(info), spec_environment(info)


def with_details(pod: Pod, info: str) -> Pod:
    """Return *pod* with the details of its verbose *info*."""
    linux = _at(_tree(info), "config", "linux")
    return attrs.evolve(
        with_cgroup_parent(pod, cgroup_parent(info)),
        overhead=_given(_at(linux, "overhead")),
        resources=_given(_at(linux, "resources")),
    )


def _given(values: Any) -> LinuxResources | None:
    if not isinstance(values, dict):
        return None
    names = ("cpu_shares", "cpu_quota", "cpu_period", "memory_limit_in_bytes", "oom_score_adj")
    return LinuxResources(*(_number(values, name) for name in names))


def cgroup_parent(info: str) -> str:
    """Read a pod's cgroup parent from the verbose info of containerd or CRI-O; empty if it is in neither form."""
    tree = _tree(info)
    containerd = _at(tree, "config", "linux", "cgroup_parent")
    crio = _at(tree, "runtimeSpec", "annotations", _CRIO_CGROUP_PARENT)
    return str(containerd or crio or "")


def spec_resources(info: str) -> LinuxResources:
    """Read a container's resources from its OCI spec in the verbose info; containerd before 1.7 has no other source."""
    resources = _at(_tree(info), "runtimeSpec", "linux", "resources")
    process = _at(_tree(info), "runtimeSpec", "process")
    return LinuxResources(
        cpu_shares=_number(resources, "cpu", "shares"),
        cpu_quota_us=_number(resources, "cpu", "quota"),
        cpu_period_us=_number(resources, "cpu", "period"),
        memory_limit_bytes=_number(resources, "memory", "limit"),
        oom_score_adj=_number(process, "oomScoreAdj"),
    )


def spec_cpus(info: str) -> CPUSet:
    """Read the CPUs that a container is bound to from its OCI spec in the verbose info."""
    return _cpus(_at(_tree(info), "runtimeSpec", "linux", "resources", "cpu", "cpus"))


def spec_environment(info: str) -> dict[str, str]:
    """Read the environment of a container's first process from its OCI spec in the verbose info."""
    listed = _at(_tree(info), "runtimeSpec", "process", "env")
    pairs = [one.partition("=") for one in listed if isinstance(one, str)] if isinstance(listed, list) else []
    return {name: value for name, _, value in pairs}


def _cpus(text: object) -> CPUSet:
    try:
        return CPUSet.parse(text) if isinstance(text, str) else NO_CPUS
    except ListFormatError:
        return NO_CPUS


def _tree(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return {}


def _at(tree: Any, *path: str) -> Any:
    for name in path:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree


def _number(tree: Any, *path: str) -> int:
    value = _at(tree, *path)
    return value if isinstance(value, int) else 0
