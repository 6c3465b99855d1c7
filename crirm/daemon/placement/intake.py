"""Requests on this node: the pod and container they are about, and the facts for their admission."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import attrs
import trio

from crirm.admission.admission import Admission, Facts, admitted, as_asked
from crirm.admission.steps import pod_named, required
from crirm.daemon.placement.cpusets import Cpusets
from crirm.errors import CrirmError
from crirm.logs import get_logger
from crirm.model.claims import CLAIM, DEVICE, VARIABLE, ClaimError, claim_of
from crirm.model.qos_estimate import classed
from crirm.model.refusal import RefusedError
from crirm.model.workload import ContainerId, ContainerKey, PodId

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from crirm.admission.admission import Overriding
    from crirm.cri import slice as cri
    from crirm.cri.decode import Place
    from crirm.daemon.placement.engine import Engine
    from crirm.model.claims import CPUClaim
    from crirm.model.quantity import Bytes
    from crirm.model.resources import LinuxResources, Requirements
    from crirm.model.workload import Pod, TopologyHint

    Hints = tuple[TopologyHint, ...]

log = get_logger("policy")

NO_VARIABLES: Mapping[str, tuple[str, ...]] = MappingProxyType({})
NOBODY = ContainerKey("")  # is given nothing
HINTS_WITHIN_S = 2.0  # a mount of a dead file server never answers; the container is then placed without its hint
FINDERS = 8  # threads that look for hints; one that gets no answer is never free again, and others need threads too


def _no_files(devices: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:  # noqa: ARG001 - a default
    return {}


@attrs.define
class Intake:
    """Turns requests into admissions.

    Args:
        engine: knows the pods and containers.
        memory_capacity: the machine's whole memory.
        find_hints: looks up the location of a container's mounts and devices; may block.
        doubt: called when the outcome at the runtime is unknown; the lists show it.
        override: returns a container with its override applied.
        find_variables: looks up which variables CDI devices set; may block.
        cpusets: notified of CPUs in requests.
    """

    engine: Engine
    memory_capacity: Bytes
    find_hints: Callable[[tuple[Place, ...]], tuple[TopologyHint, ...]]
    doubt: Callable[[], None]
    override: Overriding = as_asked
    find_variables: Callable[[tuple[str, ...]], Mapping[str, tuple[str, ...]]] = attrs.field(default=_no_files)
    ask_kubelet: Callable[[str, str, str], Awaitable[Hints]] | None = None
    """Returns where a container's devices are, by namespace, pod and name; None: the kubelet is not asked."""
    cpusets: Cpusets = attrs.field(default=attrs.Factory(lambda self: Cpusets(self.engine), takes_self=True))
    _finders: trio.CapacityLimiter = attrs.field(factory=lambda: trio.CapacityLimiter(FINDERS), init=False)
    _ids: dict[ContainerId, ContainerKey] = attrs.field(factory=dict, init=False)
    _longest: int = attrs.field(default=0, init=False)  # characters of an id
    _ids_of: object = attrs.field(default=None, init=False)
    _told_untold: bool = attrs.field(default=False, init=False)

    # --- ids -------------------------------------------------------------------------------------------------------

    def pod_of(self, pod: str) -> PodId:
        """Return the full id of a pod sandbox, which callers may shorten as runtimes allow; *pod* if it is unknown."""
        return pod_named(self.engine.state.workload, PodId(pod))

    def key_of(self, container: str) -> ContainerKey | None:
        """Return the key of a container; callers may shorten the id, as runtimes allow."""
        containers = self.engine.state.workload.containers
        if self._ids_of is not containers:
            self._ids = {c.id: c.key for c in containers.values() if c.id is not None}
            self._longest = max(map(len, self._ids), default=0)
            self._ids_of = containers
        if container in self._ids or not container or len(container) >= self._longest:  # a full id
            return self._ids.get(ContainerId(container))
        matches = [key for known, key in self._ids.items() if known.startswith(container)]
        return matches[0] if len(matches) == 1 else None

    # --- admissions ----------------------------------------------------------------------------------------------

    def creation(
        self,
        request: cri.CreateContainerRequest,
        hints: tuple[TopologyHint, ...] | None,
        cdi: Mapping[str, tuple[str, ...]] = NO_VARIABLES,
    ) -> Admission:
        """Return the admission of a creation in a known pod, in the current state; nothing changes.

        Args:
            request: of the kubelet.
            hints: as `hints` returned them.
            cdi: as `variables` returned them.

        Raises:
            RefusedError: by a step before the policy.
        """
        from crirm.admission.creation import CREATION  # noqa: PLC0415 - betterproto; see `node.first_needs`
        from crirm.cri.decode import resources  # noqa: PLC0415

        pod = self.pod_of(request.pod_sandbox_id)
        self._tell_untold(self.engine.state.workload.pods[pod], resources(request.config.linux.resources))
        try:
            return admitted(self._asked(request, self.engine.new_key(), hints, cdi), CREATION)
        except RefusedError as refusal:
            self.engine.refuse(pod, request.config.metadata.name, refusal)
            raise

    def resize(self, request: cri.UpdateContainerResourcesRequest, key: ContainerKey) -> Admission:
        """Return the admission of the kubelet's update of container *key*, in the current state; nothing changes.

        Raises:
            RefusedError: by a step before the policy.
        """
        from crirm.admission.resize import RESIZE  # noqa: PLC0415 - as above

        return admitted(self._asked(request, key, ()), RESIZE)

    def _asked(
        self,
        request: cri.CreateContainerRequest | cri.UpdateContainerResourcesRequest,
        key: ContainerKey,
        hints: tuple[TopologyHint, ...] | None,
        cdi: Mapping[str, tuple[str, ...]] = NO_VARIABLES,
    ) -> Admission:
        facts = Facts(key, self.memory_capacity, self.engine.decide, self.override, hints, cdi)
        return Admission(request, self.engine.state, facts)

    def requirements(self, pod: Pod, name: str, asked: LinuxResources) -> Requirements:
        """Return what container *name* of *pod* requests and is limited to.

        Raises:
            RefusedError: the pod's annotation is malformed.
        """
        self._tell_untold(pod, asked)
        return required(pod, name, asked, self.memory_capacity)

    def _tell_untold(self, pod: Pod, asked: LinuxResources) -> None:
        """Warn once about pods without a QoS class."""
        if not pod.qos_told and not self._told_untold:
            self._told_untold = True
            log.warning(
                "pod's cgroup parent does not show its QoS class; estimating the class of such pods from their "
                "containers' requests; set cgroupsPerQOS: true in the kubelet's configuration",
                pod=f"{pod.namespace}/{pod.name}", cgroup_parent=pod.cgroup_parent,
                qos=classed(pod, asked).qos.value,
            )  # fmt: skip

    # --- facts of the host -------------------------------------------------------------------------------------

    async def hints(self, request: cri.CreateContainerRequest) -> Hints | None:
        """Return the location of a container's mounts and devices, as far as it matters; None: unknown."""
        from crirm.admission.creation import hinting_places  # noqa: PLC0415 - as above
        from crirm.policy.annotations import Hints as Heeded  # noqa: PLC0415 - as above

        pod = self.engine.state.workload.pods.get(self.pod_of(request.pod_sandbox_id))
        if pod is None:
            return ()
        asked, name = self._asked(request, NOBODY, ()), request.config.metadata.name
        try:
            heeded, places = hinting_places(asked)
        except RefusedError:  # its admission reports this
            return ()
        found = await self._found(name, places) if places else ()
        if self.ask_kubelet is None or heeded is Heeded.IGNORED or found is None:
            return found
        told = await self._told(self.ask_kubelet, pod, name)
        if told is None:
            return None if heeded is Heeded.STRICT else found
        return (*found, *told)

    async def _told(self, ask: Callable[[str, str, str], Awaitable[Hints]], pod: Pod, name: str) -> Hints | None:
        try:
            return await ask(pod.namespace, pod.name, name)
        except CrirmError as error:
            log.warning(
                "no topology hints of the kubelet", pod=f"{pod.namespace}/{pod.name}", container=name, error=error
            )
        except Exception:  # a hint must never stop the daemon
            log.exception("could not ask the kubelet for topology hints", container=name)
        return None

    async def variables(self, request: cri.CreateContainerRequest) -> Mapping[str, tuple[str, ...]]:
        """Return the variables that the request's claims of CPUs set, by CDI device; those in no file are left out."""
        from crirm.admission.claims import devices_of  # noqa: PLC0415 - as above

        return await self._variables_of(request.config.metadata.name, devices_of(request))

    async def claims(self, name: str, environment: Mapping[str, str]) -> tuple[CPUClaim, ...]:
        """Return the claims of CPUs that a container runs with, which no request told.

        Its environment alone is no proof, since the author of its pod may have written it: only what a CDI file says
        as well counts.

        Args:
            name: of the container, for people.
            environment: of its first process.
        """
        devices = tuple(
            f"{DEVICE}{CLAIM}{key.removeprefix(VARIABLE)}" for key in environment if key.startswith(VARIABLE)
        )
        found = []
        for device, edits in sorted((await self._variables_of(name, devices)).items()):
            try:
                found.append(claim_of(device, edits, environment))
            except ClaimError as error:
                log.warning("ignoring a claim of CPUs of a running container", container=name, reason=str(error))
        return tuple(found)

    async def _variables_of(self, name: str, devices: tuple[str, ...]) -> Mapping[str, tuple[str, ...]]:
        if not devices:
            return NO_VARIABLES
        with trio.move_on_after(HINTS_WITHIN_S):
            return await trio.to_thread.run_sync(
                self.find_variables, devices, abandon_on_cancel=True, limiter=self._finders
            )
        log.warning("cannot tell claimed CPUs: reading CDI files timed out", container=name)
        return NO_VARIABLES

    async def _found(self, name: str, places: tuple[Place, ...]) -> tuple[TopologyHint, ...] | None:
        try:
            with trio.move_on_after(HINTS_WITHIN_S):
                return await trio.to_thread.run_sync(
                    self.find_hints, places, abandon_on_cancel=True, limiter=self._finders
                )
            log.warning("no topology hints: looking up mounts and devices timed out", container=name)
        except Exception:  # a hint must never stop the daemon
            log.exception("could not look up topology hints", container=name)
        return None
