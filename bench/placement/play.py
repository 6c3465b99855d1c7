"""Plays a trace through a policy, by the pipeline that the daemon has, and counts what came of it."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any, Final

import attrs

from bench.placement.counting import Node, fits_whole, narrower_fits
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import NO_CPUS, CPUSet, NodeSet
from crirm.model.decision import UpdateContainer
from crirm.model.events import (
    ContainerCreated,
    ContainerExited,
    ContainerRequested,
    ContainerStarted,
    Event,
    PodAdded,
    PodRemoved,
    TimerExpired,
    UpdateDone,
)
from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.resources import Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId, TopologyHint
from crirm.policy import pipeline
from crirm.policy.api import Constraints, CPUConstraint, Policy
from crirm.policy.cpu_allocator import CPUAllocator
from crirm.policy.partition import partition
from crirm.policy.priorities import priorities_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.placement.modes import Way
    from bench.placement.traces import Host, Item, Step
    from crirm.model.decision import Decision

RESERVED: Final = Constraints(reserved=CPUConstraint(millicpu=MilliCPU(2000)))
EXAMPLES: Final = 3  # kept of a trace: enough to begin with
BETWEEN_S: Final = 60.0  # virtual seconds between two steps of a trace


@attrs.define
class Outcome:
    """What came of some traces.

    Args:
        placed: exclusive containers that were placed.
        crossing: of these, those with CPUs of more than one NUMA node, at their arrival or by a later move.
        standing: of those present after each arrival, how many were spread, summed up.
        present: those present after each arrival, summed up.
        wide: placed ones with memory of more than one NUMA node.
        wide_though_fits: exclusive containers that, at some time, had memory of more nodes than their CPUs, although
            their limit would have fitted there. (The CPUs of shared ones are what others leave them in their pool.)
        away: those with a device whose CPUs are not all in its node.
        refused: containers of any kind that were refused.
        refused_though_fits: of these, those for which some node had CPUs and memory as everything was.
        moved: other containers whose exclusive CPUs, or pool if they have none, an arrival or a departure changed.
        spent_ms: CPU time of each decision about an arrival.
    """

    placed: int = 0
    crossing: int = 0
    standing: int = 0
    present: int = 0
    wide: int = 0
    wide_though_fits: int = 0
    away: int = 0
    refused: int = 0
    refused_though_fits: int = 0
    moved: int = 0
    arrivals: int = 0
    spent_ms: list[float] = attrs.field(factory=list)
    examples: list[str] = attrs.field(factory=list)

    @property
    def median_ms(self) -> float:
        """Of the decisions."""
        return statistics.median(self.spent_ms)

    def plus(self, other: Outcome) -> Outcome:
        """Return both together."""
        names = [field.name for field in attrs.fields(Outcome)]
        return Outcome(**{name: getattr(self, name) + getattr(other, name) for name in names})


def with_cpus(host: Host) -> Host:
    """Return *host* with the CPUs that policies leave for containers: without the reserved ones."""
    topology = topology_of(parse_spec(host.spec))
    sharable = partition(topology, RESERVED, CPUAllocator(topology, priorities_of(topology))).sharable
    return attrs.evolve(host, cpus=tuple(len(node.cpus & sharable) for node in topology.nodes))


def play(way: Way, host: Host, trace: tuple[Step, ...]) -> Outcome:
    """Return what comes of *trace* under *way*.

    Raises:
        UnknownOptionError: this crirm has no such way.
    """
    policy = way.make(topology_of(parse_spec(host.spec)), RESERVED)
    return _Play(policy, Node.of(host.spec, RESERVED)).all(trace)


@attrs.define
class _Play:
    policy: Policy
    node: Node
    state: Any = None
    now_s: float = 0.0
    done: Outcome = attrs.field(factory=Outcome)
    blamed: set[ContainerKey] = attrs.field(factory=set)
    """Containers whose memory was found too wide before."""

    def all(self, trace: tuple[Step, ...]) -> Outcome:
        self.state = pipeline.initial(self.policy)
        for step in trace:
            before, pools = self.policy.exclusive(self.state.policy), self._pools()
            self._pass(BETWEEN_S)
            if step.leaves:
                self._leave(step.item)
            else:
                self._arrive(step.item)
            self._count_moves(before)
            self._count_shared_moves(pools)
            self._count_wide()
        return self.done

    def _arrive(self, item: Item) -> None:
        pod, container = _pod(item)
        self._take(PodAdded(pod))
        self.done.arrivals += not item.shared
        began_s = time.thread_time()
        decision = pipeline.step(self.policy, self.state, ContainerRequested(container), self.now_s)
        self.done.spent_ms.append((time.thread_time() - began_s) * 1e3)
        if decision.refusal is not None:
            self._count_refusal(item, decision)
            self._take(PodRemoved(pod.id))
            return
        self._follow(decision)
        self._take(ContainerCreated(container.key, ContainerId(f"id-{item.name}")))
        self._take(ContainerStarted(container.key))
        self.node.items[container.key] = item
        if not item.shared:
            self._count_placed(container.key, item)

    def _leave(self, item: Item) -> None:
        key = ContainerKey(item.name)
        if self.node.items.pop(key, None) is not None:
            self._take(ContainerExited(key))
            self._take(PodRemoved(PodId(f"pod-{item.name}")))

    def _pass(self, seconds: float) -> None:
        """Let virtual time pass, and timers expire."""
        until_s = self.now_s + seconds
        while due := [(at_s, *timer) for timer, at_s in self.state.timers.items() if at_s <= until_s]:
            self.now_s, key, timer = min(due, key=lambda one: (one[0], one[1], one[2].value))
            self._take(TimerExpired(key, timer))
        self.now_s = until_s

    def _take(self, event: Event) -> None:
        self._follow(pipeline.step(self.policy, self.state, event, self.now_s))

    def _follow(self, decision: Decision) -> None:
        """Have the runtime do what was decided, at once."""
        self.state = decision.state
        for effect in decision.effects:
            if isinstance(effect, UpdateContainer):
                self._take(UpdateDone(effect.key))

    # --- counting ------------------------------------------------------------------------------------------------

    def _count_refusal(self, item: Item, decision: Decision) -> None:
        self.done.refused += 1
        nodes = fits_whole(self.node, self.state, self.policy, item)
        if nodes:
            self.done.refused_though_fits += 1
            self._example(f"refused though it fits NUMA nodes {nodes}: {item}: {decision.refusal}")

    def _count_placed(self, key: ContainerKey, item: Item) -> None:
        adjustment = self.state.adjustments[key]
        homes = self.node.homes(adjustment.cpus or NO_CPUS)
        self.done.placed += 1
        self.done.crossing += len(homes) > 1
        self.done.wide += adjustment.mems is None or len(adjustment.mems) > 1
        self.done.away += item.device is not None and homes != NodeSet([item.device])
        own = self.policy.exclusive(self.state.policy)
        self.done.present += len(own)
        self.done.standing += sum(self._crosses(cpus) for cpus in own.values())

    def _count_moves(self, before: Mapping[ContainerKey, CPUSet]) -> None:
        after = self.policy.exclusive(self.state.policy)
        for key in before.keys() & after.keys():
            if before[key] != after[key]:
                self.done.moved += 1
                self.done.crossing += self._crosses(after[key]) and not self._crosses(before[key])

    def _pools(self) -> Mapping[ContainerKey, int]:
        """Return the pools of those on shared CPUs only; none where the policy has no pools."""
        pool_of: Mapping[ContainerKey, int] = getattr(self.state.policy, "pool_of", {})
        own = self.policy.exclusive(self.state.policy)
        return {key: pool for key, pool in pool_of.items() if key not in own}

    def _count_shared_moves(self, before: Mapping[ContainerKey, int]) -> None:
        after = self._pools()
        self.done.moved += sum(before[key] != after[key] for key in before.keys() & after.keys())

    def _count_wide(self) -> None:
        for key in sorted(self.node.items.keys() - self.blamed):
            if not self.node.items[key].shared and narrower_fits(self.node, self.state, key):
                self.blamed.add(key)
                self.done.wide_though_fits += 1
                self._example(f"memory wider though it fits: {self.node.items[key]}: {self.state.adjustments[key]}")

    def _crosses(self, cpus: CPUSet) -> bool:
        return len(self.node.homes(cpus)) > 1

    def _example(self, text: str) -> None:
        if len(self.done.examples) < EXAMPLES:
            self.done.examples.append(text)


def _pod(item: Item) -> tuple[Pod, Container]:
    qos = QoSClass.BURSTABLE if item.shared else QoSClass.GUARANTEED
    pod = Pod(PodId(f"pod-{item.name}"), f"uid-{item.name}", item.name, "default", qos)
    limit = None if item.shared else MilliCPU(item.millicpu)
    asked = Requirements(MilliCPU(item.millicpu), limit, Bytes(item.request), Bytes(item.memory))
    hints = () if item.device is None else (TopologyHint(f"gpu{item.device}", nodes=NodeSet([item.device])),)
    return pod, Container(ContainerKey(item.name), pod.id, "main", ContainerState.CREATING, asked, hints=hints)
