"""How a configuration names CPUs, or how many.

    cpuset:0-3,8        these, in Linux list format; ``cpuset:`` may be left out where there is a dash or a comma
    exclude-cpuset:0-3  all but these: of the online CPUs, or for reserved CPUs of the available and not isolated ones
    750m, 2, 1.5        so many, as a Kubernetes quantity, or as a number
    cgroup:DIR          those of the cgroup DIR; ``cgroup:`` may be left out where DIR begins with a slash

The CPUs of a cgroup are in a file, so that form stays symbolic until code that may read files resolves it.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil
from typing import assert_never

import attrs

from crirm.config.faults import ValueFault, kind_of
from crirm.errors import quoted
from crirm.model.cpuset import CPUSet, ListFormatError
from crirm.model.quantity import MilliCPU, QuantityError, format_millicpu, parse_millicpu


@attrs.frozen
class ExactCPUs:
    """These CPUs."""

    cpus: CPUSet

    def __str__(self) -> str:
        return f"cpuset:{self.cpus}"


@attrs.frozen
class AllCPUsBut:
    """All CPUs but these."""

    cpus: CPUSet

    def __str__(self) -> str:
        return f"exclude-cpuset:{self.cpus}"


@attrs.frozen
class CPUAmount:
    """So many CPUs, in thousandths."""

    millicpu: MilliCPU

    def __str__(self) -> str:
        return format_millicpu(self.millicpu)


@attrs.frozen
class CgroupCPUs:
    """The CPUs of a cgroup, by its directory: an absolute one, or one below the mount of the hierarchy."""

    directory: str

    def __str__(self) -> str:
        return f"cgroup:{self.directory}"


ResolvedCPUs = ExactCPUs | AllCPUsBut | CPUAmount
CPUs = ExactCPUs | AllCPUsBut | CPUAmount | CgroupCPUs


def parse_cpus(value: object) -> CPUs:
    """Parse a constraint.

    Args:
        value: from a file: a string, or a number of CPUs.

    Raises:
        ValueFault: it is not a valid constraint.
    """
    match value:
        case bool():
            raise ValueFault(f"expected CPUs such as cpuset:0-3 or an amount such as 2, found {kind_of(value)}")
        case int() | float():
            return _amount(str(value), ceil(Fraction(value) * 1000))
        case str():
            return _parse_text(value.strip())
        case _:
            raise ValueFault(f"expected CPUs such as cpuset:0-3 or an amount such as 2, found {kind_of(value)}")


def _parse_text(text: str) -> CPUs:
    qualifier, colon, rest = text.partition(":")
    if text.startswith("/"):
        return CgroupCPUs(text)
    if not colon:
        return _exact(text) if "-" in text or "," in text else _quantity(text)
    match qualifier:
        case "cpuset":
            return _exact(rest)
        case "exclude-cpuset":
            return AllCPUsBut(_exact(rest).cpus)
        case "cgroup" if rest:
            return CgroupCPUs(rest)
        case "cgroup":
            raise ValueFault("cgroup: needs a directory, such as cgroup:/sys/fs/cgroup/system.slice")
        case _:
            raise ValueFault(
                f"unknown prefix {quoted(qualifier)}; write cpuset:LIST, exclude-cpuset:LIST, cgroup:DIR or an amount"
            )


def _exact(text: str) -> ExactCPUs:
    try:
        cpus = CPUSet.parse(text)
    except ListFormatError as error:
        raise ValueFault(str(error)) from None
    if not cpus:
        raise ValueFault("the CPU list is empty; name at least one, such as cpuset:0")
    return ExactCPUs(cpus)


def _quantity(text: str) -> CPUAmount:
    if not text:
        raise ValueFault("the value is empty; write a list such as cpuset:0-3 or an amount such as 750m")
    try:
        return _amount(text, parse_millicpu(text))
    except QuantityError as error:
        raise ValueFault(f"{error}, or a list of CPUs such as cpuset:0-3") from None


def _amount(text: str, millicpu: int) -> CPUAmount:
    if millicpu <= 0:
        raise ValueFault(f"expected an amount of CPUs above zero, such as 750m or 2, found {text}")
    return CPUAmount(MilliCPU(millicpu))


def resolve_cpus(constraint: CPUs | None, read_cgroup: Callable[[str], CPUSet]) -> ResolvedCPUs | None:
    """Return *constraint* with a cgroup replaced by its CPUs.

    Args:
        constraint: as configured; None: not set.
        read_cgroup: returns the CPUs of the cgroup in a directory; raises CrirmError if they cannot be read.
    """
    match constraint:
        case CgroupCPUs(directory):
            return ExactCPUs(read_cgroup(directory))
        case ExactCPUs() | AllCPUsBut() | CPUAmount() | None:
            return constraint
        case _:
            assert_never(constraint)
