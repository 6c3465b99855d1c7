"""What a request means on this node: its pod's class and annotations, the machine's size, where its devices are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio

from crirm.daemon.placement.cpusets import Cpusets
from crirm.errors import OUR_FAULT
from crirm.logs import get_logger
from crirm.model.decision import RefusalReason, RefusedError
from crirm.model.events import ResizeRequested
from crirm.model.qos_estimate import classed
from crirm.model.resources import LinuxResources, Requirements, requirements
from crirm.model.resources_annotation import ANNOTATION, ResourcesAnnotationError, parse_annotation
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId, TopologyHint
from crirm.policy.annotations import Hints, topology_hints

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.cri.decode import ContainerRequest, Place
    from crirm.daemon.placement.engine import Engine
    from crirm.model.quantity import Bytes

    Overriding = Callable[[Container, Pod], Container]

log = get_logger("policy")

_NOBODY_KNOWS = "its mounts and devices do not tell where they are, but it is to be near them (topologyhints: strict)"
HINTS_WITHIN_S = 2.0  # a mount of a dead file server answers never; the container is placed without its hint then


def as_asked(container: Container, pod: Pod) -> Container:  # noqa: ARG001 - an `Overriding`
    """Return *container* as its pod asks for it."""
    return container


@attrs.define
class Intake:
    """Turns decoded requests into containers.

    Args:
        engine: knows the pods and containers.
        nursery: for what takes time.
        memory_capacity: the machine's whole memory.
        find_hints: looks up where a container's mounts and devices are; may block.
        doubt: called when it is not known what the runtime did; the lists will tell.
        override: returns a container as external adjustments want it.
        cpusets: told of the CPUs that requests ask for.
    """

    engine: Engine
    nursery: trio.Nursery
    memory_capacity: Bytes
    find_hints: Callable[[tuple[Place, ...]], tuple[TopologyHint, ...]]
    doubt: Callable[[], None]
    override: Overriding = as_asked
    cpusets: Cpusets = attrs.field(default=attrs.Factory(lambda self: Cpusets(self.engine), takes_self=True))
    _ids: dict[ContainerId, ContainerKey] = attrs.field(factory=dict, init=False)
    _longest: int = attrs.field(default=0, init=False)  # characters of an id
    _ids_of: object = attrs.field(default=None, init=False)
    _told_untold: bool = attrs.field(default=False, init=False)

    def pod_of(self, pod: PodId) -> PodId:
        """Return the whole id of a pod sandbox, which callers may shorten as runtimes allow; *pod* if it is unknown."""
        pods = self.engine.state.workload.pods
        matches = [pod] if pod in pods or not pod else [known for known in pods if known.startswith(pod)]
        return matches[0] if len(matches) == 1 else pod

    def key_of(self, container: ContainerId) -> ContainerKey | None:
        """Return crirm's name of a container; callers may shorten the id, as runtimes allow."""
        containers = self.engine.state.workload.containers
        if self._ids_of is not containers:
            self._ids = {c.id: c.key for c in containers.values() if c.id is not None}
            self._longest = max(map(len, self._ids), default=0)
            self._ids_of = containers
        if container in self._ids or not container or len(container) >= self._longest:  # a whole one begins no other
            return self._ids.get(container)
        matches = [key for known, key in self._ids.items() if known.startswith(container)]
        return matches[0] if len(matches) == 1 else None

    def prepare(self, asked: ContainerRequest, then: Callable[[Container | RefusedError], None]) -> None:
        """Work out the container that *asked* is about; call *then* with it or with why it cannot be, now or soon."""
        pod = self.engine.state.workload.pods[asked.pod]

        def decide(known: Container | RefusedError) -> None:  # with the adjustments that are in force by then
            if isinstance(known, RefusedError):
                self.engine.refuse(asked.pod, asked.name, known)
                then(known)
            else:
                then(self.override(known, pod))
                self.cpusets.note(known.key, str(asked.cpus), str(asked.mems), creating=True)

        try:
            container = self._container(asked, pod)
            heeded = topology_hints(pod, asked.name)
        except RefusedError as refusal:
            decide(refusal)
            return
        if asked.places and heeded is not Hints.IGNORED:
            self.nursery.start_soon(self._with_hints, container, asked.places, decide, heeded is Hints.STRICT)
        else:
            decide(container)

    def _container(self, asked: ContainerRequest, pod: Pod) -> Container:
        return Container(
            key=self.engine.new_key(),
            pod=asked.pod,
            name=asked.name,
            attempt=asked.attempt,
            state=ContainerState.CREATING,
            resources=asked.resources,
            requirements=self.requirements(pod, asked.name, asked.resources),
            labels=asked.labels,
            annotations=asked.annotations,
        )

    def requirements(self, pod: Pod, name: str, resources: LinuxResources) -> Requirements:
        """Return what container *name* of *pod* requests and is limited to.

        Raises:
            RefusedError: the pod's annotation is malformed.
        """
        if not pod.qos_told:
            pod = classed(pod, resources)
            self._tell_untold(pod)
        text = pod.annotations.get(ANNOTATION)
        try:
            annotated = parse_annotation(text, name) if text else None
        except ResourcesAnnotationError as error:
            where = f"pod {pod.namespace}/{pod.name}, annotation {ANNOTATION}"
            raise RefusedError(RefusalReason.BAD_REQUEST, f"{where}: {error}") from error
        return requirements(resources, pod.qos, self.memory_capacity, annotated)

    def _tell_untold(self, pod: Pod) -> None:
        """Say once that pods come without a class, whatever their number."""
        if not self._told_untold:
            self._told_untold = True
            log.warning(
                "a pod's cgroup parent does not tell its QoS class, so the class is worked out from what its containers"
                " ask for; so are those of other pods; set cgroupsPerQOS: true in the kubelet's configuration",
                pod=f"{pod.namespace}/{pod.name}", cgroup_parent=pod.cgroup_parent, qos=pod.qos.value,
            )  # fmt: skip

    async def _with_hints(
        self,
        container: Container,
        places: tuple[Place, ...],
        then: Callable[[Container | RefusedError], None],
        strict: bool,
    ) -> None:
        hints = await self._hints(container.name, places)
        try:
            if hints is None and strict:
                then(RefusedError(RefusalReason.NO_ROOM, f"{container.name}: {_NOBODY_KNOWS}"))
            else:
                then(attrs.evolve(container, hints=hints or ()))
        except Exception:
            log.exception("a request could not be decided about", container=container.name)
            then(RefusedError(RefusalReason.FAULT, OUR_FAULT))

    async def _hints(self, name: str, places: tuple[Place, ...]) -> tuple[TopologyHint, ...] | None:
        """Return what is known of *places*; None where that could not be found out."""
        try:
            with trio.move_on_after(HINTS_WITHIN_S):
                return await trio.to_thread.run_sync(self.find_hints, places, abandon_on_cancel=True)
            log.warning("no topology hints: mounts and devices do not answer", container=name)
        except Exception:  # a hint is never worth the daemon
            log.exception("topology hints could not be looked up", container=name)
        return None

    def resize(self, key: ContainerKey, asked: LinuxResources) -> ResizeRequested:
        """Return the event of the kubelet's update; what it leaves out (0) stays as it is."""
        container = self.engine.state.workload.containers[key]
        pod = self.engine.state.workload.pod_of(container)
        values = attrs.asdict(container.resources)
        values.update({name: value for name, value in attrs.asdict(asked).items() if value})
        merged = LinuxResources(**values)
        resized = attrs.evolve(container, requirements=self.requirements(pod, container.name, merged))
        return ResizeRequested(key, merged, self.override(resized, pod).requirements)
