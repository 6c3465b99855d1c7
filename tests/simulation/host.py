"""The model machine: CPUs, and the cgroups of containers as the kernel has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.hardware import Hardware, Sight, hardware_of
from crirm.model.quantity import Bytes
from crirm.system.cgroup import Reading, Write
from crirm.system.cgroup_cpu import Quota, WeightFormula

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from crirm.model.topology import Topology
    from crirm.system.cgroup_files import CgroupError
    from crirm.system.cgroup_find import Place
    from tests.simulation.messages import Resources


@attrs.define
class Cgroup:
    """One container's: what was written into it; None where nothing was."""

    cpus: CPUSet | None = None
    mems: NodeSet | None = None
    weight: int = 39
    quota: Quota = attrs.field(factory=lambda: Quota(None))


@attrs.define
class Host:
    """The machine.

    Args:
        spec: in the language of ``crirm sim --host``.
        written: told of each container whose CPUs have changed.
    """

    spec: str
    written: Callable[[str], None] = lambda _: None
    topology: Topology = attrs.field(init=False)
    online: CPUSet = attrs.field(init=False)
    cgroups: dict[str, Cgroup] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """All CPUs are there at boot."""
        self.topology = topology_of(parse_spec(self.spec))
        self.online = self.topology.online

    def now(self) -> Topology:
        """Return the machine as it is now."""
        spec = parse_spec(self.spec)
        return topology_of(attrs.evolve(spec, offline=spec.offline | (self.topology.online - self.online)))

    def cpus_of(self, container: str) -> CPUSet:
        """Return where a container's processes may run: what was written, as far as it is there, or all."""
        wanted = self.cgroups[container].cpus
        return self.online if wanted is None else wanted & self.online or self.online

    def apply(self, container: str, resources: Resources) -> None:
        """Write what an OCI runtime writes; makes the cgroup where there is none."""
        cgroup = self.cgroups.setdefault(container, Cgroup())
        if resources.cpus:
            cgroup.cpus = CPUSet.parse(resources.cpus)
        if resources.mems:
            cgroup.mems = NodeSet.parse(resources.mems)
        if resources.shares:
            cgroup.weight = WeightFormula.QUADRATIC.weight(resources.shares)
        if resources.quota:
            cgroup.quota = Quota(resources.quota if resources.quota > 0 else None, resources.period or 100_000)
        self.written(container)


@attrs.frozen
class ModelSights:
    """Stands for ``crirm.daemon.placement.machine.HostSights``.

    Args:
        host: is looked at.
        pause: takes as long as a look does.
    """

    host: Host
    pause: Callable[[], Awaitable[None]]

    async def look(self, _parents: Collection[str]) -> Sight:
        """Return which CPUs are there; memory stays as it is."""
        await self.pause()
        return self._sight()

    async def read(self, _parents: Collection[str]) -> Hardware:
        """Return the machine as it is now."""
        await self.pause()
        return hardware_of(self.host.now(), self._sight())

    def _sight(self) -> Sight:
        return Sight((str(self.host.online),), Bytes(0))


@attrs.define
class ModelCgroups:
    """Stands for ``crirm.system.cgroup.Cgroups``."""

    host: Host
    _seen: dict[str, Reading] = attrs.field(factory=dict, init=False)

    def read(self, places: Sequence[Place]) -> list[Reading | CgroupError | None]:
        """Return what each container has; None for one without a cgroup."""
        return [self._read_and_keep(place.id) for place in places]

    def changed(self, part: int, parts: int) -> list[str]:
        """Return which of one part of the containers are not as they were read last."""
        found = []
        for container in list(self._seen)[part::parts]:
            reading = self._read(container)
            if reading is None:
                del self._seen[container]
            elif reading != self._seen[container]:
                found.append(container)
        return found

    def _read_and_keep(self, container: str) -> Reading | None:
        reading = self._read(container)
        if reading is None:
            self._seen.pop(container, None)
        else:
            self._seen[container] = reading
        return reading

    def _read(self, container: str) -> Reading | None:
        cgroup = self.host.cgroups.get(container)
        if cgroup is None:
            return None
        return Reading(
            cpus=self.host.cpus_of(container),
            mems=cgroup.mems or self.host.topology.memory_nodes,
            weight=cgroup.weight,
            quota=cgroup.quota,
            online_cpus=self.host.online,
            online_mems=self.host.topology.memory_nodes,
        )

    def write(self, place: Place, change: Write) -> bool:
        """Give a container what it is to have."""
        cgroup = self.host.cgroups.get(place.id)
        if cgroup is None:
            return False
        cgroup.cpus = cgroup.cpus if change.cpus is None else change.cpus
        cgroup.mems = cgroup.mems if change.mems is None else change.mems
        if change.shares is not None:
            cgroup.weight = change.formula.weight(change.shares)
        cgroup.quota = cgroup.quota if change.quota is None else change.quota
        self.host.written(place.id)
        return True
