"""The measurements: each alternates between the direct and the relayed way and watches crirm meanwhile."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import TYPE_CHECKING

import attrs

from bench.client import Burst, Client
from bench.pods import STEPS
from bench.processes import CRIRM, cpu_s, running
from bench.rig import serve_arguments
from bench.stats import Comparison, compare, compare_blocks
from bench.turns import LongestTurn  # noqa: TC001 - attrs resolves field types at run time

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.rig import Rig

POD_LIFE = "pod life"
_WARM_UP = 20
_LONGEST_S = 40.0  # of one measurement; a slow machine gets by with fewer pairs
_BLOCK_ROUNDS = 8  # a block of parallel calls is this many times as long as it is wide


@attrs.frozen
class Measurement:
    """What one kind of call costs on one runtime.

    Args:
        runtime, name: of what.
        calls: how many relayed calls it was measured with.
        times: of one call, or of one pod's life.
        cpu_ms: CPU time of crirm per relayed call.
        longest_turn: of crirm's event loop during the measurement.
        reply_bytes: size of the answer, where it is always the same.
        direct_per_second, relayed_per_second: throughput, of parallel calls.
        step_added_ms: for a pod's life, the added time of each of its calls.
    """

    runtime: str
    name: str
    calls: int
    times: Comparison
    cpu_ms: float
    longest_turn: LongestTurn
    reply_bytes: int | None = None
    direct_per_second: float | None = None
    relayed_per_second: float | None = None
    step_added_ms: dict[str, float] | None = None


def one_by_one(rig: Rig, name: str, method: str, pairs: int) -> Measurement:
    """Call *method* directly and relayed in turn, each waiting for its answer."""
    direct_s: list[float] = []
    relayed_s: list[float] = []

    def direct() -> None:
        rig.direct.timed(direct_s, method)

    def relayed() -> None:
        rig.relayed.timed(relayed_s, method)

    for _ in range(_WARM_UP):
        reply = rig.relayed.call(method)
        rig.direct.call(method)
    watch = Watch(rig)
    in_turn(direct, relayed, pairs)
    measurement = watch.report(name, len(relayed_s), compare(direct_s, relayed_s))
    return attrs.evolve(measurement, reply_bytes=len(reply))


def in_parallel(rig: Rig, name: str, method: str, width: int, blocks: int) -> Measurement:
    """Call *method* with *width* calls in flight, in blocks that are direct and relayed in turn."""
    requests = [b""] * (width * _BLOCK_ROUNDS)
    direct: list[Burst] = []
    relayed: list[Burst] = []
    rig.direct.burst(method, requests, width)
    rig.relayed.burst(method, requests, width)
    watch = Watch(rig)
    in_turn(
        lambda: direct.append(rig.direct.burst(method, requests, width)),
        lambda: relayed.append(rig.relayed.burst(method, requests, width)),
        blocks,
    )
    times = compare_blocks([burst.each_s for burst in direct], [burst.each_s for burst in relayed])
    return attrs.evolve(
        watch.report(name, len(relayed) * len(requests), times),
        direct_per_second=statistics.median(burst.per_second for burst in direct),
        relayed_per_second=statistics.median(burst.per_second for burst in relayed),
    )


def pod_life(rig: Rig, pairs: int, name: str = POD_LIFE) -> Measurement:
    """Let pods live, directly and relayed in turn."""
    numbers = itertools.count()
    direct: list[list[float]] = []
    relayed: list[list[float]] = []
    pods = rig.runtime.pods
    pods.live(rig.relayed, "warm-up")
    watch = Watch(rig)
    in_turn(
        lambda: direct.append(pods.live(rig.direct, f"life-{next(numbers)}")),
        lambda: relayed.append(pods.live(rig.relayed, f"life-{next(numbers)}")),
        pairs,
    )
    times = compare([sum(steps) for steps in direct], [sum(steps) for steps in relayed])
    by_step = zip(STEPS, zip(*direct, strict=True), zip(*relayed, strict=True), strict=True)
    added_ms = {step: compare(before, after).added_ms for step, before, after in by_step}
    return attrs.evolve(watch.report(name, len(relayed) * len(STEPS), times), step_added_ms=added_ms)


def start_s(rig: Rig, folder: Path) -> float:
    """Return the seconds from the start of one more crirm in front of the runtime to its first answer."""
    socket = folder / "start.sock"
    begun_s = time.monotonic()
    with running([CRIRM, *serve_arguments(rig.runtime, socket)], socket):
        client = Client(socket)
        client.call("Version")
        taken_s = time.monotonic() - begun_s
        client.close()
    return taken_s


def in_turn(first: Callable[[], None], second: Callable[[], None], times: int) -> None:
    """Do both, *times* over or until the time is up, now the one and now the other first.

    What comes second finds warmer caches.
    """
    until_s = time.monotonic() + _LONGEST_S
    for number in range(times):
        if time.monotonic() > until_s:
            return
        for do in (first, second) if number % 2 == 0 else (second, first):
            do()


class Watch:
    """crirm's side of a measurement that begins now."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        rig.turns.take()
        self._cpu_s = cpu_s(rig.crirm_pid)

    def report(self, name: str, calls: int, times: Comparison) -> Measurement:
        """End it."""
        return Measurement(
            runtime=self._rig.runtime.name,
            name=name,
            calls=calls,
            times=times,
            cpu_ms=(cpu_s(self._rig.crirm_pid) - self._cpu_s) / calls * 1e3,
            longest_turn=self._rig.turns.take(),
        )
