"""The figures that crirm is to reach, and whether it does."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import attrs

from bench.measure import POD_LIFE
from bench.plan import SMALL_CALL, list_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.measure import Measurement
    from bench.plan import Findings

_MIB = 1 << 20


class Verdict(enum.Enum):
    """Whether a figure was reached."""

    REACHED = "reached"
    MISSED = "missed"
    UNDECIDED = "undecided"  # the interval of what was measured holds the target, or the measurement is noise


@attrs.frozen
class Judged:
    """One figure beside its target.

    Args:
        runtime, name: of what.
        value, low, high: what was measured, with its 95 % interval; all the same where there is none.
        target: the most that it may be.
        unit: of all four.
    """

    runtime: str
    name: str
    value: float
    low: float
    high: float
    target: float
    unit: str

    @property
    def verdict(self) -> Verdict:
        """Whether *value* is within the target, as far as the interval lets us say."""
        if self.high < 0:
            return Verdict.UNDECIDED  # relaying does not make calls quicker: this is the noise of the machine
        if self.high <= self.target:
            return Verdict.REACHED
        return Verdict.MISSED if self.low > self.target else Verdict.UNDECIDED


def judge(findings: Findings) -> Iterator[Judged]:
    """Yield every figure of *findings* that has a target.

    What calls cost is judged wherever it was measured; a pod's life only where it is a real one.
    """
    for measurement in findings.measurements:
        for judge_one in _JUDGES.get(measurement.name, ()):
            if measurement.name != POD_LIFE or findings.runtime != "embedded":
                yield judge_one(measurement)
    yield _exactly(findings, "memory, idle", findings.idle.resident_bytes / _MIB, 80, "MiB")
    loaded = f"memory, after {findings.loaded_containers} containers, peak"
    yield _exactly(findings, loaded, findings.loaded.peak_bytes / _MIB, 150, "MiB")
    start = f"start to first answer, {findings.start_containers} containers"
    yield _exactly(findings, start, findings.start_s, 2, "s")


def _exactly(findings: Findings, name: str, value: float, target: float, unit: str) -> Judged:
    return Judged(findings.runtime, name, value, value, value, target, unit)


def _added(target_ms: float) -> Callable[[Measurement], Judged]:
    def judged(measurement: Measurement) -> Judged:
        times = measurement.times
        return Judged(
            measurement.runtime,
            f"{measurement.name}, added",
            times.added_ms,
            times.added_low_ms,
            times.added_high_ms,
            target_ms,
            "ms",
        )

    return judged


def _added_percent(target_percent: float) -> Callable[[Measurement], Judged]:
    def judged(measurement: Measurement) -> Judged:
        times = measurement.times
        value, low, high = (
            100 * ms / times.direct.median_ms for ms in (times.added_ms, times.added_low_ms, times.added_high_ms)
        )
        return Judged(measurement.runtime, f"{measurement.name}, added", value, low, high, target_percent, "%")

    return judged


def _blocked(target_ms: float) -> Callable[[Measurement], Judged]:
    """CPU time, not wall time: what other processes of the machine take is not the loop's."""

    def judged(measurement: Measurement) -> Judged:
        cpu_ms = measurement.longest_turn.cpu_ms
        name = f"{measurement.name}, longest turn of the event loop"
        return Judged(measurement.runtime, name, cpu_ms, cpu_ms, cpu_ms, target_ms, "ms")

    return judged


_JUDGES: dict[str, tuple[Callable[[Measurement], Judged], ...]] = {
    SMALL_CALL: (_added(1.0),),
    list_name(500): (_added(2.0), _blocked(5.0)),
    POD_LIFE: (_added_percent(2.0),),
}
