"""What deciding costs: CPU time of the core, by containers and by CPUs, and events per second through the engine."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Final

import attrs
from rich.table import Table

from crirm.daemon.placement.engine import Engine
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.events import ContainerCreated, ContainerExited, ContainerRequested, Event, PodAdded
from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.resources import Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId
from crirm.policy.api import Constraints, CPUConstraint
from crirm.policy.registry import POLICIES

if TYPE_CHECKING:
    from rich.box import Box

LARGE: Final = "2p.4d.2n.32c.2t"  # 1024 CPUs, 16 NUMA nodes
HOSTS: Final = {"1p.1d.1n.8c.2t": 16, "2p.1d.2n.32c.2t": 256, LARGE: 1024}
COUNTS: Final = (10, 100, 500, 1500)
QUICK_COUNTS: Final = (10, 100)
MEASURED: Final = 60  # decisions after the node is as full as it is to be
EVERY_GUARANTEED, EVERY_EXCLUSIVE = 10, 50  # one container in so many


@attrs.frozen
class Decisions:
    """What placing one more container costs on a node that runs some already.

    Args:
        policy: the policy.
        cpus: of the machine.
        containers: that run already.
        median_ms: CPU time of one decision.
        worst_ms: of the dearest of those that were measured.
        events_per_s: of pods and containers that come and go, through the whole engine.
    """

    policy: str
    cpus: int
    containers: int
    median_ms: float
    worst_ms: float
    events_per_s: float


def measure(*, quick: bool) -> list[Decisions]:
    """Measure every policy that places: by containers on the largest host, and by CPUs with 100 containers."""
    policies = [name for name in POLICIES if name not in {"none", "memtier"}]
    counts = QUICK_COUNTS if quick else COUNTS
    cases = [(LARGE, count) for count in counts] + [(host, 100) for host in HOSTS if host != LARGE]
    return [_measure(policy, host, count) for policy in policies for host, count in cases]


def _measure(policy: str, host: str, containers: int) -> Decisions:
    engine = _engine(policy, host)
    for number in range(containers):
        for event in _arrival(number):
            engine.apply(event)
    spent_ms, events, began_s = [], 0, time.process_time()
    for number in range(containers, containers + MEASURED):
        for event in (*_arrival(number), ContainerExited(_key(number))):
            before_s = time.process_time()
            decision = engine.apply(event)
            events += 1
            if isinstance(event, ContainerRequested) and decision.refusal is None:
                spent_ms.append((time.process_time() - before_s) * 1e3)
    took_s = time.process_time() - began_s
    return Decisions(policy, HOSTS[host], containers, statistics.median(spent_ms), max(spent_ms), events / took_s)


def _engine(policy: str, host: str) -> Engine:
    kind = POLICIES[policy]
    reserved = Constraints(reserved=CPUConstraint(millicpu=MilliCPU(2000)))
    return Engine(kind.make(topology_of(parse_spec(host)), reserved, kind.options()))


def _key(number: int) -> ContainerKey:
    return ContainerKey(f"{number:08}")


def _arrival(number: int) -> tuple[Event, ...]:
    """Return a pod of one container: most are Burstable and small, some Guaranteed, a few of those exclusive."""
    qos = QoSClass.BURSTABLE if number % EVERY_GUARANTEED else QoSClass.GUARANTEED
    cpu = MilliCPU(100 if number % EVERY_EXCLUSIVE else 1000) if number % 7 else MilliCPU(5)
    pod = Pod(PodId(f"pod{number}"), f"uid{number}", f"web-{number}", "default", qos)
    asked = Requirements(cpu, cpu, Bytes(64 << 20), Bytes(64 << 20))
    container = Container(_key(number), pod.id, "main", ContainerState.CREATING, asked)
    return PodAdded(pod), ContainerRequested(container), ContainerCreated(container.key, ContainerId(f"id{number}"))


def table(rows: list[Decisions], box: Box) -> Table:
    """Return the figures as a table for people."""
    shown = Table("policy", "CPUs", "containers", "decision ms", "worst ms", "events/s", title="Deciding", box=box)
    for row in rows:
        figures = (f"{row.median_ms:.2f}", f"{row.worst_ms:.2f}", f"{row.events_per_s:.0f}")
        shown.add_row(row.policy, str(row.cpus), str(row.containers), *figures)
    return shown
