"""A deciding node without a runtime: the engine over a policy that can be seen through, and requests to feed it."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
import trio
import trio.testing
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.daemon.observation.looking import Looking
from crirm.daemon.observation.meeting import Meeting
from crirm.daemon.observation.observing import Observing
from crirm.daemon.placement.answers import refuse, unsaved
from crirm.daemon.placement.engine import Engine
from crirm.daemon.placement.handlers import handler
from crirm.daemon.placement.intake import Intake
from crirm.daemon.placement.observers import observer
from crirm.model.quantity import Bytes
from crirm.rpc.calls import Answer, CallRefusedError
from crirm.rpc.grpc_wire import RpcError
from crirm.rpc.tap import Latency, Outcome
from tests.unit.policy.counting import Counting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator

    import betterproto

    from crirm.cri.decode import Place
    from crirm.model.workload import ContainerKey, ContainerState, TopologyHint
    from crirm.rpc.calls import Handler
    from crirm.rpc.tap import CallTap


ID = "c" * 64


class _InFlight:
    """What a call that is played by hand waits for: its answer, which is sent in."""

    def __await__(self) -> Generator[None, Answer, Answer]:
        return (yield)


@attrs.define(eq=False)
class FakeCall:
    """A held call, and what has become of it; see ``rpc.calls.HeldCall``.

    Args:
        message: the request.
        coroutine: of the handler, while it is played by hand.
    """

    message: bytes
    forwarded: bytes | None = None
    refused: tuple[Status, str] | None = None
    shown: bytes | None = None
    decided: trio.Event = attrs.field(factory=trio.Event)
    coroutine: Any = None
    tap: CallTap | None = None
    _answer: Answer | None = None
    _answered: trio.Event = attrs.field(factory=trio.Event)
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def forward(self, message: bytes) -> Answer:
        assert self.forwarded is None
        assert self.refused is None
        if self.coroutine is None:
            await trio.lowlevel.checkpoint_if_cancelled()
        self.forwarded = message
        self.decided.set()
        if self.coroutine is not None:
            return await _InFlight()
        await self._answered.wait()
        assert self._answer is not None
        return self._answer

    async def run(self, handler: Handler) -> None:
        """Be handled, as a Trio task."""
        with self._scope:
            await self._note(handler(self))

    async def _note(self, handling: Awaitable[bytes | None]) -> None:
        try:
            self.shown = await handling
        except CallRefusedError as refusal:
            self.refused = (refusal.status, refusal.message)
            self.decided.set()

    def play(self, handler: Handler) -> None:
        """Be handled at once, up to the answer: nothing has to be waited for."""
        self.coroutine = self._note(handler(self))
        self._send(None)
        assert self.decided.is_set(), "the call waits"

    def _send(self, value: Answer | None) -> None:
        with contextlib.suppress(StopIteration):
            self.coroutine.send(value)

    def answer(self, answer: Answer) -> None:
        """Have the runtime answer a call that is played."""
        if self.tap is None:
            self._send(answer)
            return
        if answer.message is not None:
            self.tap.reply(answer.message)
        self.tap.close(Outcome(answer.status, "", Latency(0.0, 0.0, 0.0), answer.certain))

    async def reply(self, answer: Answer) -> None:
        """Have the runtime answer a call that is a task."""
        self._answer = answer
        self._answered.set()
        await trio.testing.wait_all_tasks_blocked()

    async def leave(self) -> None:
        """Have the caller of a call that is a task give up; once forwarded, nobody hears of it."""
        if self.forwarded is None:
            self._scope.cancel()
        await trio.testing.wait_all_tasks_blocked()


class FakeNode:
    """What handlers and observers need, with a clock that stands still."""

    def __init__(self, nursery: trio.Nursery, hints: tuple[TopologyHint, ...] = (), cpus: int = 8) -> None:
        self.nursery = nursery
        self.engine = Engine(Counting(cpus), clock=lambda: 1000.0)
        self.doubts = 0
        self.keeps: list[trio.Event] | None = None
        self.unkept = self.given_up = ""
        self.hints = hints
        self.asked_about: list[Place] = []
        self.found = trio.Event()
        self.runtime = FakeRuntime()
        self.clears: list[trio.Event] | None = None
        self.starts: list[str] = []
        self.intake = Intake(self.engine, Bytes(64 << 30), self._find, self._doubt)
        self.observing = Observing(self.engine, self.intake)
        self.watched: Counter[str] = Counter()
        self.looking = Looking(self.runtime, self.observing, nursery)
        self.meeting = Meeting(self.runtime, self.engine, self.intake)
        self.look, self.meet, self.observed = self.looking.look, self.meeting.meet, self.observing.observed

    def _find(self, places: tuple[Place, ...]) -> tuple[TopologyHint, ...]:
        self.asked_about += places
        trio.from_thread.run_sync(self.found.set)
        return self.hints

    @property
    def settled(self) -> bool:
        return self.clears is None

    async def kept(self) -> None:
        if self.keeps is not None:
            self.keeps.append(trio.Event())
            await self.keeps[-1].wait()
        if self.given_up:
            refuse(unsaved(self.given_up))

    def keep(self, why_not: str = "") -> None:
        """Have all that waits for the disk go on, or be refused."""
        self.given_up = why_not
        for waiting in self.keeps or ():
            waiting.set()

    def may_have_ended(self) -> bool:
        return bool(self.observing.alive())

    async def clear(self, key: ContainerKey) -> None:
        self.starts.append(f"may {key} go on?")
        if self.clears is not None:
            self.clears.append(trio.Event())
            await self.clears[-1].wait()

    def begin_resize(self, key: ContainerKey) -> None:
        self.starts.append(f"{key} is resized")

    def begin_start(self, key: ContainerKey) -> None:
        self.starts.append(f"{key} starts")

    def started(self, key: ContainerKey) -> None:
        self.starts.append(f"{key} was started")

    def handler(self, method: str) -> Handler | None:
        return handler(self, method)

    def observer(self, method: str) -> CallTap | None:
        return observer(self, method)

    def _doubt(self) -> None:
        self.doubts += 1

    def call(
        self, method: str, request: betterproto.Message | bytes, answer: Answer | None = None
    ) -> tuple[FakeCall, bytes | None]:
        """Play a call that has nothing to wait for, and its answer."""
        call, handle = FakeCall(bytes(request)), self.handler(method)
        if handle is not None:
            call.play(handle)
        else:
            call.tap, call.forwarded = self.observer(method), call.message
            assert call.tap is not None
            call.tap.request(call.message)
        if answer is not None and call.forwarded is not None:
            call.answer(answer)
        return call, call.shown

    async def begin(self, method: str, request: betterproto.Message | bytes) -> FakeCall:
        """Begin a call that may have to wait, and go on once it does, or was forwarded."""
        call, handle = FakeCall(bytes(request)), self.handler(method)
        assert handle is not None
        self.nursery.start_soon(call.run, handle)
        await trio.testing.wait_all_tasks_blocked()
        return call


def good(message: betterproto.Message) -> Answer:
    return Answer(0, bytes(message))


CREATED = good(v1.CreateContainerResponse(container_id=ID))


def pod_request(uid: str = "u1", annotations: dict[str, str] | None = None) -> v1.RunPodSandboxRequest:
    return v1.RunPodSandboxRequest(
        config=v1.PodSandboxConfig(
            metadata=v1.PodSandboxMetadata(name="web", uid=uid, namespace="shop"),
            annotations=annotations or {},
            linux=v1.LinuxPodSandboxConfig(cgroup_parent=f"/kubepods/pod{uid}"),
        )
    )


def create_request(
    name: str = "c", cpus: int = 2, pod: str = "p1", mounts: tuple[str, ...] = ()
) -> v1.CreateContainerRequest:
    resources = v1.LinuxContainerResources(cpu_shares=cpus * 1024, memory_limit_in_bytes=1 << 30)
    return v1.CreateContainerRequest(
        pod_sandbox_id=pod,
        config=v1.ContainerConfig(
            metadata=v1.ContainerMetadata(name=name),
            mounts=[v1.Mount(container_path=path, host_path=path) for path in mounts],
            linux=v1.LinuxContainerConfig(resources=resources),
        ),
    )


class FakeRuntime:
    """Answers unary calls from a table, by method; values may be statuses to fail with."""

    connected = True

    def __init__(self, answers: dict[str, betterproto.Message | Status] | None = None) -> None:
        self.answers = answers or {}
        self.calls: list[tuple[str, bytes]] = []
        self.answering = trio.Event()  # calls wait for it; replaced by a new one, they wait
        self.answering.set()

    async def call(self, method: str, message: bytes, *, timeout_s: float) -> bytes:
        assert timeout_s > 0
        self.calls.append((method, message))
        await self.answering.wait()
        answer = self.answers.get(method, Status.UNIMPLEMENTED)
        if isinstance(answer, Status):
            raise RpcError(answer, "as told")
        return bytes(answer)


def with_pod(nursery: trio.Nursery, annotations: dict[str, str] | None = None, **more: object) -> FakeNode:
    node = FakeNode(nursery, **more)  # type: ignore[arg-type]
    node.call(
        "RunPodSandbox", pod_request(annotations=annotations), good(v1.RunPodSandboxResponse(pod_sandbox_id="p1"))
    )
    return node


def with_container(nursery: trio.Nursery) -> FakeNode:
    node = with_pod(nursery)
    node.call("CreateContainer", create_request(), good(v1.CreateContainerResponse(container_id=ID)))
    return node


def states(node: FakeNode) -> list[ContainerState]:
    return [c.state for c in node.engine.state.workload.containers.values()]


def granted(node: FakeNode) -> list[str]:
    return [str(cpus) for cpus in node.engine.state.policy.values()]


def update(cpus: int) -> v1.UpdateContainerResourcesRequest:
    return v1.UpdateContainerResourcesRequest(
        container_id=ID, linux=v1.LinuxContainerResources(cpu_shares=cpus * 1024), annotations={"keep": "me"}
    )
