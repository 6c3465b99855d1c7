"""The rows of the benchmark: what is measured, with how many containers there, and what is to be reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from bench import measure
from bench.figures import AtMost, Figure, OfFigure, OfOther, Target
from bench.pods import Kind
from bench.ways import DIRECT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.measure import Samples
    from bench.ways import Rig, Way

SMALL_CALL: Final = "Version"
LIST: Final = "ListContainers"
PLACED_EMPTY: Final = "pod life placed, empty node"
EVERYWHERE: Final = None


@attrs.frozen
class Amount:
    """How much is done, on a machine that is quick enough: rounds, each through all ways."""

    calls: int
    blocks: int
    lives: int
    lists: int
    starts: int


QUICK: Final = Amount(calls=60, blocks=3, lives=5, lists=8, starts=1)
FULL: Final = Amount(calls=3000, blocks=40, lives=150, lists=300, starts=9)


@attrs.frozen
class Row:
    """One thing to measure.

    Args:
        key: its name on the command line.
        containers: how many there are on the runtime meanwhile.
        measure: does it; the ways are those that `placing` asks for.
        placing: whether crirm has a policy that places; None: it starts crirm itself and needs no way.
        on_real: also measured on a runtime that runs containers.
    """

    key: str
    containers: int
    measure: Callable[[Rig, Sequence[Way], Amount], list[Figure]]
    placing: bool | None
    on_real: bool = False


def _figure(rig: Rig, name: str, unit: str, samples: Samples, target: Target | None = None) -> Figure:
    return Figure(rig.runtime.name, name, unit, samples, target)


def _version(rig: Rig, ways: Sequence[Way], amount: Amount) -> list[Figure]:
    taken, _ = measure.calls_ms(ways, SMALL_CALL, amount.calls)
    return [
        _figure(rig, SMALL_CALL, "ms", taken),
        _figure(rig, f"{SMALL_CALL}, added", "ms", _added(taken), OfOther(0.5)),
    ]


def _parallel(width: int, cpu_target: Target | None) -> Callable[[Rig, Sequence[Way], Amount], list[Figure]]:
    def row(rig: Rig, ways: Sequence[Way], amount: Amount) -> list[Figure]:
        per_second, cpu_ms = measure.blocks(ways, SMALL_CALL, width, amount.blocks)
        return [
            _figure(rig, f"{width} in parallel", "calls/s", per_second, OfOther(1.6, at_least=True)),
            _figure(rig, f"{width} in parallel, CPU per call", "ms", cpu_ms, cpu_target),
        ]

    return row


def _list(containers: int, target: Target | None) -> Callable[[Rig, Sequence[Way], Amount], list[Figure]]:
    def row(rig: Rig, ways: Sequence[Way], amount: Amount) -> list[Figure]:
        name = f"{LIST} {containers}"
        taken, turns = measure.calls_ms(ways, LIST, amount.lists)
        to_direct = {
            way: [one / direct for one, direct in zip(times, taken[DIRECT], strict=True)]
            for way, times in taken.items()
            if way != DIRECT
        }
        return [
            _figure(rig, name, "ms", taken),
            _figure(rig, f"{name}, to direct", "times", to_direct, target),
            _figure(rig, f"{name}, longest turn of the loop, CPU", "ms", turns, AtMost(5)),
        ]

    return row


def _life(
    name: str, target: Target | None, kind: Kind = Kind.SMALL
) -> Callable[[Rig, Sequence[Way], Amount], list[Figure]]:
    def row(rig: Rig, ways: Sequence[Way], amount: Amount) -> list[Figure]:
        taken = measure.lives_ms(ways, rig.runtime.pods, kind, amount.lives)
        if not rig.runtime.is_real:
            return [_figure(rig, name, "ms", taken, target)]
        added = {
            way: [100 * (one - direct) / direct for one, direct in zip(times, taken[DIRECT], strict=True)]
            for way, times in taken.items()
            if way != DIRECT
        }
        return [_figure(rig, name, "ms", taken), _figure(rig, f"{name}, added", "%", added, AtMost(2))]

    return row


def _start(name: str, target_s: float, *, placing: bool) -> Callable[[Rig, Sequence[Way], Amount], list[Figure]]:
    def row(rig: Rig, _: Sequence[Way], amount: Amount) -> list[Figure]:
        taken_s, spent_s = measure.starts_s(rig, placing=placing, times=amount.starts)
        return [
            _figure(rig, f"start to serving, {name}", "s", taken_s, AtMost(target_s)),
            _figure(rig, f"start to serving, {name}, CPU", "s", spent_s),
        ]

    return row


def _idle(policy: str, *, placing: bool) -> Callable[[Rig, Sequence[Way], Amount], list[Figure]]:
    def row(rig: Rig, _: Sequence[Way], amount: Amount) -> list[Figure]:
        found = measure.idle_mib(rig, placing=placing, times=min(amount.starts, 3))
        return [_figure(rig, f"memory idle, {policy}", "MiB", found, AtMost(40))]

    return row


def _loaded(rig: Rig, ways: Sequence[Way], _: Amount) -> list[Figure]:
    found = measure.memories(ways, LIST)
    resident = {name: [memory.resident_mib] for name, memory in found.items()}
    peak = {name: [memory.peak_mib] for name, memory in found.items()}
    return [
        _figure(rig, "memory, 1500 containers", "MiB", resident, AtMost(75)),
        _figure(rig, "memory, 1500 containers, peak", "MiB", peak),
    ]


def _added(taken: Samples) -> Samples:
    return {
        way: [one - direct for one, direct in zip(times, taken[DIRECT], strict=True)]
        for way, times in taken.items()
        if way != DIRECT
    }


ROWS: Final = (
    Row("start", 0, _start("none, empty", 0.25, placing=False), None),
    Row("start-placing", 0, _start("topology-aware, empty", 0.25, placing=True), None),
    Row("memory-idle", 0, _idle("none", placing=False), None),
    Row("memory-idle-placing", 0, _idle("topology-aware", placing=True), None),
    Row("version", 0, _version, placing=False, on_real=True),
    Row("16", 0, _parallel(16, None), placing=False, on_real=True),
    Row("64", 0, _parallel(64, AtMost(0.03)), placing=False, on_real=True),
    Row("life", 0, _life("pod life, none", OfOther(0.4)), placing=False, on_real=True),
    Row("placed-empty", 0, _life(PLACED_EMPTY, OfOther(1)), placing=True, on_real=True),
    Row("placed-100", 100, _life("pod life placed, 100 pods", OfFigure(1.2, PLACED_EMPTY)), placing=True),
    Row("exclusive-200", 200, _life("pod life exclusive, 200 pods", AtMost(12), Kind.EXCLUSIVE), placing=True),
    Row("start-500", 500, _start("topology-aware, 500 containers", 0.6, placing=True), None),
    Row("list-500", 500, _list(500, None), placing=False, on_real=True),
    Row("list-1500", 1500, _list(1500, AtMost(1.7)), placing=False, on_real=True),
    Row("memory-1500", 1500, _loaded, placing=True),
)
"""In the order of how many containers they need; `carry_out` relies on it."""
STAY_UP_TO: Final = 200
"""So many containers are pods of their own that run; what comes on top is only created."""
