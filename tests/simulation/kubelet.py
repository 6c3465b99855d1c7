"""The model kubelet: one worker per pod that brings the runtime to what is wanted, and a PLEG that wakes it.

Source: kubernetes pkg/kubelet: a sync that fails is tried again after 10 s with up to half as much again
(``backOffPeriod``), containers that end are started again after 10 s, twice as much each time, up to 300 s
(``MaxContainerBackOff``); calls have 2 minutes, RunPodSandbox 4; the attempt of a container is one more than that of
the latest that the runtime lists; a second sandbox is made when no sandbox of the pod is ready.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio
from grpclib.const import Status

from crirm.cri.listed import listed_containers
from crirm.cri.message import MalformedError, Message
from crirm.model.workload import ContainerState
from crirm.rpc.grpc_wire import RpcError
from tests.simulation import messages
from tests.simulation.pods import resources_of, resources_of_pod

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crirm.cri.listed import Listed
    from crirm.model.workload import ContainerId
    from tests.simulation.caller import Caller
    from tests.simulation.pods import ContainerSpec, PodSpec

EVENTS_AGAIN_S = 5.0
RELIST_S = {False: 1.0, True: 300.0}
BACKOFF_S = (10.0, 300.0)


class NotYetError(Exception):
    """Something has to happen first."""


@attrs.define
class SandboxSeen:
    """A sandbox of a list."""

    id: str
    uid: str
    attempt: int
    ready: bool


@attrs.define(eq=False)
class Worker:
    """One pod of the kubelet."""

    spec: PodSpec
    deleted: bool = False
    gone: bool = False
    wake: trio.Event = attrs.field(factory=trio.Event)
    again_s: dict[str, tuple[float, float]] = attrs.field(factory=dict)  # not before, and the backoff, by container
    wanted: dict[str, int] = attrs.field(factory=dict)  # resized: millicpu by container
    given: dict[str, int] = attrs.field(factory=dict)  # what containers were made or resized with, by id


@attrs.define(eq=False)
class Kubelet:
    """The kubelet.

    Args:
        caller: of crirm.
        listener: likewise, for events.
        draw: returns a number between two others, from the seed.
        evented: whether it listens to events and lists rarely.
        nursery: for its workers.
        call_s: its ``runtimeRequestTimeout``.
        uncreated: told of the sandbox and the name of each container whose creation has failed.
    """

    caller: Caller
    listener: Caller
    draw: Callable[[str, float, float], float]
    evented: bool
    nursery: trio.Nursery
    call_s: float
    uncreated: Callable[[str, str], None]
    workers: dict[str, Worker] = attrs.field(factory=dict, init=False)
    lived: int = attrs.field(default=0, init=False)
    _sandboxes: set[tuple[str, str, int]] = attrs.field(factory=set, init=False)
    _states: Mapping[ContainerId, ContainerState] = attrs.field(factory=dict, init=False)

    def run_pod(self, spec: PodSpec) -> None:
        """Begin to run a pod."""
        worker = self.workers[spec.name] = Worker(spec, wanted={c.name: c.millicpu for c in spec.containers})
        self.nursery.start_soon(self._work, worker)

    def delete(self, name: str) -> None:
        """Have a pod ended and removed."""
        if name in self.workers:
            self.workers[name].deleted = True
            self.workers[name].wake.set()

    def resize(self, pod: str, container: str, millicpu: int) -> None:
        """Have a container of a running pod resized in place."""
        worker = self.workers.get(pod)
        if worker is not None and container in worker.wanted:
            worker.wanted[container] = millicpu
            worker.wake.set()

    async def run(self) -> None:
        """Watch the runtime, for ever."""
        if self.evented:
            self.nursery.start_soon(self._listen)
        while True:
            await trio.sleep(RELIST_S[self.evented])
            try:
                pods = Message(await self.caller.call("ListPodSandbox", b"", self.call_s)).messages(1)
                listed = listed_containers(await self.caller.call("ListContainers", b"", self.call_s))
            except (RpcError, MalformedError):
                continue
            states = {item.id: item.state for item in listed}
            changed: set[str] = {key for key, _ in states.items() ^ self._states.items()}
            self._states = states
            self._wake_pods_of(changed)
            self._wake_pods({(pod.text(1), pod.message(2).text(2), pod.number(3)) for pod in pods})

    async def _listen(self) -> None:
        while True:
            await self.listener.listen(lambda event: self._wake_pods_of({Message(event).text(1)}))
            await trio.sleep(EVENTS_AGAIN_S)

    def _wake_pods(self, sandboxes: set[tuple[str, str, int]]) -> None:
        """Wake the pods whose sandboxes are new, gone, or in another state."""
        for _, uid, _ in sandboxes ^ self._sandboxes:
            if uid in self.workers:
                self.workers[uid].wake.set()
        self._sandboxes = sandboxes

    def _wake_pods_of(self, containers: set[str]) -> None:
        for worker in self.workers.values():
            if not containers.isdisjoint(worker.given):
                worker.wake.set()

    # --- one pod -------------------------------------------------------------------------------------------------

    async def _work(self, worker: Worker) -> None:
        lifetime_s = worker.spec.lifetime_s
        ends_s = float("inf") if lifetime_s is None else trio.current_time() + lifetime_s
        while True:
            if trio.current_time() >= ends_s:
                worker.deleted = True
            worker.wake = trio.Event()
            pause_s = float("inf")
            try:
                await (self._end(worker) if worker.deleted else self._sync(worker))
            except NotYetError:
                pause_s = min((at_s for at_s, _ in worker.again_s.values()), default=float("inf"))
                pause_s = max(0.1, pause_s - trio.current_time())
            except (RpcError, MalformedError):
                pause_s = self.draw(f"backoff {worker.spec.name}", 10.0, 15.0)
            if worker.gone:
                break
            with trio.move_on_at(min(ends_s if not worker.deleted else 1e12, trio.current_time() + pause_s)):
                await worker.wake.wait()
            if worker.deleted and pause_s != float("inf"):
                await trio.sleep(min(pause_s, 1.0))
        del self.workers[worker.spec.name]
        self.lived += 1

    async def _look(self, worker: Worker) -> tuple[list[SandboxSeen], list[Listed]]:
        """Return the pod's sandboxes, the newest first, and their containers."""
        pods, uid = [], worker.spec.name
        answer = await self.caller.call("ListPodSandbox", messages.of_pod(3, uid), self.call_s)
        for item in Message(answer).messages(1):
            metadata = item.message(2)
            if metadata.text(2) == worker.spec.name and metadata.text(3) == worker.spec.namespace:
                pods.append(SandboxSeen(item.text(1), metadata.text(2), metadata.number(4), not item.number(3)))
        pods.sort(key=lambda pod: -pod.attempt)
        ours = {pod.id for pod in pods}
        listed = listed_containers(await self.caller.call("ListContainers", messages.of_pod(4, uid), self.call_s))
        return pods, [item for item in listed if item.pod in ours]

    async def _sync(self, worker: Worker) -> None:
        pods, listed = await self._look(worker)
        ready = next((pod for pod in pods if pod.ready), None)
        if ready is None:
            ready, listed = await self._new_sandbox(worker, pods, listed), []
        for spec in worker.spec.containers:
            mine = [item for item in listed if item.name == spec.name and item.pod == ready.id]
            await self._sync_container(worker, ready.id, spec, max(mine, key=lambda item: item.attempt, default=None))

    async def _new_sandbox(self, worker: Worker, pods: list[SandboxSeen], listed: list[Listed]) -> SandboxSeen:
        for item in listed:
            if item.state is ContainerState.RUNNING:
                await self._call_gone("StopContainer", item.id)
        for pod in pods:
            await self._call_gone("StopPodSandbox", pod.id)
        spec, attempt = worker.spec, max((pod.attempt for pod in pods), default=-1) + 1
        about = spec.name, spec.name, spec.namespace, attempt, spec.annotations, spec.parent
        request = messages.run_pod(*about, resources_of_pod(spec))
        answer = await self.caller.call("RunPodSandbox", request, 2 * self.call_s)
        return SandboxSeen(Message(answer).text(1), spec.name, attempt, ready=True)

    async def _sync_container(self, worker: Worker, pod: str, spec: ContainerSpec, last: Listed | None) -> None:
        if last is not None and last.state is ContainerState.RUNNING:
            await self._resize(worker, spec, last.id)
            if spec.kind == "init":
                raise NotYetError
            return
        if last is not None and last.state is ContainerState.EXITED:
            if spec.kind == "init" or (spec.kind == "main" and not worker.spec.restart):
                return
            self._check_backoff(worker, spec.name, ended=last.id)
        attempt = 0 if last is None else last.attempt + 1
        if last is not None and last.state is ContainerState.CREATED:
            await self._call_gone("StopContainer", last.id)
            await self._call_gone("RemoveContainer", last.id)
        await self._start(worker, pod, spec, attempt)
        if spec.kind == "init":
            raise NotYetError

    def _check_backoff(self, worker: Worker, name: str, ended: str) -> None:
        key = f"{name} {ended}"
        if key not in worker.again_s:
            before = max(
                (pause_s for known, (_, pause_s) in worker.again_s.items() if known.startswith(f"{name} ")),
                default=BACKOFF_S[0] / 2,
            )
            for known in [known for known in worker.again_s if known.startswith(f"{name} ")]:
                del worker.again_s[known]
            pause_s = min(before * 2, BACKOFF_S[1])
            worker.again_s[key] = (trio.current_time() + pause_s, pause_s)
        if worker.again_s[key][0] > trio.current_time():
            raise NotYetError
        worker.again_s[key] = (float("inf"), worker.again_s[key][1])

    async def _start(self, worker: Worker, pod: str, spec: ContainerSpec, attempt: int) -> None:
        millicpu = worker.wanted[spec.name]
        request = messages.create(pod, spec.name, attempt, resources_of(worker.spec, millicpu))
        try:
            container = Message(await self.caller.call("CreateContainer", request, self.call_s)).text(1)
        except (RpcError, MalformedError):
            self.uncreated(pod, spec.name)
            raise
        worker.given[container] = millicpu
        await self.caller.call("StartContainer", messages.by_id(container), self.call_s)
        await self.caller.call("ContainerStatus", messages.by_id(container), self.call_s)

    async def _resize(self, worker: Worker, spec: ContainerSpec, container: str) -> None:
        wanted = worker.wanted[spec.name]
        if worker.given.setdefault(container, wanted) != wanted:
            request = messages.update(container, resources_of(worker.spec, wanted))
            await self.caller.call("UpdateContainerResources", request, self.call_s)
            worker.given[container] = wanted

    async def _end(self, worker: Worker) -> None:
        pods, listed = await self._look(worker)
        for item in listed:
            if item.state is not ContainerState.EXITED:
                await self._call_gone("StopContainer", item.id)
        for pod in pods:
            await self._call_gone("StopPodSandbox", pod.id)
        for item in listed:
            await self._call_gone("RemoveContainer", item.id)
        for pod in pods:
            await self._call_gone("RemovePodSandbox", pod.id)
        worker.gone = True

    async def _call_gone(self, method: str, ident: str) -> None:
        """Make a call after which something is not there; that it was not there before is as good."""
        try:
            await self.caller.call(method, messages.by_id(ident), self.call_s)
        except RpcError as error:
            if error.status is not Status.NOT_FOUND:
                raise
