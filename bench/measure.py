"""The measurements: each goes through all ways in turn, round after round."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Final, TypeVar

from bench.client import Client
from bench.processes import cpu_s, memory_of, running
from bench.ways import DIRECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.pods import Kind, Pods
    from bench.processes import Memory
    from bench.ways import Build, Rig, Way

T = TypeVar("T")
Samples = dict[str, list[float]]

_WARM_UP: Final = 20
_LONGEST_S: Final = 40.0  # of one measurement; a slow machine gets by with fewer rounds
_BLOCK_ROUNDS: Final = 16  # a block of parallel calls is this many times as long as it is wide
_QUIET_MS: Final = 1.0  # of CPU time within a look: what runs by itself is done
_LOOK_S: Final = 0.02
_QUIET_WITHIN_S: Final = 2.0
_numbers: Iterator[int] = itertools.count(1_000_000)  # of pods that come and go; those that stay are below


def rounds(ways: Sequence[Way], times: int, do: Callable[[Way], T]) -> dict[str, list[T]]:
    """Do it on each way, *times* over or until the time is up; return what came out, by way.

    Each round begins with another way, and every other goes backwards: what comes second finds warmer caches.
    """
    results: dict[str, list[T]] = {way.name: [] for way in ways}
    until_s = time.monotonic() + _LONGEST_S
    for number in range(times):
        if number and time.monotonic() > until_s:
            break
        first = number % len(ways)
        order = [*ways[first:], *ways[:first]]
        for way in order if number // len(ways) % 2 == 0 else reversed(order):
            results[way.name].append(do(way))
    return results


def calls_ms(ways: Sequence[Way], method: str, times: int) -> tuple[Samples, Samples]:
    """Call *method*, each call waiting for its answer; return its times, and how long loops were away, both in ms."""
    for _, way in itertools.product(range(_WARM_UP), ways):
        way.client.call(method)
    for way in ways:
        if way.turns:
            way.turns.take()

    def call(way: Way) -> float:
        timings_s: list[float] = []
        way.client.timed(timings_s, method)
        return timings_s[0] * 1e3

    taken = rounds(ways, times, call)
    return taken, {way.name: [way.turns.take().cpu_ms] for way in ways if way.turns}


def blocks(ways: Sequence[Way], method: str, width: int, times: int) -> tuple[Samples, Samples]:
    """Call *method* with *width* calls in flight; return calls per second, and CPU ms per call of each proxy."""
    requests = [b""] * (width * _BLOCK_ROUNDS)

    def block(way: Way) -> tuple[float, float]:
        before_s = cpu_s(way.pid) if way.pid else 0.0
        burst = way.client.burst(method, requests, width)
        spent_s = cpu_s(way.pid) - before_s if way.pid else 0.0
        return burst.per_second, spent_s / burst.calls * 1e3

    rounds(ways, 2, block)
    taken = rounds(ways, times, block)
    per_second = {name: [speed for speed, _ in pairs] for name, pairs in taken.items()}
    return per_second, {name: [ms for _, ms in pairs] for name, pairs in taken.items() if name != DIRECT}


def lives_ms(ways: Sequence[Way], pods: Pods, kind: Kind, times: int) -> Samples:
    """Let pods live; return how long the seven calls of each took together, in ms."""

    def live(way: Way) -> float:
        taken_s = pods.live(way.client, next(_numbers), kind)
        wait_until_quiet(way)
        return taken_s * 1e3

    rounds(ways, 2, live)
    return rounds(ways, times, live)


def wait_until_quiet(way: Way) -> None:
    """Let a proxy finish what it does after a call: it would take the CPU from the next way."""
    if way.pid is None:
        return
    until_s = time.monotonic() + _QUIET_WITHIN_S
    before_s = cpu_s(way.pid)
    while time.monotonic() < until_s:
        time.sleep(_LOOK_S)
        now_s = cpu_s(way.pid)
        if (now_s - before_s) * 1e3 < _QUIET_MS:
            return
        before_s = now_s


def starts_s(rig: Rig, *, placing: bool, times: int) -> tuple[Samples, Samples]:
    """Start each crirm again and again; return the time and the CPU time to its first answer, in seconds."""
    taken: dict[str, list[tuple[float, float]]] = {build.name: [] for build in rig.builds}
    for build in rig.builds:
        _start_s(rig, build, placing=placing)  # compiles
    for _, build in itertools.product(range(times), rig.builds):
        taken[build.name].append(_start_s(rig, build, placing=placing))
    first, second = ({name: [pair[at] for pair in pairs] for name, pairs in taken.items()} for at in (0, 1))
    return first, second


def _start_s(rig: Rig, build: Build, *, placing: bool) -> tuple[float, float]:
    socket = rig.new_path(build, ".start.sock")
    command = build.serve(rig.runtime, socket, *rig.options(build, placing=placing))
    begun_s = time.monotonic()
    with running(*command) as pid:
        client = Client(socket)
        client.call("Version")
        taken_s, spent_s = time.monotonic() - begun_s, cpu_s(pid)
        client.close()
    return taken_s, spent_s


def idle_mib(rig: Rig, *, placing: bool, times: int) -> Samples:
    """Start each crirm, call it once, and return the memory that it holds, in MiB."""
    found: Samples = {build.name: [] for build in rig.builds}
    for _, build in itertools.product(range(times), rig.builds):
        socket = rig.new_path(build, ".idle.sock")
        with running(*build.serve(rig.runtime, socket, *rig.options(build, placing=placing))) as pid:
            client = Client(socket)
            client.call("Version")
            time.sleep(1.0)  # what it does by itself after the start
            found[build.name].append(memory_of(pid).resident_mib)
            client.close()
    return found


def memories(ways: Sequence[Way], method: str) -> dict[str, Memory]:
    """Call *method* a few times and return what each proxy holds."""
    for _, way in itertools.product(range(_WARM_UP), ways):
        way.client.call(method)
    return {way.name: memory_of(way.pid) for way in ways if way.pid}
