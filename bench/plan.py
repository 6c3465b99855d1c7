"""What is measured, how often, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from bench.measure import Measurement, in_parallel, one_by_one, pod_life, start_s
from bench.processes import Memory, memory_of
from bench.rig import Rig, Runtime, open_rig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL_CALL = "Version"
_POD = "full"


@attrs.frozen
class Plan:
    """How much is done, on a machine that is quick enough.

    Args:
        small_pairs: pairs of single small calls.
        blocks: pairs of blocks of parallel calls.
        widths: how many of those are in flight.
        lives: pairs of pod lives.
        list_sizes: numbers of containers, growing.
        list_pairs: pairs of calls for each.
        start_at: the number of containers with which the start is measured.
    """

    small_pairs: int
    blocks: int
    widths: tuple[int, ...]
    lives: int
    list_sizes: tuple[int, ...]
    list_pairs: int
    start_at: int


PLACED_LIFE = "pod life, placed"  # not judged: the target is for relaying
PLACING = ("--policy", "topology-aware", "--reserved-cpus", "750m", "--state-dir")  # a directory follows

QUICK = Plan(
    small_pairs=40,
    blocks=2,
    widths=(16, 64),
    lives=3,
    list_sizes=(10, 100),
    list_pairs=10,
    start_at=100,
)
FULL = Plan(
    small_pairs=3000,
    blocks=20,
    widths=(16, 64),
    lives=200,
    list_sizes=(10, 100, 500, 1500),
    list_pairs=300,
    start_at=500,
)


@attrs.frozen
class Findings:
    """Everything that was measured on one runtime."""

    runtime: str
    measurements: list[Measurement]
    idle: Memory
    loaded: Memory
    loaded_containers: int
    start_containers: int
    start_s: float


def carry_out(runtime: Runtime, plan: Plan, folder: Path, tell: Callable[[str], None]) -> Findings:
    """Measure *plan* on *runtime*; *tell* is told what comes next."""
    with open_rig(runtime, folder, *PLACING, str(folder / f"{runtime.name}.state")) as rig:
        tell("pod lives, placed")
        placed = pod_life(rig, plan.lives, PLACED_LIFE)
    with open_rig(runtime, folder) as rig:
        rig.relayed.call(SMALL_CALL)
        idle = memory_of(rig.crirm_pid)
        measurements = []
        tell("small calls")
        measurements.append(one_by_one(rig, SMALL_CALL, SMALL_CALL, plan.small_pairs))
        measurements += [
            in_parallel(rig, f"{width} in parallel", SMALL_CALL, width, plan.blocks) for width in plan.widths
        ]
        tell("pod lives")
        measurements += [pod_life(rig, plan.lives), placed]
        lists, start = _lists(rig, plan, folder, tell)
        return Findings(
            runtime=runtime.name,
            measurements=measurements + lists,
            idle=idle,
            loaded=memory_of(rig.crirm_pid),
            loaded_containers=plan.list_sizes[-1],
            start_containers=plan.start_at,
            start_s=start,
        )


def _lists(rig: Rig, plan: Plan, folder: Path, tell: Callable[[str], None]) -> tuple[list[Measurement], float]:
    """Fill the runtime step by step, and list what it has at each."""
    measurements: list[Measurement] = []
    start = 0.0
    there = 0
    for size in plan.list_sizes:
        tell(f"lists of {size} containers")
        rig.runtime.pods.fill(rig.direct, _POD, there, size)
        there = size
        measurements.append(one_by_one(rig, list_name(size), "ListContainers", plan.list_pairs))
        if size == plan.start_at:
            start = start_s(rig, folder)
    return measurements, start


def list_name(containers: int) -> str:
    """Return the name of the measurement that lists so many *containers*."""
    return f"ListContainers {containers}"
