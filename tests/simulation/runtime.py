"""The model runtime: pods, containers, and calls that take their time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio
from grpclib.const import Status

from crirm.cri.message import Message
from crirm.rpc.grpc_wire import RpcError
from tests.simulation import messages
from tests.simulation.habits import Events
from tests.simulation.messages import Resources

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from tests.simulation.habits import Habits
    from tests.simulation.host import Host
    from tests.simulation.loop import VirtualLoop
    from tests.simulation.port import Port, Stream

PANICS = 0.3  # of the times that somebody leaves
OFTEN, TAIL = 0.1, 8.0  # so many calls take so much longer
CREATED, RUNNING, EXITED = 0, 1, 2  # ContainerState
CREATED_EVENT, STARTED_EVENT, STOPPED_EVENT, DELETED_EVENT = range(4)  # ContainerEventType


@attrs.define
class Sandbox:
    """A pod sandbox."""

    id: str
    name: str
    uid: str
    namespace: str
    attempt: int
    annotations: Mapping[str, str]
    parent: str
    ready: bool = True


@attrs.define
class Box:
    """A container."""

    id: str
    pod: str
    name: str
    attempt: int
    resources: Resources
    made_with: Resources
    created_ns: int
    state: int = CREATED
    told: bool = True  # whether the caller got its id, as far as the runtime knows


@attrs.define(eq=False)
class ModelRuntime:
    """What answers behind crirm.

    Args:
        habits: of which runtime.
        host: where containers run.
        draw: returns a number between two others, from the seed.
        wall_ns: the time.
        started: told of each container whose process has just started, before anybody else.
        lifetime_s: how long a container runs by itself; None: until it is stopped.
        nursery: for calls.
        loop: keeps the time.
        panic: ends the process of the runtime, which is started again.
    """

    habits: Habits
    host: Host
    draw: Callable[[str, float, float], float]
    wall_ns: Callable[[], int]
    started: Callable[[Box], None]
    lifetime_s: Callable[[str, str, int], float | None]
    nursery: trio.Nursery
    loop: VirtualLoop
    panic: Callable[[], None]
    pods: dict[str, Sandbox] = attrs.field(factory=dict, init=False)
    boxes: dict[str, Box] = attrs.field(factory=dict, init=False)
    listeners: list[tuple[Port, Stream]] = attrs.field(factory=list, init=False)
    lists_take_s: float = attrs.field(default=0.0, init=False)
    updates_take_s: float = attrs.field(default=0.0, init=False)
    updates_fail: bool = attrs.field(default=False, init=False)
    events_lost: bool = attrs.field(default=False, init=False)
    _gone_listeners: int = attrs.field(default=0, init=False)  # that have still to notice
    _reserved: dict[tuple[str, str, int], trio.Event] = attrs.field(factory=dict, init=False)
    ended_s: float = attrs.field(default=0.0, init=False)  # when a process ended last
    _number: int = attrs.field(default=0, init=False)

    # --- small things --------------------------------------------------------------------------------------------

    def _new_id(self) -> str:
        self._number += 1
        return f"{self._number:08x}" * 8

    async def _work(self, method: str, least_s: float, most_s: float) -> None:
        await self.loop.pause(self._takes_s(method, least_s, most_s))

    def _takes_s(self, method: str, least_s: float, most_s: float) -> float:
        """Return how long a call takes: most of them as usual, and some a good deal longer."""
        tail = TAIL if self.draw(f"{method} tail", 0.0, 1.0) > 1.0 - OFTEN else 1.0
        return tail * self.draw(method, least_s, most_s)

    def running(self) -> list[Box]:
        """Return the containers whose processes run."""
        return [box for box in self.boxes.values() if box.state == RUNNING]

    def _box(self, ident: str) -> Box:
        if ident not in self.boxes:
            raise RpcError(Status.NOT_FOUND, f"container {ident[:12]} does not exist")
        return self.boxes[ident]

    def leave(self, stream: Stream) -> None:
        """Take note that whoever listened on *stream* does not any more."""
        stay = [one for one in self.listeners if one[1] is not stream]
        left, self.listeners = len(stay) < len(self.listeners), stay
        self._gone_listeners += left
        if left and self.habits.panics and self.draw("panic", 0.0, 1.0) < PANICS:
            self.loop.call_later(0.0, self.panic)

    def _tell(self, box: Box, kind: int) -> None:
        if self.events_lost or self.habits.events is Events.NOBODY:
            return
        if self.habits.events is Events.ONE:
            if self._gone_listeners:
                self._gone_listeners -= 1  # and takes this one along
                return
            self.listeners[:] = [*self.listeners[1:], *self.listeners[:1]]  # each takes its turn
        for port, stream in self.listeners if self.habits.events is Events.ALL else self.listeners[-1:]:
            port.push(stream, messages.event(box.id, kind))

    def end(self, box: Box) -> None:
        """End the container's process."""
        if box.state == RUNNING or (box.state == CREATED and self.habits.cgroup_at_create):
            self.host.cgroups.pop(box.id, None)
        if box.state != EXITED:
            box.state = EXITED
            self.ended_s = trio.current_time()
            self._tell(box, STOPPED_EVENT)

    def _remove(self, box: Box) -> None:
        self.end(box)
        del self.boxes[box.id]
        self._tell(box, DELETED_EVENT)

    def call(self, method: str) -> Callable[[bytes], Awaitable[bytes]] | None:
        """Return what answers *method*; None where nobody does."""
        handler: Callable[[bytes], Awaitable[bytes]] | None = getattr(self, f"on_{method}", None)
        return handler

    # --- pods ----------------------------------------------------------------------------------------------------

    async def on_Version(self, _request: bytes) -> bytes:
        return messages.version(self.habits.name, self.habits.version)

    async def on_RunPodSandbox(self, request: bytes) -> bytes:
        config = Message(request).message(1)
        metadata, notes = config.message(1), config.mapping(7)
        await self._work("RunPodSandbox", 0.05, 0.3)
        pod = Sandbox(
            self._new_id(), metadata.text(1), metadata.text(2), metadata.text(3), metadata.number(4), notes,
            config.message(8).text(1),
        )  # fmt: skip
        self.pods[pod.id] = pod
        return messages.text(1, pod.id)

    async def on_StopPodSandbox(self, request: bytes) -> bytes:
        pod = self.pods.get(Message(request).text(1))
        await self._work("StopPodSandbox", 0.02, 0.1)
        if pod is not None:
            pod.ready = False
            for box in [box for box in self.boxes.values() if box.pod == pod.id]:
                self.end(box)
        return b""

    async def on_RemovePodSandbox(self, request: bytes) -> bytes:
        await self._work("RemovePodSandbox", 0.01, 0.05)
        pod = self.pods.pop(Message(request).text(1), None)
        if pod is not None:
            for box in [box for box in self.boxes.values() if box.pod == pod.id]:
                self._remove(box)
        return b""

    async def on_PodSandboxStatus(self, request: bytes) -> bytes:
        pod = self.pods.get(Message(request).text(1))
        await self._work("PodSandboxStatus", 0.001, 0.003)
        if pod is None:
            raise RpcError(Status.NOT_FOUND, "pod does not exist")
        return messages.pod_status(pod.id, pod.parent, verbose=bool(Message(request).number(2)))

    async def on_ListPodSandbox(self, request: bytes) -> bytes:
        uid = Message(request).message(1).mapping(3).get(messages.UID_LABEL)
        items = b"".join(
            messages.pod_item(p.id, p.name, p.uid, p.namespace, p.attempt, p.ready, p.annotations)
            for p in self.pods.values()
            if uid in {None, p.uid}
        )
        await self.loop.pause(self.draw("List", 0.001, 0.003) + self.lists_take_s)
        return items

    # --- containers ----------------------------------------------------------------------------------------------

    async def on_CreateContainer(self, request: bytes) -> bytes:
        message = Message(request)
        metadata = message.message(2).message(1)
        name = message.text(1), metadata.text(1), metadata.number(2)
        pod = self.pods.get(name[0])
        if pod is None or not pod.ready:
            raise RpcError(Status.NOT_FOUND, f"sandbox {name[0][:12]} does not run")
        waited = name in self._reserved and self.habits.creation_goes_on
        if waited:
            await self._reserved[name].wait()
        there = next((box for box in self.boxes.values() if (box.pod, box.name, box.attempt) == name), None)
        if there is not None and (waited or (self.habits.creation_goes_on and not there.told)):
            return messages.text(1, there.id)
        if there is not None or name in self._reserved:
            raise RpcError(Status.UNKNOWN, f"name {name[1]}_{name[2]} is reserved")
        done = self._reserved[name] = trio.Event()
        try:
            await self._work("CreateContainer", 0.02, 0.08)
            box = self._made(name, _resources(message.message(2).message(15).message(1)))
        finally:
            del self._reserved[name]
            done.set()
        return messages.text(1, box.id)

    def _made(self, name: tuple[str, str, int], resources: Resources) -> Box:
        if name[0] not in self.pods:
            raise RpcError(Status.NOT_FOUND, f"sandbox {name[0][:12]} is gone")
        box = Box(self._new_id(), *name, resources, resources, self.wall_ns())
        self.boxes[box.id] = box
        if self.habits.cgroup_at_create:
            self.host.apply(box.id, resources)
        self._tell(box, CREATED_EVENT)
        return box

    async def on_StartContainer(self, request: bytes) -> bytes:
        box = self._box(Message(request).text(1))
        if box.state != CREATED:
            raise RpcError(Status.UNKNOWN, f"container {box.id[:12]} is not created but in state {box.state}")
        begun_with = box.made_with if self.habits.early_updates_lost else box.resources
        await self._work("StartContainer", 0.02, 0.1)
        if box.id not in self.boxes or box.state != CREATED:
            raise RpcError(Status.UNKNOWN, f"container {box.id[:12]} was ended meanwhile")
        box.state = RUNNING
        if not self.habits.cgroup_at_create:
            self.host.apply(box.id, begun_with)
        self.started(box)
        self._tell(box, STARTED_EVENT)
        pod = self.pods.get(box.pod)
        lifetime_s = self.lifetime_s(pod.uid, box.name, box.attempt) if pod else None
        if lifetime_s is not None:
            self.loop.call_later(lifetime_s, self.end, box)
        return b""

    async def on_StopContainer(self, request: bytes) -> bytes:
        box = self._box(Message(request).text(1))
        await self._work("StopContainer", 0.01, 0.2)
        self.end(box)
        return b""

    async def on_RemoveContainer(self, request: bytes) -> bytes:
        box = self.boxes.get(Message(request).text(1))
        await self._work("RemoveContainer", 0.01, 0.05)
        if box is not None and box.id in self.boxes:
            self._remove(box)
        return b""

    async def on_UpdateContainerResources(self, request: bytes) -> bytes:
        message = Message(request)
        box = self._box(message.text(1))
        await self.loop.pause(self._takes_s("UpdateContainerResources", 0.005, 0.03) + self.updates_take_s)
        if self.updates_fail:
            raise RpcError(Status.UNKNOWN, "failed to update resources: device or resource busy")
        if box.id not in self.boxes or box.state == EXITED:
            raise RpcError(Status.NOT_FOUND, f"container {box.id[:12]} has ended")
        said = _resources(message.message(2))
        box.resources = box.resources.updated(said)
        if box.id in self.host.cgroups:
            self.host.apply(box.id, said)
        return b""

    async def on_ContainerStatus(self, request: bytes) -> bytes:
        box = self._box(Message(request).text(1))
        verbose = bool(Message(request).number(2))
        await self._work("ContainerStatus", 0.001, 0.003)
        told = self.habits.tells_resources
        return messages.container_status(box.id, box.state, box.resources, told=told, verbose=verbose)

    async def on_ListContainers(self, request: bytes) -> bytes:
        uid = Message(request).message(1).mapping(4).get(messages.UID_LABEL)
        items = b"".join(
            messages.container_item(b.id, b.pod, b.name, b.attempt, b.state, b.created_ns)
            for b in self.boxes.values()
            if uid is None or (b.pod in self.pods and self.pods[b.pod].uid == uid)
        )
        await self.loop.pause(self.draw("List", 0.001, 0.003) + self.lists_take_s)
        return items


def _resources(message: Message) -> Resources:
    return Resources(
        message.number(1), message.number(2), message.number(3), message.number(4), message.text(6), message.text(7)
    )
