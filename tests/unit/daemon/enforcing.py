"""An in-memory kernel and a small node for tests of the enforcer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec

import attrs
import trio

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.decision import Adjustment, State
from crirm.model.qos import QoSClass
from crirm.model.resources import LinuxResources, Requirements
from crirm.model.workload import Container, ContainerId, ContainerKey, ContainerState, Pod, PodId, Workload
from crirm.system.cgroup import Reading

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from crirm.system.cgroup import Write
    from crirm.system.cgroup_files import CgroupError
    from crirm.system.cgroup_find import Place

P = ParamSpec("P")

POD = Pod(PodId("p"), "uid-p", "web", "shop", QoSClass.BURSTABLE, cgroup_parent="/kubepods/burstable/poduid-p")
ONLINE = Reading(online_cpus=CPUSet.parse("0-7"), online_mems=NodeSet.parse("0-1"))
ASKED = LinuxResources(cpu_shares=512, cpu_quota_us=20_000, cpu_period_us=100_000)


def container(name: str, state: ContainerState = ContainerState.RUNNING, **more: Any) -> Container:
    made = Container(
        ContainerKey(name), POD.id, name, state, Requirements(), resources=ASKED, id=ContainerId(f"id-{name}")
    )
    return attrs.evolve(made, **more)


def node(*containers: Container, **cpus: str) -> State:
    """Return the state in which each of *containers* is to have CPUs 0-1, or what *cpus* says."""
    adjustments = {c.key: Adjustment(cpus=CPUSet.parse(cpus.get(c.key, "0-1"))) for c in containers}
    workload = Workload({POD.id: POD}, {c.key: c for c in containers})
    return State(workload, None, adjustments=adjustments, told=adjustments)


class FakeKernel:
    """What the kernel has for each container id, and all that was asked of it."""

    def __init__(self, **readings: Reading | CgroupError | None) -> None:
        self.readings = {f"id-{name}": reading for name, reading in readings.items()}
        self.seen: dict[str, Reading | CgroupError | None] = {}
        self.glances = False  # whether they show anything; what is looked at once a round has to be found without too
        self.reads: list[list[str]] = []
        self.writes: list[tuple[str, Write]] = []
        self.read_takes_s = self.write_takes_s = 0.0
        self.refusal: CgroupError | None = None
        self.before_write: Callable[[], None] = lambda: None
        self.after_write: Callable[[], None] = lambda: None

    async def read(self, places: Sequence[Place]) -> Sequence[Reading | CgroupError | None]:
        self.reads.append([place.id for place in places])
        found = [self.readings.get(place.id) for place in places]
        self.seen.update(zip((place.id for place in places), found, strict=True))
        await trio.sleep(self.read_takes_s)
        return found

    async def changed(self, part: int, parts: int) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        known = sorted(self.seen)[part::parts] if self.glances else []
        return [name for name in known if self.seen[name] != self.readings.get(name)]

    async def write(self, place: Place, change: Write) -> bool:
        self.writes.append((place.id, change))
        await trio.sleep(self.write_takes_s)
        self.before_write()
        if self.refusal is not None:
            raise self.refusal
        before = self.readings.get(place.id)
        if not isinstance(before, Reading):
            return False
        self.readings[place.id] = attrs.evolve(
            before,
            cpus=before.cpus if change.cpus is None else change.cpus,
            shares=before.shares if change.shares is None else change.shares,
            follows=True if change.follow else before.follows,
        )
        self.after_write()
        return True

    def readings_by_name(self) -> list[str]:
        """The names of containers that have a cgroup."""
        return [name.removeprefix("id-") for name in self.readings]

    def drifts(self, name: str, cpus: str) -> None:
        """Somebody writes to a container's cgroup."""
        before = self.readings[f"id-{name}"]
        assert isinstance(before, Reading)
        self.readings[f"id-{name}"] = attrs.evolve(before, cpus=CPUSet.parse(cpus))


def having(cpus: str) -> Reading:
    """Return a reading with these CPUs, and what `ASKED` asks for."""
    return attrs.evolve(ONLINE, cpus=CPUSet.parse(cpus), mems=NodeSet.of(0), shares=512)
