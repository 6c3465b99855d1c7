"""What deciding costs: CPU time of the core, by containers and by CPUs, and events per second through the engine."""

from __future__ import annotations

import gc
import statistics
import time
from typing import TYPE_CHECKING, Final

import attrs
from rich.table import Table

from bench.placement.modes import WAYS, UnknownOptionError, Way
from crirm.daemon.placement.engine import Engine
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.events import ContainerCreated, ContainerExited, ContainerRequested, ContainerStarted, Event, PodAdded
from crirm.model.qos import QoSClass
from crirm.model.quantity import Bytes, MilliCPU
from crirm.model.resources import Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId
from crirm.policy.api import Constraints, CPUConstraint

if TYPE_CHECKING:
    from rich.box import Box

LARGE: Final = "2p.4d.2n.32c.2t"  # 1024 CPUs, 16 NUMA nodes
HOSTS: Final = {"1p.1d.1n.8c.2t": 16, "2p.1d.2n.32c.2t": 256, LARGE: 1024}
COUNTS: Final = (10, 100, 500, 1500)
QUICK_COUNTS: Final = (10, 100)
MEASURED: Final = 60  # decisions after the node is as full as it is to be
EVERY_GUARANTEED, EVERY_EXCLUSIVE = 10, 50  # one container in so many
MEDIAN_MS, WORST_MS = 5, 20  # goals, on the largest host with the most containers


@attrs.frozen
class Decisions:
    """What placing one more container costs on a node that runs some already.

    Args:
        policy: the policy and its mode.
        cpus: of the machine.
        containers: that run already.
        crowded: whether nearly all CPUs are requested, most of them exclusive, and older containers exit.
        median_ms: CPU time of one decision.
        worst_ms: of the dearest of those that were measured.
        collecting_ms: of it, what Python spent in collecting garbage, which may happen in any decision.
        release_ms: CPU time of the decision when one of them exits, at the median.
        release_worst_ms: of the dearest of those.
        events_per_s: of pods and containers that come and go, through the whole engine.
    """

    policy: str
    cpus: int
    containers: int
    crowded: bool
    median_ms: float
    worst_ms: float
    collecting_ms: float
    release_ms: float
    release_worst_ms: float
    events_per_s: float

    @property
    def verdict(self) -> str:
        """Whether the goal is met, where there is one."""
        if (self.cpus, self.containers) != (HOSTS[LARGE], COUNTS[-1]):
            return ""
        met = self.median_ms <= MEDIAN_MS and self.worst_ms <= WORST_MS
        return "met" if met else f"NOT MET ({MEDIAN_MS}, {WORST_MS} ms)"


def measure(*, quick: bool) -> list[Decisions]:
    """Measure every policy and mode: by containers on the largest host, and by CPUs with 100 containers."""
    counts = QUICK_COUNTS if quick else COUNTS
    cases = [(LARGE, count, False) for count in counts]
    cases += [(LARGE, counts[-1], True), *((host, 100, False) for host in HOSTS if host != LARGE)]
    gc.collect()
    gc.freeze()  # as the daemon does with what it has imported
    return [row for way in WAYS for case in cases if (row := _measure(way, *case))]


def _measure(way: Way, host: str, containers: int, crowded: bool) -> Decisions | None:
    """Return the figures; None where this crirm has no such way (`placement` tells)."""
    try:
        engine = _engine(way, host)
    except UnknownOptionError:
        return None
    for number in range(containers):
        for event in _arrival(number, crowded):
            engine.apply(event)
    spent_ms: list[tuple[float, float]] = []
    released_ms: list[tuple[float, float]] = []
    collecting = _Collecting()
    gc.callbacks.append(collecting)
    events, began_s = 0, time.process_time()
    for number in range(containers, containers + MEASURED):
        leaves = EVERY_GUARANTEED * (number - containers) % containers if crowded else number
        for event in (*_arrival(number, crowded), ContainerExited(_key(leaves))):
            before_s = time.process_time()
            engine.apply(event)
            took_ms = (time.process_time() - before_s) * 1e3, collecting.take_ms()
            events += 1
            if isinstance(event, ContainerRequested):
                spent_ms.append(took_ms)
            elif isinstance(event, ContainerExited):
                released_ms.append(took_ms)
    rate = events / (time.process_time() - began_s)
    gc.callbacks.remove(collecting)
    placing = statistics.median(took for took, _ in spent_ms), *max(spent_ms)
    releasing = statistics.median(took for took, _ in released_ms), max(released_ms)[0]
    return Decisions(way.name, HOSTS[host], containers, crowded, *placing, *releasing, rate)


@attrs.define(eq=False)
class _Collecting:
    """Called by Python's garbage collector: sums up the CPU time it takes."""

    spent_s: float = 0.0
    _began_s: float = 0.0

    def __call__(self, phase: str, info: dict[str, int]) -> None:  # noqa: ARG002 - the interface
        if phase == "start":
            self._began_s = time.process_time()
        else:
            self.spent_s += time.process_time() - self._began_s

    def take_ms(self) -> float:
        """Return the time since the last call."""
        spent_s, self.spent_s = self.spent_s, 0.0
        return spent_s * 1e3


def _engine(way: Way, host: str) -> Engine:
    reserved = Constraints(reserved=CPUConstraint(millicpu=MilliCPU(2000)))
    return Engine(way.make(topology_of(parse_spec(host)), reserved))


def _key(number: int) -> ContainerKey:
    return ContainerKey(f"{number:08}")


def _arrival(number: int, crowded: bool) -> tuple[Event, ...]:
    """Return a pod of one container: most are Burstable and small, some Guaranteed, a few or all of those exclusive."""
    qos = QoSClass.BURSTABLE if number % EVERY_GUARANTEED else QoSClass.GUARANTEED
    cpu = MilliCPU(100 if number % EVERY_EXCLUSIVE else 1000) if number % 7 else MilliCPU(5)
    if crowded and qos is QoSClass.GUARANTEED:
        cpu = MilliCPU(1000 * (2 + number // EVERY_GUARANTEED * 5 % 8))
    pod = Pod(PodId(f"pod{number}"), f"uid{number}", f"web-{number}", "default", qos)
    asked = Requirements(cpu, cpu, Bytes(64 << 20), Bytes(64 << 20))
    container = Container(_key(number), pod.id, "main", ContainerState.CREATING, asked)
    key = container.key
    return (
        *(PodAdded(pod), ContainerRequested(container), ContainerCreated(key, ContainerId(f"id{number}"))),
        ContainerStarted(key),
    )


def table(rows: list[Decisions], box: Box) -> Table:
    """Return the figures as a table for people."""
    columns = ("decision ms", "worst ms", "collecting", "release ms", "worst ms", "events/s", "goal")
    shown = Table("policy", "CPUs", "containers", "crowded", *columns, title="Deciding", box=box)
    for row in rows:
        times = (row.median_ms, row.worst_ms, row.collecting_ms, row.release_ms, row.release_worst_ms)
        figures = (*(f"{time_ms:.2f}" for time_ms in times), f"{row.events_per_s:.0f}", row.verdict)
        shown.add_row(row.policy, str(row.cpus), str(row.containers), "yes" if row.crowded else "", *figures)
    return shown
