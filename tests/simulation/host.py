"""The model machine: CPUs, and the cgroups of containers as the kernel has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.system.cgroup import Change, Reading
from crirm.system.cgroup_cpu import Quota, WeightFormula

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
        topology: as it was at boot.
        written: told of each container whose CPUs have changed.
    """

    topology: Topology
    written: Callable[[str], None] = lambda _: None
    online: CPUSet = attrs.field(init=False)
    cgroups: dict[str, Cgroup] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        """All CPUs of the topology are there."""
        self.online = self.topology.online

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


@attrs.define
class ModelCgroups:
    """Stands for ``crirm.system.cgroup.Cgroups``."""

    host: Host

    def read(self, places: Sequence[Place]) -> list[Reading | CgroupError | None]:
        """Return what each container has; None for one without a cgroup."""
        return [self._read(place.id) for place in places]

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

    def write(self, place: Place, change: Change) -> bool:
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
