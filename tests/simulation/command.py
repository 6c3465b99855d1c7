"""The command line: seeds or minutes in, figures and failures out."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
import traceback
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from tests.simulation import clocks
from tests.simulation.generate import FAMILIES, STREAMS, busy, scenario_of
from tests.simulation.life import install
from tests.simulation.play import listen_to_logs, play
from tests.simulation.scenario import Scenario
from tests.simulation.shrink import shortest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.simulation.play import Result

LOG_SHOWN = 60
MOST_CPU_S = 60.0  # of one seed, of which others take half a second: time stands still in it


@attrs.define
class Totals:
    """What all runs together were."""

    runs: int = 0
    virtual_s: float = 0.0
    cpu_s: float = 0.0
    events: int = 0
    lives: int = 0
    starts: int = 0
    quiet: int = 0
    restarts: int = 0
    broken: Counter[str] = attrs.field(factory=Counter)
    first: dict[str, int] = attrs.field(factory=dict)

    def add(self, seed: int, result: Result) -> None:
        """Count one run."""
        self.runs += 1
        self.virtual_s += result.virtual_s
        self.cpu_s += result.cpu_s
        self.events += result.events
        self.lives += result.lives
        self.starts += result.starts
        self.quiet += result.quiet_moments
        self.restarts += result.restarts
        if result.violations:
            rule = result.violations[0].rule
            self.broken[rule] += 1
            self.first.setdefault(rule, seed)

    def __str__(self) -> str:
        cpu_s = max(self.cpu_s, 1e-9)
        lines = [
            (
                f"{self.runs} seeds, {sum(self.broken.values())} failed; {self.virtual_s / 3600:.1f} node-hours in "
                f"{self.cpu_s:.1f} CPU-seconds; {self.events} events, {self.events / cpu_s:.0f} per CPU-second; "
                f"{self.runs / cpu_s * 60:.0f} seeds per CPU-minute"
            ),
            (
                f"{self.lives} pod lives, {self.starts} starts of containers, {self.restarts} restarts of crirm, "
                f"{self.quiet} quiet moments checked"
            ),
        ]
        lines += [f"  {count:5} x {rule} (first: seed {self.first[rule]})" for rule, count in self.broken.most_common()]
        return "\n".join(lines)


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", default="0-99", help="one seed, or the first and the last, as 0-99")
    parser.add_argument("--minutes", type=float, help="of real time, from the first seed on")
    parser.add_argument("--busy", type=float, help="so many hours of a busy node on which nothing goes wrong, instead")
    parser.add_argument("--faults", help=f"only these, with commas: {', '.join([*FAMILIES, STREAMS])}")
    parser.add_argument("--rules", help="only these count, with commas; without it all of them")
    parser.add_argument("--play", type=Path, help="a file with a scenario, as --keep writes it")
    parser.add_argument("--keep", type=Path, help="a directory for the shortest sequences found")
    parser.add_argument("--log", action="store_true", help="show crirm's log of every failure")
    parser.add_argument("--keep-going", action="store_true", help="count failures, instead of stopping at the first")
    parser.add_argument(
        "--fingerprint", action="store_true", help="print a number of each run that stands for all of it"
    )
    parser.add_argument("--no-shrink", action="store_true", help="show failures as they are")
    return parser.parse_args(argv)


def _seeds(options: argparse.Namespace) -> Iterator[int]:
    first, _, last = options.seeds.partition("-")
    until_s = clocks.real_time() + options.minutes * 60 if options.minutes else None
    seed = int(first)
    while clocks.real_time() < until_s if until_s else seed <= int(last or first):
        yield seed
        seed += 1


def main(argv: Sequence[str]) -> int:
    """Play, and return 1 where something was found."""
    options = _arguments(argv)
    install()
    listen_to_logs()
    if options.play:
        scenario = Scenario.from_json(options.play.read_text())
        print(scenario)
        result = play(scenario)
        _show(result, log=True)
        return int(bool(result.violations))
    only = frozenset(one.strip() for one in options.faults.split(",")) if options.faults is not None else None
    watched = frozenset(one.strip() for one in options.rules.split(",")) if options.rules else None
    totals, shrunk = Totals(), set[str]()
    gc.disable()
    signal.signal(signal.SIGVTALRM, _stands_still)
    for seed in _seeds(options):
        scenario = busy(seed, options.busy) if options.busy else scenario_of(seed, only)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0 if options.busy else MOST_CPU_S)
        result = play(scenario, watched)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
        totals.add(seed, result)
        if options.fingerprint:
            print(f"seed {seed}: {zlib.crc32(repr((result.virtual_s, result.events, result.log)).encode()):08x}")
        if totals.runs % 5 == 0:
            gc.collect()
        if result.violations:
            rule = result.violations[0].rule
            if not options.keep_going or rule not in shrunk:
                _failed(scenario, result, options)
            shrunk.add(rule)
            if not options.keep_going:
                break
    print(totals)
    return int(bool(totals.broken))


def _stands_still(_signal: int, _frame: object) -> None:
    """End: something goes on and on at one moment, so that no check is ever reached."""
    print(f"time stands still at {clocks.monotonic_s() - clocks.BOOT_S:.3f} s of a seed; --fingerprint tells which:")
    traceback.print_stack(limit=12, file=sys.stdout)
    sys.stdout.flush()
    os._exit(1)


def _failed(scenario: Scenario, result: Result, options: argparse.Namespace) -> None:
    rule = result.violations[0].rule
    print(f"seed {scenario.seed}: {result.violations[0]}")
    if not options.no_shrink:
        scenario = shortest(scenario, rule)
        result = play(scenario, frozenset({rule}))
        print(f"the shortest sequence found, {len(scenario.steps)} steps:")
        print(scenario)
    _show(result, log=options.log)
    faults = f" --faults '{options.faults}'" if options.faults is not None else ""
    print(f"play it again: python -m tests.simulation --seeds {scenario.seed}{faults} --log")
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        file = options.keep / f"{rule.replace(' ', '-')}-{scenario.seed}.json"
        file.write_text(scenario.to_json())
        print(f"or: python -m tests.simulation --play {file}")
    print()


def _show(result: Result, *, log: bool) -> None:
    for line in result.log[-LOG_SHOWN:] if log else ():
        print(line)
    for violation in result.violations:
        print(f"  broken: {violation}")
