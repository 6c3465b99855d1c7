"""The assignment of a container, its cgroup settings, and their differences; pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

from crirm.model.cpuset import CPUSet, NodeSet  # noqa: TC001 - attrs resolves field types at run time
from crirm.model.decision import UNADJUSTED, Adjustment, State
from crirm.model.resources import DEFAULT_PERIOD_US, LinuxResources
from crirm.model.workload import ContainerState
from crirm.system.cgroup_cpu import Quota, WeightFormula
from crirm.system.cgroup_find import Place

if TYPE_CHECKING:
    from crirm.model.workload import Container, ContainerKey
    from crirm.system.cgroup import Reading

_HAVING_A_CGROUP = frozenset({ContainerState.CREATED, ContainerState.RUNNING})


class Value(enum.Enum):
    """A setting that can differ; the value is its name for people."""

    CPUS = "CPUs"
    MEMS = "memory nodes"
    SHARES = "CPU shares"
    WEIGHT = "CPU weight"
    QUOTA = "CPU limit"


@attrs.frozen
class Difference:
    """One setting that differs from the assignment."""

    value: Value
    wanted: str
    found: str

    def __str__(self) -> str:
        return f"{self.value.value} {self.found} instead of {self.wanted}"


@attrs.frozen
class Drift:
    """A container whose cgroup differs, or differed, from the decision.

    Args:
        differences: found last.
        present: whether they exist now; otherwise the container is only watched for new drift.
        count: how often the container was found to have drifted.
        repairs: how often it was repaired.
        since_s: wall-clock time of the first drift.
        trouble: why the last repair failed; empty if it succeeded, or was not tried.
    """

    differences: tuple[Difference, ...]
    present: bool
    count: int
    repairs: int
    since_s: float
    trouble: str = ""

    def __str__(self) -> str:
        return ", ".join(str(difference) for difference in self.differences)


@attrs.frozen
class Wanted:
    """The settings that a container should have; None for unspecified ones.

    Args:
        place: of its cgroup.
        cpus: on which its processes should run.
        mems: from which they should allocate memory.
        shares: weight of its CPU time, 2..262144.
        quota: its CPU limit.
    """

    place: Place
    cpus: CPUSet | None = None
    mems: NodeSet | None = None
    shares: int | None = None
    quota: Quota | None = None


def wanted_of(state: State, key: ContainerKey) -> Wanted | None:
    """Return the settings that container *key* should have; None while they are unknown or crirm does not manage it.

    A container with an assignment should have all its values: those assigned, and otherwise those that the kubelet
    requested. During a resize it is uncertain whether the old or the new ones apply.
    """
    container, adjustment = state.workload.containers.get(key), state.adjustments.get(key)
    if container is None or container.id is None or container.state not in _HAVING_A_CGROUP:
        return None
    if adjustment in {None, UNADJUSTED} or key in state.resizing:
        return None
    assert adjustment is not None  # noqa: S101 - the line above, which mypy does not follow
    parent = state.workload.pods[container.pod].cgroup_parent
    return Wanted(
        place=Place(parent, container.id, search=container.state is ContainerState.RUNNING),
        cpus=adjustment.cpus or None,
        mems=adjustment.mems or None,
        shares=_shares(adjustment, container),
        quota=_quota(adjustment, container.resources),
    )


def differences(wanted: Wanted, found: Reading) -> tuple[Difference, ...]:
    """Return how *found* differs from *wanted*, as far as the host reports it."""
    pairs = [
        _set_difference(Value.CPUS, wanted.cpus, found.cpus, found.online_cpus),
        _set_difference(Value.MEMS, wanted.mems, found.mems, found.online_mems),
        _shares_difference(wanted.shares, found),
        _quota_difference(wanted.quota, found.quota),
    ]
    return tuple(difference for difference in pairs if difference is not None)


def formula_in_use(wanted: Wanted, found: Reading) -> WeightFormula | None:
    """Return by which formula the runtime converted shares to *found*'s weight, if that is evident."""
    if wanted.shares is None or found.weight is None:
        return None
    fitting = [formula for formula in WeightFormula if formula.weight(wanted.shares) == found.weight]
    return fitting[0] if len(fitting) == 1 else None


def _shares(adjustment: Adjustment, container: Container) -> int | None:
    return container.resources.cpu_shares or None if adjustment.cpu_shares is None else adjustment.cpu_shares


def _quota(adjustment: Adjustment, resources: LinuxResources) -> Quota | None:
    quota_us = resources.cpu_quota_us if adjustment.cpu_quota_us is None else adjustment.cpu_quota_us
    if quota_us == 0:
        return None
    return Quota(quota_us if quota_us > 0 else None, resources.cpu_period_us or DEFAULT_PERIOD_US)


def _set_difference(
    value: Value, wanted: CPUSet | NodeSet | None, found: CPUSet | NodeSet | None, online: CPUSet | NodeSet | None
) -> Difference | None:
    """Missing CPUs or nodes that are offline are no drift, unless nothing else is wanted."""
    if wanted is None or found is None:
        return None
    mask = wanted.mask if online is None else wanted.mask & online.mask or wanted.mask
    return None if found.mask == mask else Difference(value, str(wanted), str(found) or "none")


def _shares_difference(wanted: int | None, found: Reading) -> Difference | None:
    if wanted is None:
        return None
    if found.shares is not None and found.shares != wanted:
        return Difference(Value.SHARES, str(wanted), str(found.shares))
    weights = sorted({formula.weight(wanted) for formula in WeightFormula})
    if found.weight is not None and found.weight not in weights:
        return Difference(Value.WEIGHT, " or ".join(map(str, weights)), str(found.weight))
    return None


def _quota_difference(wanted: Quota | None, found: Quota | None) -> Difference | None:
    if wanted is None or found is None or wanted.is_met_by(found):
        return None
    return Difference(Value.QUOTA, str(wanted), str(found))
