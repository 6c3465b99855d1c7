"""Checks a configuration against a machine, before it becomes active."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import attrs

from crirm.config.cpus import AllCPUsBut, CgroupCPUs, CPUAmount, CPUs, ExactCPUs, resolve_cpus
from crirm.config.faults import Fault, in_order
from crirm.config.load import Loaded
from crirm.errors import CrirmError
from crirm.model.cpuset import CPUSet
from crirm.model.quantity import format_millicpu
from crirm.model.topology import Topology
from crirm.policy.registry import POLICIES

_AVAILABLE = "AvailableResources"
_RESERVED = "ReservedResources"

_NO_CGROUPS: Final[dict[str, CPUSet]] = {}

ReadCgroup = Callable[[str], CPUSet] | None


@attrs.frozen
class Verdict:
    """Faults of a configuration on a machine, and warnings; in the order of their lines."""

    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


def judge(loaded: Loaded, topology: Topology, read_cgroup: ReadCgroup) -> Verdict:
    """Check a configuration against a machine.

    Args:
        loaded: a valid configuration.
        topology: the machine.
        read_cgroup: returns the CPUs of the cgroup in a directory, raises CrirmError if they cannot be read; None
            for a synthetic machine, which has no cgroups.
    """
    judgement = _Judgement(loaded, topology, read_cgroup)
    judgement.judge_cpus()
    judgement.warnings += _unused_options(loaded)
    judgement.warnings += _unreachable_namespaces(loaded)
    judgement.warnings += _unused_classes(loaded)
    return Verdict(in_order(judgement.faults), in_order((*loaded.warnings, *judgement.warnings)))


class _Judgement:
    def __init__(self, loaded: Loaded, topology: Topology, read_cgroup: ReadCgroup) -> None:
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []
        self._loaded = loaded
        self._topology = topology
        self._read_cgroup = read_cgroup

    def judge_cpus(self) -> None:
        """Compare the available and the reserved CPUs with the machine and with each other."""
        available = self._resolved(self._loaded.config.available, _AVAILABLE)
        reserved = self._resolved(self._loaded.config.reserved, _RESERVED)
        if self.faults or reserved is None:
            return
        if isinstance(self._loaded.config.reserved, AllCPUsBut) and isinstance(reserved, ExactCPUs):
            reserved = ExactCPUs(reserved.cpus & self._usable(available))
        if isinstance(reserved, ExactCPUs):
            self._judge_reserved_cpus(reserved.cpus, available)
        else:
            self._judge_reserved_amount(reserved, available)

    def _judge_reserved_cpus(self, reserved: CPUSet, available: ExactCPUs | CPUAmount | None) -> None:
        if isinstance(available, ExactCPUs) and (outside := reserved - available.cpus):
            self._fault(_RESERVED, f"{_cpus(outside)} not in AvailableResources ({available.cpus}); add or remove them")
        if isinstance(available, CPUAmount) and 1000 * len(reserved) > available.millicpu:
            amount = format_millicpu(available.millicpu)
            self._fault(_RESERVED, f"reserves {len(reserved)} CPUs, but only {amount} are available; reserve fewer")
        if isolated := reserved & self._topology.isolated:
            self._fault(_RESERVED, f"{_cpus(isolated)} isolated by the kernel (isolcpus); reserve others")
        usable = self._usable(available)
        if usable and usable <= reserved:
            self._warn(_RESERVED, "reserves all available CPUs; none are left for ordinary containers")

    def _judge_reserved_amount(self, reserved: CPUAmount, available: ExactCPUs | CPUAmount | None) -> None:
        count = -(-reserved.millicpu // 1000)
        usable = self._usable(available) - self._topology.isolated
        room = min(len(usable), available.millicpu // 1000) if isinstance(available, CPUAmount) else len(usable)
        if count > room:
            self._fault(
                _RESERVED, f"reserves {count} CPUs, but only {room} are available and not isolated; reserve fewer"
            )
        elif count == room:
            self._warn(
                _RESERVED, "reserves all available CPUs that are not isolated; none are left for ordinary containers"
            )

    def _usable(self, available: ExactCPUs | CPUAmount | None) -> CPUSet:
        """Return the available online CPUs, or all candidates where only their number is set."""
        return available.cpus & self._topology.online if isinstance(available, ExactCPUs) else self._topology.online

    def _resolved(self, constraint: CPUs | None, option: str) -> ExactCPUs | CPUAmount | None:
        """Return the CPUs of the option, after checking them against the machine."""
        if isinstance(constraint, CgroupCPUs) and self._read_cgroup is None:
            self._warn(option, "not checked: a synthetic machine has no cgroups")
            return None
        try:
            resolved = resolve_cpus(constraint, self._read_cgroup or _NO_CGROUPS.__getitem__)
        except CrirmError as error:
            self._fault(option, str(error))
            return None
        match resolved:
            case AllCPUsBut(cpus):
                return self._without(cpus, option)
            case ExactCPUs(cpus):
                self._judge_cpus_alone(cpus, option)
            case CPUAmount(millicpu) if millicpu > 1000 * len(self._topology.online):
                amount, count = format_millicpu(millicpu), len(self._topology.online)
                self._fault(option, f"{amount} is more than the {count} online CPUs of this machine; lower it")
        return resolved

    def _without(self, excluded: CPUSet, option: str) -> ExactCPUs | None:
        """Return the CPUs that ``exclude-cpuset:`` leaves, after checking them."""
        machine = self._topology.online | self._topology.offline
        if beyond := excluded - machine:
            self._fault(option, f"{_cpus(beyond)} not in this machine, which has {machine}; remove them")
            return None
        left = self._topology.online - excluded
        if option == _RESERVED:
            left -= self._topology.isolated
        if not left:
            self._fault(option, f"excludes all CPUs of this machine, which has {machine}; exclude fewer")
            return None
        return ExactCPUs(left)

    def _judge_cpus_alone(self, cpus: CPUSet, option: str) -> None:
        machine = self._topology.online | self._topology.offline
        if beyond := cpus - machine:
            self._fault(option, f"{_cpus(beyond)} not in this machine, which has {machine}; remove them")
        elif not cpus & self._topology.online:
            self._fault(option, f"{_cpus(cpus)} offline, so none can be used; bring them online or name others")
        elif offline := cpus & self._topology.offline:
            self._warn(option, f"{_cpus(offline)} offline and not used")

    def _fault(self, option: str, reason: str) -> None:
        self.faults.append(self._loaded.fault(reason, "policy", option, "CPU"))

    def _warn(self, option: str, reason: str) -> None:
        self.warnings.append(self._loaded.fault(reason, "policy", option, "CPU"))


def _cpus(cpus: CPUSet) -> str:
    return f"CPU {cpus} is" if len(cpus) == 1 else f"CPUs {cpus} are"


def _unused_options(loaded: Loaded) -> Iterator[Fault]:
    active = loaded.config.policy_name
    for name, policy in POLICIES.items():
        if name != active and loaded.has(policy.section):
            yield loaded.fault(f"not used: the active policy is {active}", policy.section)
    constrained = (loaded.config.available, _AVAILABLE), (loaded.config.reserved, _RESERVED)
    if active == "none":
        for constraint, option in constrained:
            if constraint is not None:
                yield loaded.fault("not used: policy none places nothing", "policy", option)


def _unreachable_namespaces(loaded: Loaded) -> Iterator[Fault]:
    """A pattern has no effect after itself, or after one that matches everything."""
    name = loaded.config.policy_name
    patterns: tuple[str, ...] = getattr(loaded.config.policy_options, "reserved_pool_namespaces", ())
    for place, pattern in enumerate(patterns):
        before = [one for one in patterns[:place] if one in {pattern, "*"}]
        if before:
            reason = f"has no effect: {before[0]!r} before it matches the same namespaces"
            yield loaded.fault(reason, f"policy.{name}", "ReservedPoolNamespaces", place)


def _unused_classes(loaded: Loaded) -> Iterator[Fault]:
    """CPU classes that are defined but used by no pool, or used but not defined; other classes are chosen by pods."""
    pools = {name: value for name, value in loaded.config.later.items() if name.startswith("policy.")}
    used = {one for value in pools.values() for one in _values_of(value, ("cpuclass", "idlecpuclass"))}
    section: Mapping[str, Any] = loaded.config.later.get("cpu", {})
    classes = [value for key, value in section.items() if key.casefold() == "classes" and isinstance(value, dict)]
    defined = {name for value in classes for name in value}
    for name in sorted(defined - used):
        yield loaded.fault(f"CPU class {name!r} is not used by any pool", "cpu", "classes", name)
    for name in sorted(used - defined):
        yield Fault(f"a pool uses CPU class {name!r}, which is not defined", "$.cpu.classes")


def _values_of(value: Any, keys: tuple[str, ...]) -> Iterator[str]:
    """Yield the strings below any of *keys*, in any case, anywhere in *value*."""
    match value:
        case dict():
            for key, inner in value.items():
                if key.casefold() in keys and isinstance(inner, str) and inner:
                    yield inner
                else:
                    yield from _values_of(inner, keys)
        case list():
            for inner in value:
                yield from _values_of(inner, keys)
