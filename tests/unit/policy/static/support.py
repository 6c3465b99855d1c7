"""A node for tests: the policy ``static`` on a synthetic host, and pods that come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet
from crirm.model.qos import QoSClass
from crirm.model.quantity import MilliCPU
from crirm.model.resources import Requirements
from crirm.model.workload import Container, ContainerKey, ContainerState, Pod, PodId, Workload
from crirm.policy.api import Constraints, CPUConstraint
from crirm.policy.registry import POLICIES
from crirm.policy.static.options import KubeletOptions, StaticOptions

if TYPE_CHECKING:
    from crirm.policy.api import Placement
    from crirm.policy.static.policy import StaticPolicy
    from crirm.policy.static.state import StaticState

HOST = "1p.6c.2t isolated=4-5,10-11"
"""Core N has CPUs N and N+6; cores 4 and 5 are isolated. Tests reserve CPU 0."""


class Node:
    """The policy ``static`` on one machine, and what it has decided."""

    def __init__(
        self,
        host: str = HOST,
        reserved: str = "0",
        available: str = "",
        *,
        relaxed: bool = False,
        kubelet: KubeletOptions | None = None,
    ) -> None:
        constraints = Constraints(
            CPUConstraint(cpus=CPUSet.parse(available)) if available else CPUConstraint(),
            CPUConstraint(cpus=CPUSet.parse(reserved)),
        )
        topology = topology_of(parse_spec(host))
        options = StaticOptions(relaxed, kubelet=kubelet or KubeletOptions())
        self.policy: StaticPolicy = POLICIES["static"].make(topology, constraints, options)  # type: ignore[assignment]
        self.state: StaticState = self.policy.initial()
        self.workload = Workload()
        self.cpus: dict[str, str] = {}

    def add(
        self,
        name: str,
        millicpu: int,
        qos: QoSClass = QoSClass.GUARANTEED,
        annotations: dict[str, str] | None = None,
    ) -> Placement:
        pod = Pod(PodId(f"pod-{name}"), f"uid-{name}", f"pod-{name}", "default", qos, annotations=annotations or {})
        requirements = Requirements(MilliCPU(millicpu))
        container = Container(ContainerKey(name), pod.id, "c", ContainerState.CREATING, requirements)
        known = attrs.evolve(self.workload, pods={**self.workload.pods, pod.id: pod})
        placement = self.policy.allocate(self.state, known, container)
        self.workload = attrs.evolve(known, containers={**known.containers, container.key: container})
        return self._take(placement)

    def resize(self, name: str, millicpu: int) -> Placement:
        container = self.workload.containers[ContainerKey(name)]
        wanted = attrs.evolve(container, requirements=Requirements(MilliCPU(millicpu)))
        return self._take(self.policy.resize(self.state, self.workload, wanted))

    def remove(self, name: str) -> Placement:
        del self.cpus[name]
        return self._take(self.policy.release(self.state, self.workload, ContainerKey(name)))

    def _take(self, placement: Placement) -> Placement:
        self.state = placement.state
        self.cpus |= {key: str(adjustment.cpus) for key, adjustment in placement.changed.items()}
        return placement
