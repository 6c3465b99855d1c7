"""A policy on a machine that no longer has what the policy needs, such as any reserved CPU.

No policy can be made for such a machine under the configuration in force. The one made last goes on deciding then, but
of all that it gives away only what is there is given: nobody runs on CPUs that are gone. Whoever would have none left,
as kube-system without its reserved CPUs, runs on all CPUs that nobody has to itself. Exclusive CPUs that are not all
there are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from crirm.model.cpuset import CPUSet, NodeSet
from crirm.model.decision import Adjustment
from crirm.model.refusal import RefusalCode, RefusedError
from crirm.model.workload import Container, ContainerKey, Workload
from crirm.policy.api import Json, Placement, Policy, Restored


@attrs.frozen(eq=False)
class NarrowedPolicy(Policy):
    """Gives away what of another policy's gifts is there, and moves nobody who need not be moved.

    Args:
        inner: the policy made last.
        cpus: that are there.
        mems: memory nodes that are there.
        why: no policy can be made for these, one sentence.
    """

    inner: Policy
    cpus: CPUSet
    mems: NodeSet
    why: str

    @property
    def name(self) -> str:
        """As in the configuration."""
        return self.inner.name

    @property
    def heeds_keep(self) -> bool:
        """See `Policy`; what has vanished nobody can keep."""
        return True

    def initial(self) -> Any:
        """See `Policy`."""
        return self.inner.initial()

    def allocate(self, state: Any, workload: Workload, container: Container) -> Placement:
        """See `Policy`; what is to be its own has to be there."""
        return self._whole(self.inner.allocate(state, workload, container), container.key)

    def release(self, state: Any, workload: Workload, key: ContainerKey) -> Placement:
        """See `Policy`."""
        return self._narrowed(self.inner.release(state, workload, key))

    def resize(self, state: Any, workload: Workload, container: Container) -> Placement:
        """See `Policy`; what is to be its own has to be there."""
        return self._whole(self.inner.resize(state, workload, container), container.key)

    def fits(self, state: Any, workload: Workload, container: Container, *, resize: bool = False) -> bool:
        """See `Policy`; what is to be its own has to be there."""
        return Policy.fits(self, state, workload, container, resize=resize)

    def started(self, state: Any, workload: Workload, key: ContainerKey) -> Placement:
        """See `Policy`."""
        return self._narrowed(self.inner.started(state, workload, key))

    def expired(self, state: Any, workload: Workload, key: ContainerKey) -> Placement:
        """See `Policy`."""
        return self._narrowed(self.inner.expired(state, workload, key))

    def exclusive(self, state: Any) -> Mapping[ContainerKey, CPUSet]:
        """See `Policy`."""
        there = {key: cpus & self.cpus for key, cpus in self.inner.exclusive(state).items()}
        return {key: cpus for key, cpus in there.items() if cpus}

    def save(self, state: Any) -> Mapping[ContainerKey, Json]:
        """See `Policy`."""
        return self.inner.save(state)

    def restore(self, saved: Mapping[ContainerKey, Json], workload: Workload) -> Restored:
        """See `Policy`."""
        found = self.inner.restore(saved, workload)
        return attrs.evolve(found, adjustments=self._there(found.state, found.adjustments))

    def _whole(self, placement: Placement, key: ContainerKey) -> Placement:
        if not self.inner.exclusive(placement.state).get(key, CPUSet()) <= self.cpus:
            what = "its exclusive CPUs are offline and the machine no longer fits the configuration"
            raise RefusedError(RefusalCode.EXCLUSIVE_CPUS_OFFLINE, f"{what}: {self.why}")
        return self._narrowed(placement)

    def _narrowed(self, placement: Placement) -> Placement:
        return attrs.evolve(placement, changed=self._there(placement.state, placement.changed))

    def _there(self, state: Any, given: Mapping[ContainerKey, Adjustment]) -> dict[ContainerKey, Adjustment]:
        free = self.cpus - CPUSet.union(self.exclusive(state).values()) if given else self.cpus
        return {key: self._one(adjustment, free or self.cpus) for key, adjustment in given.items()}

    def _one(self, given: Adjustment, free: CPUSet) -> Adjustment:
        cpus = None if given.cpus is None else given.cpus & self.cpus or free
        mems = None if given.mems is None else given.mems & self.mems or self.mems
        return attrs.evolve(given, cpus=cpus, mems=mems)
