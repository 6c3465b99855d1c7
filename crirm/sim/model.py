"""The state of the embedded runtime and all its transitions; without sockets and tasks, and with time as an argument.

Rules of this file: a method either does all of its step or raises and does nothing; every change that affects answers
ends in `Model.changed`; waiting (for a process that ignores the stop signal, for a command that sleeps) is left
to the caller.
"""

from __future__ import annotations

import heapq
import itertools
import secrets
from typing import TYPE_CHECKING, assert_never

import betterproto
from grpclib import GRPCError
from grpclib.const import Status

from crirm.cri.proto.runtime.v1 import (
    ContainerEventResponse,
    CreateContainerRequest,
    LinuxContainerResources,
)
from crirm.sim.console import Console, NoConsole
from crirm.sim.containers import Record, container_name, container_status, log_path
from crirm.sim.events import Events
from crirm.sim.images import Images
from crirm.sim.index import Index, quoted
from crirm.sim.pods import Pod, on_host_network, pod_name, pod_status
from crirm.sim.programs import KILLED_CODE, find_program, missing_program, run_for_ever
from crirm.sim.resources import merge_resources
from crirm.sim.shell import Say, Sleep
from crirm.sim.states import CREATED, CREATED_EVENT, DELETED_EVENT, EXITED, RUNNING, STARTED_EVENT, STOPPED_EVENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from crirm.cri.proto.runtime.v1 import ContainerEventType, ContainerStatus, PodSandboxConfig
    from crirm.sim.images import StoredImage

RUNTIME_HANDLERS = ("", "runc")
START_ERROR_CODE = 128
"""Exit code of a container that could not be started, as in containerd."""
FIRST_PID = 1000


class Model:
    """Pods, containers and images of one node."""

    def __init__(
        self,
        clock: Callable[[], int],
        new_id: Callable[[], str] = lambda: secrets.token_hex(32),
        console: Console | None = None,
    ) -> None:
        self.clock = clock
        self.pods: Index[Pod] = Index()
        self.containers: Index[Record] = Index()
        self.images = Images()
        self.events = Events()
        self.version = 0
        self.is_quiet = False  # whether to send no events
        self.on_wakeup: Callable[[], None] = lambda: None
        self._new_id = new_id
        self.console = console or NoConsole()
        self._serial = itertools.count(FIRST_PID)
        self._wakeups: list[tuple[int, int, Record]] = []

    def changed(self, *records: Record) -> None:
        """Invalidate cached answers, and the cached status of *records*."""
        self.version += 1
        for record in records:
            record.known_status = None

    def pull_image(self, name: str) -> StoredImage:
        """Register an image; ValueError if *name* is no image reference."""
        image = self.images.pull(name)
        self.changed()
        return image

    def remove_image(self, name: str) -> None:
        """Remove an image with all its tags; none is no error."""
        if self.images.remove(name):
            self.changed(*self.containers)

    # Pod sandboxes

    def run_pod(self, config: PodSandboxConfig, runtime_handler: str) -> Pod:
        """Make a pod sandbox and start it."""
        if not betterproto.serialized_on_wire(config.metadata):
            raise GRPCError(Status.UNKNOWN, "sandbox config must include metadata")
        name = pod_name(config.metadata)
        self.pods.refuse_taken(name, f"failed to reserve sandbox name {quoted(name)}")
        identity = self._new_id()
        if runtime_handler not in RUNTIME_HANDLERS:
            reason = f"no runtime for {quoted(runtime_handler)} is configured"
            raise GRPCError(Status.UNKNOWN, f"unable to get OCI runtime for sandbox {quoted(identity)}: {reason}")
        serial = next(self._serial)
        ip = "" if on_host_network(config) else f"10.88.{serial // 250 % 250}.{serial % 250 + 2}"
        pod = Pod(identity, config, runtime_handler, self.clock(), ip, serial)
        self.pods.add(identity, name, pod)
        self._tell(identity, pod, CREATED_EVENT)
        self._tell(identity, pod, STARTED_EVENT)
        return pod

    def stop_pod(self, prefix: str) -> None:
        """Kill the containers of a pod sandbox, then stop it; neither one that is stopped nor none is an error."""
        pod = self.pods.find(prefix, f"an error occurred when try to find sandbox {quoted(prefix)}")
        if pod is None:
            return
        for record in self.containers_of(pod):
            self.kill(record)
        if pod.is_ready:
            pod.is_ready = False
            self._tell(pod.id, pod, STOPPED_EVENT)

    def remove_pod(self, prefix: str) -> None:
        """Stop a pod sandbox and remove it with its containers; none is no error."""
        pod = self.pods.find(prefix, f"an error occurred when try to find sandbox {quoted(prefix)}")
        if pod is None:
            return
        self.stop_pod(pod.id)
        for record in self.containers_of(pod):
            self.remove_container(record.id)
        self.pods.remove(pod.id)
        self._tell(pod.id, pod, DELETED_EVENT)

    def update_pod(self, prefix: str, overhead: LinuxContainerResources, resources: LinuxContainerResources) -> None:
        """Note the resources of a whole pod; a message without content changes nothing."""
        pod = self.pods.get(prefix, "failed to find sandbox")
        if betterproto.serialized_on_wire(overhead):
            pod.overhead = overhead
        if betterproto.serialized_on_wire(resources):
            pod.resources = resources
        self.changed()

    def containers_of(self, pod: Pod) -> list[Record]:
        """Return the containers of *pod*, oldest first."""
        return [self.containers[identity] for identity in pod.container_ids]

    # Containers

    def create_container(self, request: CreateContainerRequest) -> Record:
        """Make a container in a ready pod sandbox, of an existing image."""
        config, prefix = request.config, request.pod_sandbox_id
        pod = self.pods.get(prefix, f"failed to find sandbox id {quoted(prefix)}")
        if not pod.is_ready:
            reason = f"no running task found: task {pod.id} not found: not found"
            raise GRPCError(Status.NOT_FOUND, f"failed to get sandbox container task: {reason}")
        if not betterproto.serialized_on_wire(config.metadata):
            raise GRPCError(Status.UNKNOWN, "container config must include metadata")
        if not betterproto.serialized_on_wire(request.sandbox_config.metadata):
            raise GRPCError(Status.UNKNOWN, "pod sandbox config must include metadata")
        name = container_name(config.metadata, request.sandbox_config.metadata)
        self.containers.refuse_taken(
            name,
            f"failed to reserve container name {quoted(name)}; check if another CreateContainer request is in progress",
        )
        image = self.images.get(config.image.image, f"failed to resolve image {quoted(config.image.image)}")
        record = Record(
            id=self._new_id(),
            pod_id=pod.id,
            config=config,
            image_id=image.id,
            log_path=log_path(request.sandbox_config, config),
            created_ns=self.clock(),
            resources=merge_resources(LinuxContainerResources(), config.linux.resources),
            argv=(*(config.command or (() if config.args else image.command)), *config.args),
        )
        self.containers.add(record.id, name, record)
        pod.container_ids.append(record.id)
        self._tell(record.id, pod, CREATED_EVENT)
        return record

    def start_container(self, prefix: str) -> None:
        """Start a container that was created and never started."""
        record = self.containers.get(prefix, f"an error occurred when try to find container {quoted(prefix)}")
        if record.state != CREATED:
            reason = f"container is in {state_name(record)} state"
            raise GRPCError(Status.UNKNOWN, f"failed to set starting state for container {quoted(record.id)}: {reason}")
        pod = self.pods[record.pod_id]
        try:
            self._prepare_start(record, pod)
        except GRPCError as fault:
            record.finished_ns = self.clock()
            self._end(record, START_ERROR_CODE, "StartError", fault.message or "")
            raise
        record.state, record.started_ns, record.pid = RUNNING, self.clock(), next(self._serial)
        self.changed(record)
        self._tell(record.id, pod, STARTED_EVENT)
        self._advance(record, record.started_ns)

    def _prepare_start(self, record: Record, pod: Pod) -> None:
        if not pod.is_ready:
            raise GRPCError(Status.UNKNOWN, f"sandbox container {quoted(pod.id)} is not running")
        during = "failed to create containerd task: "
        self._open_log(record, during)
        program = find_program(record.argv, has_stdin=record.config.stdin)
        if program is None and record.argv and self._has_only_known_programs(record):
            reason = f"unable to start container process: {missing_program(record.argv[0])}"
            runtime = "failed to create shim task: OCI runtime create failed: runc create failed: "
            raise GRPCError(Status.UNKNOWN, during + runtime + reason)
        record.program = program or run_for_ever()

    def _has_only_known_programs(self, record: Record) -> bool:
        image = self.images.find(record.image_id)
        return image is not None and image.is_busybox

    def ask_to_stop(self, record: Record) -> None:
        """Send the stop signal, once, to a running container, which may ignore it."""
        if record.is_running and not record.asked_to_stop:
            record.asked_to_stop = True
            code = record.program.code_when_asked(is_init=record.is_init)
            if code is not None:
                self._exit(record, code, self.clock())

    def kill(self, record: Record) -> None:
        """End a container at once; one that does not run is no error."""
        if record.is_running:
            self._exit(record, KILLED_CODE, self.clock())

    def remove_container(self, prefix: str) -> None:
        """Kill and remove a container; none is no error."""
        record = self.containers.find(prefix, f"an error occurred when try to find container {quoted(prefix)}")
        if record is None:
            return
        self.kill(record)
        self.containers.remove(record.id)
        pod = self.pods[record.pod_id]
        pod.container_ids.remove(record.id)
        self._tell(record.id, pod, DELETED_EVENT)

    def update_container(self, prefix: str, update: LinuxContainerResources) -> None:
        """Change the resources of a container, in whatever state it is."""
        record = self.containers.get(prefix, "failed to find container")
        record.resources = merge_resources(record.resources, update)
        self.changed(record)

    def reopen_log(self, prefix: str) -> None:
        """Reopen the log file."""
        record = self.containers.get(prefix, f"an error occurred when try to find container {quoted(prefix)}")
        if not record.is_running:
            raise GRPCError(Status.UNKNOWN, "container is not running")
        self._open_log(record, "")

    def status_of(self, record: Record) -> ContainerStatus:
        """Return *record* as in ContainerStatus and events."""
        if record.known_status is None:
            record.known_status = container_status(record, self.images.find(record.image_id))
        return record.known_status

    # Time

    def next_wakeup_ns(self) -> int | None:
        """Return when `tick` has work again, or None."""
        return self._wakeups[0][0] if self._wakeups else None

    def tick(self) -> None:
        """Continue every process that is due."""
        now = self.clock()
        while self._wakeups and self._wakeups[0][0] <= now:
            due_ns, _, record = heapq.heappop(self._wakeups)
            if record.is_running:
                self._advance(record, due_ns)

    def _advance(self, record: Record, now_ns: int) -> None:
        """Run the process of *record*, which takes no time, until it sleeps or ends."""
        while True:
            try:
                step = next(record.program.steps)
            except StopIteration as end:
                self._exit(record, end.value, now_ns)
                return
            match step:
                case Say():
                    self.console.write(record.log_path, step.data, now_ns, is_error=step.is_error)
                case Sleep():
                    self._sleep(record, now_ns, step.seconds)
                    return
                case _:
                    assert_never(step)

    def _sleep(self, record: Record, now_ns: int, seconds: float) -> None:
        if seconds != float("inf"):
            due_ns = now_ns + int(seconds * 10**9)
            heapq.heappush(self._wakeups, (due_ns, next(self._serial), record))
            self.on_wakeup()

    def _exit(self, record: Record, code: int, now_ns: int) -> None:
        self.console.close(record.log_path)
        record.finished_ns = now_ns
        self._end(record, code, "Completed" if code == 0 else "Error", "")

    def _end(self, record: Record, code: int, reason: str, message: str) -> None:
        record.state, record.exit_code = EXITED, code
        record.reason, record.message, record.pid = reason, message, 0
        self.changed(record)
        self._tell(record.id, self.pods[record.pod_id], STOPPED_EVENT)
        for notify in record.on_exit:
            notify()
        record.on_exit.clear()

    def _open_log(self, record: Record, during: str) -> None:
        try:
            self.console.open(record.log_path)
        except OSError as fault:
            reason = f"failed to create and open log file: open {record.log_path}: {(fault.strerror or '').lower()}"
            raise GRPCError(Status.UNKNOWN, f"{during}failed to create container loggers: {reason}") from fault

    def _tell(self, identity: str, pod: Pod, kind: ContainerEventType) -> None:
        self.changed()
        if self.is_quiet:
            return
        event = ContainerEventResponse(
            container_id=identity,
            container_event_type=kind,
            created_at=self.clock(),
            pod_sandbox_status=pod_status(pod),
            containers_statuses=[self.status_of(record) for record in self.containers_of(pod)],
        )
        self.events.publish(event)


def state_name(record: Record) -> str:
    """Return the state of *record* as messages name it."""
    return record.state.name or ""
