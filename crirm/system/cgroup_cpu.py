"""The CPU weight and limit of a cgroup, on both versions of the interface.

CRI uses the shares of v1. Runtimes convert them to the weight of v2 by one of two formulas, depending on their release,
so both results are correct, and only existing weights show which one is in use.
"""

from __future__ import annotations

import enum
import math
from typing import TYPE_CHECKING, Final

import attrs

from crirm.system.cgroup_cpuset import enable
from crirm.system.cgroup_files import CgroupError, Files, Trouble

if TYPE_CHECKING:
    from pathlib import Path

    from crirm.system.cgroup_find import Cgroup

MIN_SHARES: Final = 2
MAX_SHARES: Final = 262144
_US_PER_S: Final = 1_000_000
_SYSTEMD_STEP_US: Final = 10_000
_NO_LIMIT_V2: Final = "max"


class WeightFormula(enum.Enum):
    """How a runtime turns shares (2..262144) into a weight (1..10000)."""

    QUADRATIC = "quadratic"  # runc since 1.3.2, crun since 1.23
    LINEAR = "linear"

    def weight(self, shares: int) -> int:
        """Return the weight for *shares*; values out of range count as the nearest one in it.

        Source: opencontainers/cgroups, ConvertCPUSharesToCgroupV2Value; runc before 1.3.2, the same function.
        """
        shares = min(max(shares, MIN_SHARES), MAX_SHARES)
        if self is WeightFormula.LINEAR:
            return 1 + (shares - 2) * 9999 // 262142
        if shares in {MIN_SHARES, MAX_SHARES}:
            return 1 if shares == MIN_SHARES else 10000
        octaves = math.log2(shares)
        return math.ceil(10 ** ((octaves * octaves + 125 * octaves) / 612 - 7 / 34))


@attrs.frozen
class Quota:
    """A CPU limit.

    Args:
        quota_us: microseconds of CPU time per period; None for no limit.
        period_us: microseconds.
    """

    quota_us: int | None
    period_us: int = 100_000

    def __str__(self) -> str:
        return "no limit" if self.quota_us is None else f"{self.quota_us} us in {self.period_us} us"

    @property
    def us_per_s(self) -> float:
        """CPU time per second; infinite for no limit."""
        return math.inf if self.quota_us is None else self.quota_us * _US_PER_S // self.period_us

    def is_met_by(self, found: Quota) -> bool:
        """Whether *found* is this limit, or what systemd makes of it: it rounds up to whole percents of a CPU.

        Source: runc, addCpuQuota (CPUQuotaPerSecUSec).
        """
        if self.quota_us is None or found.quota_us is None:
            return self.quota_us is found.quota_us
        rounded = -(-self.quota_us * _US_PER_S // self.period_us // _SYSTEMD_STEP_US) * _SYSTEMD_STEP_US
        return found.us_per_s in {self.us_per_s, rounded}


class CpuV1:
    """Shares and quota of cgroup v1."""

    def __init__(self, files: Files, root: Path) -> None:
        self._files = files
        self._root = root

    def shares(self, cgroup: Cgroup) -> int | None:
        """Return its ``cpu.shares``, or None if it is gone."""
        return _number(self._files, self._root / cgroup.own / "cpu.shares")

    def weight(self, cgroup: Cgroup) -> int | None:  # noqa: ARG002 - v2 needs it
        """There is none."""
        return None

    def quota(self, cgroup: Cgroup) -> Quota | None:
        """Return its limit, or None if it is gone."""
        folder = self._root / cgroup.own
        quota_us = _number(self._files, folder / "cpu.cfs_quota_us")
        period_us = _number(self._files, folder / "cpu.cfs_period_us")
        if quota_us is None or period_us is None:
            return None
        return Quota(quota_us if quota_us >= 0 else None, period_us)

    def write_shares(self, cgroup: Cgroup, shares: int, formula: WeightFormula) -> None:  # noqa: ARG002 - v2 needs it
        """Set ``cpu.shares``."""
        self._files.write(self._root / cgroup.own / "cpu.shares", str(shares))

    def write_quota(self, cgroup: Cgroup, quota: Quota) -> None:
        """Set the limit; for a moment there is none, since quota and period cannot be changed together."""
        folder = self._root / cgroup.own
        self._files.write(folder / "cpu.cfs_quota_us", "-1")
        self._files.write(folder / "cpu.cfs_period_us", str(quota.period_us))
        if quota.quota_us is not None:
            self._files.write(folder / "cpu.cfs_quota_us", str(quota.quota_us))


class CpuV2:
    """Weight and limit of cgroup v2."""

    def __init__(self, files: Files, root: Path) -> None:
        self._files = files
        self._root = root

    def shares(self, cgroup: Cgroup) -> int | None:  # noqa: ARG002 - v1 needs it
        """There are none."""
        return None

    def weight(self, cgroup: Cgroup) -> int | None:
        """Return the weight by which it competes with other containers; None without the controller."""
        return _number(self._files, self._root / cgroup.own / "cpu.weight")

    def quota(self, cgroup: Cgroup) -> Quota | None:
        """Return the tightest limit that holds for its processes; None without the controller."""
        limits = [self._limit(self._root / folder) for folder in {cgroup.own, cgroup.of_processes}]
        return min((limit for limit in limits if limit is not None), key=lambda q: q.us_per_s, default=None)

    def write_shares(self, cgroup: Cgroup, shares: int, formula: WeightFormula) -> None:
        """Set the weight that *formula* makes of *shares*."""
        self._write(self._root / cgroup.own, "cpu.weight", str(formula.weight(shares)))

    def write_quota(self, cgroup: Cgroup, quota: Quota) -> None:
        """Set the limit, wherever there is one."""
        value = f"{_NO_LIMIT_V2 if quota.quota_us is None else quota.quota_us} {quota.period_us}"
        self._write(self._root / cgroup.own, "cpu.max", value)
        if cgroup.inner is not None and self._files.read(self._root / cgroup.inner / "cpu.max") is not None:
            self._write(self._root / cgroup.inner, "cpu.max", value)

    def _limit(self, folder: Path) -> Quota | None:
        text = self._files.read(folder / "cpu.max")
        if text is None:
            return None
        try:
            quota, period = text.split()
            return Quota(None if quota == _NO_LIMIT_V2 else int(quota), int(period))
        except ValueError as error:
            raise CgroupError(Trouble.UNREADABLE, folder / "cpu.max", "", f"holds {text!r}") from error

    def _write(self, folder: Path, name: str, value: str) -> None:
        if not (folder / name).is_file():
            enable(self._files, self._root, folder, "cpu")
        self._files.write(folder / name, value)


def _number(files: Files, path: Path) -> int | None:
    text = files.read(path)
    try:
        return None if text is None else int(text)
    except ValueError as error:
        raise CgroupError(Trouble.UNREADABLE, path, "", f"expected a number, found {text!r}") from error
