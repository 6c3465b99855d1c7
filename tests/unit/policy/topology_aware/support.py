"""A node for tests: a policy on a synthetic host, its state, and pods that come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
from hypothesis import HealthCheck, settings

from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet
from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.resources import Requirements
from crirm.model.workload import Container, ContainerKey, ContainerState, Pod, PodId, TopologyHint, Workload
from crirm.policy.api import Constraints, CPUConstraint, Placement
from crirm.policy.topology_aware.options import TopologyAwareOptions
from crirm.policy.topology_aware.policy import TopologyAware, make

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crirm.model.claims import CPUClaim
    from crirm.model.decision import Adjustment
    from crirm.model.topology import Topology
    from crirm.model.trail import Trail
    from crirm.policy.topology_aware.state import Grant, PolicyState

NS = "cri-resource-manager.intel.com"
GIB = 1 << 30

PATIENT = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""For property tests: none of them is about time, and other work may run beside them."""


def reserve(text: str) -> CPUConstraint:
    """Return a constraint of so many CPUs (``2``, ``0.75``), of these (``cpuset:0-1``), or of all but these."""
    kind, _, cpus = text.rpartition(":")
    if kind == "exclude-cpuset":
        return CPUConstraint(excluded=CPUSet.parse(cpus))
    if kind:
        return CPUConstraint(cpus=CPUSet.parse(cpus))
    return CPUConstraint(millicpu=MilliCPU(round(1000 * float(text))))


def make_policy(
    host: str | Topology, reserved: str = "1", options: TopologyAwareOptions | None = None, available: str = ""
) -> TopologyAware:
    topology = topology_of(parse_spec(host)) if isinstance(host, str) else host
    constraints = Constraints(reserve(available) if available else CPUConstraint(), reserve(reserved))
    return make("topology-aware", topology, constraints, options or TopologyAwareOptions())


def requirements(qos: QoSClass, cpu: int, memory: float = 0, limit: float | None = None) -> Requirements:
    """Return requirements of *cpu* thousandths and *memory* GiB; a limit counts for Burstable containers only."""
    asked = Bytes(round(memory * GIB))
    match qos:
        case QoSClass.GUARANTEED:
            return Requirements(MilliCPU(cpu), MilliCPU(cpu), asked, asked or None)
        case QoSClass.BURSTABLE:
            most = None if limit is None else Bytes(round(limit * GIB))
            return Requirements(MilliCPU(cpu), None, asked, most)
        case QoSClass.BEST_EFFORT:
            return Requirements()


@attrs.define
class Node:
    """A policy and what runs under it."""

    policy: TopologyAware
    state: PolicyState = attrs.field(init=False)
    workload: Workload = attrs.field(factory=Workload)
    has: dict[ContainerKey, Adjustment] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.state = self.policy.initial()

    def add(
        self,
        name: str,
        cpu: int = 0,
        memory: float = 0,
        *,
        limit: float | None = None,
        qos: QoSClass = QoSClass.GUARANTEED,
        namespace: str = "default",
        pod: str = "",
        annotations: Mapping[str, str] | None = None,
        hints: tuple[TopologyHint, ...] = (),
        claims: tuple[CPUClaim, ...] = (),
    ) -> Placement:
        """Add a container, to a pod of its own if none is named."""
        pod_id = PodId(pod or f"pod-{name}")
        if pod_id not in self.workload.pods:
            made = Pod(pod_id, f"uid-{pod_id}", pod_id, namespace, qos, annotations=annotations or {})
            self.workload = attrs.evolve(self.workload, pods={**self.workload.pods, pod_id: made})
        key = ContainerKey(name)
        wanted = requirements(qos, cpu, memory, limit)
        container = Container(key, pod_id, name, ContainerState.CREATING, wanted, hints=hints, claims=claims)
        placement = self.policy.allocate(self.state, self.workload, container)
        self.workload = attrs.evolve(self.workload, containers={**self.workload.containers, key: container})
        return self._take(placement)

    def resize(self, name: str, cpu: int, memory: float = 0, limit: float | None = None) -> Placement:
        old = self.workload.containers[ContainerKey(name)]
        qos = self.workload.pods[old.pod].qos
        container = attrs.evolve(old, requirements=requirements(qos, cpu, memory, limit))
        placement = self.policy.resize(self.state, self.workload, container)
        self.workload = attrs.evolve(self.workload, containers={**self.workload.containers, old.key: container})
        return self._take(placement)

    def remove(self, name: str) -> Placement:
        key = ContainerKey(name)
        self.has.pop(key, None)
        return self._take(self.policy.release(self.state, self.workload, key))

    def start(self, name: str) -> Placement:
        return self._take(self.policy.started(self.state, self.workload, ContainerKey(name)))

    def expire(self, name: str) -> Placement:
        return self._take(self.policy.expired(self.state, self.workload, ContainerKey(name)))

    def grant(self, name: str) -> Grant:
        grant = self.state.grant(ContainerKey(name))
        assert grant is not None
        return grant

    def pool(self, name: str) -> str:
        return self.policy.machine.pools[self.grant(name).pool].name

    def cpus(self, name: str) -> str:
        return str(self.has[ContainerKey(name)].cpus)

    def mems(self, name: str) -> str:
        return str(self.has[ContainerKey(name)].mems)

    def _take(self, placement: Placement) -> Placement:
        if placement.trail:
            assert {move.key for move in placement.trail.moves} == set(placement.changed) - {placement.trail.key}
            assert all(move.before != move.after for move in placement.trail.moves)
        self.state = placement.state
        self.has.update(placement.changed)
        return placement


def trail_of(placement: Placement) -> Trail:
    assert placement.trail is not None
    return placement.trail
