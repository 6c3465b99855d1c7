"""A node under policy topology-aware, as events of the pipeline, with a clock that one sets."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.model.claims import CPUClaim
from crirm.model.cpuset import CPUSet
from crirm.model.events import (
    ContainerCreated,
    ContainerExited,
    ContainerRequested,
    ContainerStarted,
    Event,
    PodAdded,
    ResizeDone,
    ResizeRequested,
    Timer,
    TimerExpired,
)
from crirm.model.qos import QoSClass
from crirm.model.resources import LinuxResources
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId, TopologyHint
from crirm.policy.pipeline import initial, step
from crirm.policy.topology_aware.options import TopologyAwareOptions
from tests.unit.policy.topology_aware.support import make_policy, requirements

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.model.decision import Decision, State
    from crirm.model.trail import Move
    from crirm.policy.topology_aware.policy import TopologyAware

N2C4 = "1p.2n.4c mem=8Gi"
"""Nodes 0 and 1, of CPUs 0-3 and 4-7."""


@attrs.define
class Eventful:
    """A node, and what was decided last."""

    policy: TopologyAware
    state: State = attrs.field(init=False)
    now_s: float = 1000.0
    last: Decision | None = None

    def __attrs_post_init__(self) -> None:
        self.state = initial(self.policy)

    def do(self, event: Event) -> Decision:
        decision = step(self.policy, self.state, event, self.now_s)
        self.state, self.last = decision.state, decision
        return decision

    def ask(
        self,
        name: str,
        cpu: int,
        memory: float = 0,
        *,
        qos: QoSClass = QoSClass.GUARANTEED,
        annotations: Mapping[str, str] | None = None,
        limit: float | None = None,
        hints: tuple[TopologyHint, ...] = (),
    ) -> Decision:
        pod = Pod(PodId(f"p-{name}"), name, name, "default", qos, annotations=annotations or {})
        self.do(PodAdded(pod))
        wanted = requirements(qos, cpu, memory, limit)
        container = Container(ContainerKey(name), pod.id, "c", ContainerState.CREATING, wanted, hints=hints)
        return self.do(ContainerRequested(container))

    def create(self, name: str) -> Decision:
        return self.do(ContainerCreated(ContainerKey(name), ContainerId(f"id-{name}")))

    def start(self, name: str) -> Decision:
        return self.do(ContainerStarted(ContainerKey(name)))

    def run(self, name: str, cpu: int, memory: float = 0, **about: object) -> Decision:
        """Ask for, create and start a container; returns the decision about the request."""
        decision = self.ask(name, cpu, memory, **about)  # type: ignore[arg-type]
        assert decision.refusal is None, str(decision.refusal)
        self.create(name)
        self.start(name)
        return decision

    def end(self, name: str) -> Decision:
        return self.do(ContainerExited(ContainerKey(name)))

    def resize(self, name: str, cpu: int, memory: float = 0) -> Decision:
        key = ContainerKey(name)
        qos = self.state.workload.pod_of(self.state.workload.containers[key]).qos
        decision = self.do(ResizeRequested(key, LinuxResources(), requirements(qos, cpu, memory)))
        if decision.refusal is None:
            self.do(ResizeDone(key))
        return decision

    def cpus(self, name: str) -> str:
        return str(self.state.adjustments[ContainerKey(name)].cpus)

    def mems(self, name: str) -> str:
        return str(self.state.adjustments[ContainerKey(name)].mems)

    def nodes(self, name: str) -> int:
        """Return of how many NUMA nodes the CPUs of a container are."""
        cpus = self.state.adjustments[ContainerKey(name)].cpus
        assert cpus is not None
        return len(self.policy.machine.topology.nodes_of(cpus))


def node(host: str = N2C4, reserved: str = "cpuset:0", options: TopologyAwareOptions | None = None) -> Eventful:
    return Eventful(make_policy(host, reserved, options))


def waiting_for_the_budget() -> tuple[Eventful, TimerExpired]:
    """Return a node on which container ``y`` could come together but for the budget, and the event that allows it."""
    one = node("2p.2n.4c mem=8Gi", options=TopologyAwareOptions(moves_per_minute="1"))
    for name, cpu in (("a", 3000), ("b", 3000), ("c", 3000), ("d", 2000), ("x", 2000), ("y", 2000)):
        one.run(name, cpu)
    one.end("a")
    one.end("b")
    ((waits, timer),) = one.state.timers
    assert (waits, timer, one.nodes(waits)) == ("y", Timer.GATHER, 2)
    one.now_s += 60
    return one, TimerExpired(waits, timer)


def moves_of(decision: Decision, name: str) -> list[Move]:
    return [move for move in decision.moves if move.key == name]


def claiming(
    one: Eventful, name: str, cpus: str, memory: float = 0, annotations: dict[str, str] | None = None
) -> Decision:
    """Ask for a container to which a DRA driver has given *cpus*."""
    pod = Pod(PodId(f"p-{name}"), name, name, "default", QoSClass.GUARANTEED, annotations=annotations or {})
    one.do(PodAdded(pod))
    claims = (CPUClaim("u", CPUSet.parse(cpus)),)
    wanted = requirements(QoSClass.GUARANTEED, 1000, memory)
    made = Container(ContainerKey(name), pod.id, "c", ContainerState.CREATING, wanted, claims=claims)
    return one.do(ContainerRequested(made))
