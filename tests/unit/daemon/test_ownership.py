"""No CPU has two owners, counting what the runtime has: random lives of a node over a runtime that takes its time."""

from __future__ import annotations

import random
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
import trio.testing
from grpclib.const import Status
from trio._core import _run

from crirm.cri import slice as cri
from crirm.cri.proto.runtime import v1
from crirm.cri.reading import read
from crirm.daemon.placement.clearing import Clearing
from crirm.daemon.placement.effects import EffectsWorker
from crirm.daemon.placement.engine import Engine
from crirm.daemon.placement.handlers import handler
from crirm.daemon.placement.intake import Intake
from crirm.daemon.placement.observers import observer
from crirm.hosts.synthetic import HostSpec, topology_of
from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.model.events import UpdateFailed
from crirm.model.quantity import Bytes
from crirm.model.workload import ContainerId, ContainerKey
from crirm.policy.api import Constraints, CPUConstraint
from crirm.policy.registry import POLICIES
from crirm.rpc.calls import Answer, CallRefusedError
from crirm.rpc.tap import Latency, Outcome
from tests.unit.daemon.listeners import hear_events

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crirm.model.events import Event
    from crirm.model.workload import Pod, PodId
    from crirm.policy.api import Policy

TOPOLOGY = topology_of(HostSpec(packages=2, cores=8, threads=1))


def make(name: str, reserved: str = "0") -> Policy:
    constraints = Constraints(reserved=CPUConstraint(cpus=CPUSet.parse(reserved)))
    return POLICIES[name].make(TOPOLOGY, constraints, POLICIES[name].options())


@attrs.define
class There:
    """A container of the model runtime."""

    specified: CPUSet
    used: CPUSet | None = None  # by its processes, while it runs


@attrs.define
class SlowRuntime:
    """Does what it is asked at some moment between question and answer, and starts as containerd does."""

    dice: random.Random
    changed: Callable[[], None]
    there: dict[str, There] = attrs.field(factory=dict)
    count: int = 0
    connected: bool = True
    refuses: float = 0.0

    async def _pause(self) -> None:
        await trio.sleep(self.dice.choice((0.001, 0.01, 0.03, 0.3)))

    async def call(self, method: str, message: bytes, *, timeout_s: float) -> bytes:
        assert timeout_s > 0
        assert method == "UpdateContainerResources"
        await self.update(message)
        return b""

    async def create(self, message: bytes) -> str:
        await self._pause()
        self.count += 1
        container_id = f"id{self.count}"
        self.there[container_id] = There(
            CPUSet.parse(read(cri.CreateContainerRequest, message).config.linux.resources.cpuset_cpus)
            or TOPOLOGY.online
        )
        await self._pause()
        return container_id

    async def start(self, container_id: str) -> None:
        specified = self.there[container_id].specified
        await self._pause()
        self.there[container_id].used = specified
        self.changed()
        await self._pause()

    async def update(self, message: bytes) -> None:
        await self._pause()
        request = v1.UpdateContainerResourcesRequest().parse(message)
        one = self.there.get(request.container_id)
        if one is not None and request.linux.cpuset_cpus:
            one.specified = CPUSet.parse(request.linux.cpuset_cpus)
            if one.used is not None:
                one.used = one.specified
                self.changed()
        await self._pause()

    async def stop(self, container_id: str) -> None:
        await self._pause()
        self.there[container_id].used = None
        await self._pause()


@attrs.frozen
class Call:
    """A held call; see ``rpc.calls.HeldCall``."""

    message: bytes
    perform: Callable[[bytes], Any]
    answers: list[Any] = attrs.field(factory=list)

    async def forward(self, message: bytes) -> Answer:
        with trio.CancelScope(shield=True):
            answer = await self.perform(message)
        self.answers.append(answer)
        return Answer(Status.UNKNOWN.value, None) if answer is None else Answer(0, bytes(answer))


class SlowNode:
    """A node over a slow runtime."""

    unkept = ""

    def __init__(self, nursery: trio.Nursery, policy: Policy, dice: random.Random, grows: float) -> None:
        self.dice, self.grows = dice, grows
        self.engine = Engine(policy, clock=lambda: 1000.0)
        self.runtime = SlowRuntime(dice, self.nobody_is_on_another_ones_cpus)
        self.intake = Intake(self.engine, Bytes(64 << 30), lambda _: (), lambda: None)
        self.effects = EffectsWorker(self.engine, self.runtime, lambda _key: None, clock=lambda: 1000.0)
        self.engine.listen((self.effects,))
        self.told: set[ContainerKey] = set()
        self.watched: Counter[str] = Counter()
        hear_events(self.engine, self._note)
        clearing = Clearing(self.engine, self.effects, lambda _key: None)
        self.clear, self.started = clearing.clear, clearing.started
        self.begin_resize, self.begin_start = self.effects.begin_resize, self.effects.begin_start
        nursery.start_soon(self.effects.run)

    @property
    def settled(self) -> bool:
        return self.effects.settled

    async def kept(self) -> None:
        """Nothing is kept."""

    def may_have_ended(self) -> bool:
        return False

    async def look(self) -> None:
        """Nobody is asked."""

    async def meet(self, pod: PodId, described: Pod | None) -> None:
        """Likewise."""

    def observed(self, method: str, answer: bytes) -> None:
        """Hear nothing in answers: the test tells of ends."""

    def _note(self, event: Event) -> None:
        if isinstance(event, UpdateFailed):
            self.told.add(event.key)

    def running(self) -> Iterator[tuple[ContainerKey, CPUSet]]:
        for container_id, one in self.runtime.there.items():
            key = self.intake.key_of(ContainerId(container_id))
            if one.used is not None and key is not None:
                yield key, one.used

    def nobody_is_on_another_ones_cpus(self) -> None:
        """One that becomes an owner while it runs is one when the runtime has answered; who was late is told of."""
        owned = self.engine.policy.exclusive(self.engine.state.policy)
        running, decided = dict(self.running()), self.engine.state.adjustments
        for owner, cpus in running.items():
            if owner not in decided or not cpus <= (decided[owner].cpus or TOPOLOGY.online):
                continue
            if owner in self.engine.state.resizing or owner in self.told:
                continue
            for other, used in running.items():
                if other in self.told:
                    continue
                both = owned.get(owner, NO_CPUS) & cpus & used
                assert other == owner or not both, (
                    f"at {trio.current_time():.3f} s {other} is on CPUs {both} of {owner}"
                )

    async def call(self, method: str, request: Any, perform: Callable[[bytes], Any]) -> Any:
        handle, tap = handler(self, method), observer(self, method)
        call = Call(bytes(request), perform)
        if handle is not None:
            with suppress(CallRefusedError):
                await handle(call)
        elif tap is not None:
            tap.request(call.message)
            answer = await call.forward(call.message)
            if answer.message is not None:
                tap.reply(answer.message)
            tap.close(Outcome(answer.status, "", Latency(0.0, 0.0, 0.0)))
        return call.answers[0] if call.answers else None

    # --- what the kubelet does -----------------------------------------------------------------------------------

    async def live(self, name: str) -> None:
        """Run a pod with one container from its beginning to its end."""
        await trio.sleep(self.dice.uniform(0, 20))
        config = v1.PodSandboxConfig(
            metadata=v1.PodSandboxMetadata(name=name, uid=name, namespace="default"),
            linux=v1.LinuxPodSandboxConfig(cgroup_parent=f"/kubepods/pod{name}"),
        )
        await self.call("RunPodSandbox", v1.RunPodSandboxRequest(config), self.run_pod(name))
        shares = self.dice.choice((0, 512, 1024, 2048, 3072))
        resources = v1.LinuxContainerResources(cpu_shares=shares, cpu_period=100_000, memory_limit_in_bytes=1 << 26)
        resources.cpu_quota = shares * 100_000 // 1024 or -1
        if shares in {0, 512}:
            config.linux.cgroup_parent = f"/kubepods/burstable/pod{name}"
        container = v1.ContainerConfig(
            metadata=v1.ContainerMetadata(name="c"), linux=v1.LinuxContainerConfig(resources=resources)
        )
        reply = await self.call("CreateContainer", v1.CreateContainerRequest(name, container, config), self.create)
        if reply is None:
            return
        id_ = reply.container_id
        await trio.sleep(self.dice.choice((0, 0, 0.02, 2)))
        await self.call("StartContainer", v1.StartContainerRequest(id_), partial(self.start, id_))
        await trio.sleep(self.dice.uniform(0, 6))
        if self.dice.random() < self.grows:
            resources.cpu_shares = self.dice.choice((1024, 2048, 3072, 4096))
            request = v1.UpdateContainerResourcesRequest(id_, resources)
            await self.call("UpdateContainerResources", request, self.resize)
            await trio.sleep(self.dice.uniform(0, 3))
        await self.call("StopContainer", v1.StopContainerRequest(id_), partial(self.stop, id_))

    def run_pod(self, name: str) -> Callable[[bytes], Any]:
        async def perform(_message: bytes) -> v1.RunPodSandboxResponse:
            return v1.RunPodSandboxResponse(pod_sandbox_id=name)

        return perform

    async def create(self, message: bytes) -> v1.CreateContainerResponse:
        return v1.CreateContainerResponse(container_id=await self.runtime.create(message))

    async def start(self, id_: str, _message: bytes) -> v1.StartContainerResponse:
        await self.runtime.start(id_)
        return v1.StartContainerResponse()

    async def stop(self, id_: str, _message: bytes) -> v1.StopContainerResponse:
        await self.runtime.stop(id_)
        return v1.StopContainerResponse()

    async def resize(self, message: bytes) -> v1.UpdateContainerResourcesResponse | None:
        if self.dice.random() < 0.2:
            await trio.sleep(0.05)
            return None
        await self.runtime.update(message)
        return v1.UpdateContainerResourcesResponse()


async def life_of(name: str, seed: int, grows: float) -> SlowNode:
    dice = random.Random(seed)
    _run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc] # the same seed, the same life
    _run._r.seed(seed)
    async with trio.open_nursery() as nursery:
        node = SlowNode(nursery, make(name), dice, grows)
        async with trio.open_nursery() as pods:
            for number in range(25):
                pods.start_soon(node.live, f"p{number}")
        await trio.sleep(5)
        nursery.cancel_scope.cancel()
    return node


@pytest.mark.parametrize("name", ["static", "topology-aware"])
@pytest.mark.parametrize(
    "grows",
    [
        pytest.param(0.0, id="come and go"),
        pytest.param(0.5, id="grow and shrink too"),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_no_cpu_has_two_owners_while_containers(name: str, seed: int, grows: float) -> None:
    node = trio.run(life_of, name, seed, grows, clock=trio.testing.MockClock(autojump_threshold=0))
    assert grows or not node.told, "nobody has to wait too long where nobody swaps places"
    assert node.runtime.count > 15
    assert node.engine.state.adjustments == {}
    assert not node.effects.pending()
    assert node.effects.handover.in_the_way(ContainerKey("any")) == []
