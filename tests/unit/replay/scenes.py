"""Traces for tests: a node that is told events, and the lines that a recorder would write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.decision import Adjustment, Decision
from crirm.model.events import ContainerCreated, ContainerRequested, ContainerStarted, PodAdded
from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.resources import Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId
from crirm.policy import pipeline
from crirm.policy.activation import plan
from crirm.policy.api import Choice, Constraints, CPUConstraint
from crirm.policy.readjust import plan_requirements
from crirm.policy.registry import make_policy
from crirm.policy.topology_aware.options import TopologyAwareOptions
from crirm.replay.records import start_of
from crirm.replay.report import Observer, Report
from crirm.replay.run import Replay, Step
from crirm.replay.trace import Header, Reconfigured, TraceReader, TraceWriter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.model.events import Event
    from crirm.model.topology import Topology
    from crirm.policy.activation import Plan
    from crirm.policy.api import Json, Policy

GIB = 1 << 30
BEGIN_S = 1_700_000_000.0
RESERVED = Constraints(reserved=CPUConstraint(millicpu=MilliCPU(1000)))
AWARE = Choice("topology-aware", RESERVED, TopologyAwareOptions())
STATIC = Choice("static", RESERVED)


def pod(name: str = "p", qos: QoSClass = QoSClass.GUARANTEED, **more: Any) -> Pod:
    return Pod(PodId(name), f"uid-{name}", name, "default", qos, **more)


def container(key: str, cpus: float, gib: float = 0, pod_name: str = "p", **more: Any) -> Container:
    cpu, memory = MilliCPU(round(1000 * cpus)), Bytes(round(GIB * gib))
    wanted = Requirements(cpu, cpu, memory, memory or None)
    return Container(ContainerKey(key), PodId(pod_name), key, ContainerState.CREATING, wanted, **more)


class Scene:
    """A node, and the trace of what happens on it from `record` on; a second passes with every event."""

    def __init__(self, host: str = "2p.4c.1t mem=8Gi", choice: Choice = AWARE) -> None:
        self.topology: Topology = topology_of(parse_spec(host))
        self.choice = choice
        self.policy = make_policy(choice, self.topology)
        self.state = pipeline.initial(self.policy)
        self.now_s = BEGIN_S
        self.lines: list[str] = []
        self.writer: TraceWriter | None = None

    def record(self) -> Scene:
        start = start_of(self.policy, self.state, {})
        self.writer = TraceWriter(Header("0.0.1", self.now_s, self.topology, self.choice, start))
        self.lines = [self.writer.first()]
        return self

    def tell(self, *events: Event) -> Decision:
        for event in events:
            self.now_s += 1
            before = self.state
            decision = pipeline.step(self.policy, before, event, self.now_s, overflow=self.choice.overflow)
            self.state = decision.state
            if self.writer is not None:
                self.lines += filter(None, [self.writer.entry(self.now_s, event, before, decision)])
        return decision

    def run(self, one: Container) -> Decision:
        decision = self.tell(ContainerRequested(one))
        if decision.refusal is None:
            self.tell(ContainerCreated(one.key, ContainerId(f"id-{one.key}")), ContainerStarted(one.key))
        return decision

    def reconfigure(
        self, choice: Choice, policy: Policy | None = None, grants: Mapping[ContainerKey, Json] | None = None
    ) -> None:
        """Take another configuration into use as the daemon does; with *grants*, go back to an old policy."""
        policy, machine = policy or make_policy(choice, self.topology), self.topology
        everything = Adjustment(cpus=machine.online, mems=machine.node_ids)
        self.activate(plan(policy, grants or {}, self.state, everything), choice, policy)

    def readjust(self, key: str, cpus: float) -> None:
        """Give a container another request, as external adjustments do."""
        wanted = {ContainerKey(key): container(key, cpus).requirements}
        self.activate(plan_requirements(self.policy, self.state, wanted, "test", self.now_s), self.choice, self.policy)

    def activate(self, found: Plan, choice: Choice, policy: Policy) -> None:
        self.now_s += 1
        self.state, self.choice, self.policy = found.state, choice, policy
        if self.writer is not None:
            change = Reconfigured(choice, start_of(policy, found.state, {}))
            decision = Decision(found.state, effects=found.effects, trails=found.trails)
            self.lines.append(self.writer.reconfigured(self.now_s, change, decision))

    def listed(self, *keys: str) -> tuple[Container, ...]:
        """What the runtime lists of containers that run."""
        return tuple(self.state.workload.containers[ContainerKey(key)] for key in keys)

    @property
    def text(self) -> str:
        return "".join(self.lines)


@attrs.frozen
class Replayed:
    """What has come of a replay."""

    replay: Replay
    steps: list[Step]
    report: Report


def replayed(text: str, host: str = "", choice: Choice | None = None) -> Replayed:
    reader = TraceReader.open(line.encode() for line in text.splitlines(keepends=True))
    replay = Replay(reader.header, topology_of(parse_spec(host)) if host else None, choice)
    observer = Observer(replay)
    steps = list(observer.observe(replay.steps(reader.entries())))
    return Replayed(replay, steps, observer.report(reader.notes))


def web() -> Scene:
    """Three containers with CPUs of their own and two that share, on two packages of four CPUs; one does not fit."""
    scene = Scene().record()
    scene.tell(PodAdded(pod()))
    for one in (container("a", 2, 1), container("b", 2, 1), container("s", 0.5, 1), container("t", 0.3)):
        scene.run(one)
    scene.run(container("big", 4, 1))
    return scene
