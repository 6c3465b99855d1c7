"""A deciding node without a runtime: the engine over a policy that can be seen through, and requests to feed it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import trio
from grpclib.const import Status

from crirm.cri.proto.runtime import v1
from crirm.daemon.observation.looking import Looking
from crirm.daemon.observation.meeting import Meeting
from crirm.daemon.observation.observing import Observing
from crirm.daemon.placement.engine import Engine
from crirm.daemon.placement.intake import Intake
from crirm.daemon.placement.participants import Create, RunPod
from crirm.model.quantity import Bytes
from crirm.rpc.grpc_wire import RpcError
from crirm.rpc.held import Answer
from tests.unit.policy.counting import Counting

if TYPE_CHECKING:
    from collections.abc import Callable

    import betterproto

    from crirm.cri.decode import Place
    from crirm.model.workload import ContainerKey, ContainerState, Pod, PodId, TopologyHint
    from crirm.rpc.held import Held, Interceptor


ID = "c" * 64


@attrs.define
class FakeHeld:
    """Keeps what an interceptor decides."""

    forwarded: bytes | None = None
    refused: tuple[Status, str] | None = None
    decided: trio.Event = attrs.field(factory=trio.Event)

    def forward(self, message: bytes) -> None:
        assert self.forwarded is None
        assert self.refused is None
        self.forwarded = message
        self.decided.set()

    def refuse(self, status: Status, message: str) -> None:
        assert self.forwarded is None
        assert self.refused is None
        self.refused = (status, message)
        self.decided.set()


class FakeNode:
    """What participants need, with a clock that stands still."""

    def __init__(self, nursery: trio.Nursery, hints: tuple[TopologyHint, ...] = (), cpus: int = 8) -> None:
        self.engine = Engine(Counting(cpus), clock=lambda: 1000.0)
        self.doubts = 0
        self.keeps: list[Callable[[], None]] | None = None
        self.unkept = ""
        self.hints = hints
        self.asked_about: list[Place] = []
        self.found = trio.Event()
        self.runtime = FakeRuntime()
        self.clear: list[ContainerKey] = []
        self.clears: list[Callable[[], None]] | None = None
        self.starts: list[str] = []
        self.intake = Intake(self.engine, nursery, Bytes(64 << 30), self._find, self._doubt)
        self.observing = Observing(self.engine, self.intake)
        self.looking = Looking(self.runtime, self.observing, nursery)
        self.meeting = Meeting(self.runtime, self.engine, self.intake, nursery)

    def _find(self, places: tuple[Place, ...]) -> tuple[TopologyHint, ...]:
        self.asked_about += places
        trio.from_thread.run_sync(self.found.set)
        return self.hints

    def when_kept(self, then: Callable[[], None], otherwise: Callable[[str], None]) -> None:
        self.give_up = otherwise
        then() if self.keeps is None else self.keeps.append(then)

    def look(self, again: Callable[[], None], held: Held) -> bool:
        return self.looking.look(again, held)

    def meet(self, pod: PodId, described: Pod | None, again: Callable[[], None], held: Held) -> None:
        self.meeting.meet(pod, described, again, held)

    def observed(self, method: str, answer: bytes) -> None:
        self.observing.observed(method, answer)

    def before_resize(self, key: ContainerKey, then: Callable[[], None]) -> None:
        self.clear = [*self.clear, key]
        then()

    def before_start(self, key: ContainerKey, then: Callable[[], None]) -> None:
        self.starts.append(f"may {key} start?")
        then() if self.clears is None else self.clears.append(then)

    def started(self, key: ContainerKey) -> None:
        self.starts.append(f"{key} was started")

    def _doubt(self) -> None:
        self.doubts += 1

    def call(
        self, participant: Callable[[FakeNode], Interceptor], request: betterproto.Message, answer: Answer | None = None
    ) -> tuple[FakeHeld, bytes | None]:
        """Play a call whose decision comes at once, and its answer."""
        held, interceptor = FakeHeld(), participant(self)
        interceptor.request(bytes(request), held)
        return held, interceptor.reply(answer) if answer is not None and held.forwarded is not None else None


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
    node.call(RunPod, pod_request(annotations=annotations), good(v1.RunPodSandboxResponse(pod_sandbox_id="p1")))
    return node


def with_container(nursery: trio.Nursery) -> FakeNode:
    node = with_pod(nursery)
    node.call(Create, create_request(), good(v1.CreateContainerResponse(container_id=ID)))
    return node


def states(node: FakeNode) -> list[ContainerState]:
    return [c.state for c in node.engine.state.workload.containers.values()]


def granted(node: FakeNode) -> list[str]:
    return [str(cpus) for cpus in node.engine.state.policy.values()]


def update(cpus: int) -> v1.UpdateContainerResourcesRequest:
    return v1.UpdateContainerResourcesRequest(
        container_id=ID, linux=v1.LinuxContainerResources(cpu_shares=cpus * 1024), annotations={"keep": "me"}
    )
