"""The storm at length: ``python -m tests.storm --kills 1000``; the tests play a few lives of it each time."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import attrs

from crirm.sim.containerd import find_installed
from tests.integration.support import Stage
from tests.storm.machines import Machine, real_machine
from tests.storm.storm import Figures, Storm
from tests.trio_thread import open_trio_thread

EACH = 50  # kills on one machine
POLICIES = {"embedded": ("static", "topology-aware"), "containerd": ("static",)}


def main() -> int:
    """Play it, and print what was seen."""
    options = arguments()
    seed = options.seed or str(random.randrange(10**6))
    figures, number, begun_s = Figures(), 0, time.monotonic()
    while figures.kills < options.kills:
        policy = POLICIES[options.runtime][number % len(POLICIES[options.runtime])]
        where = f"--runtime {options.runtime} --seed {seed}, machine {number}, policy {policy}"
        if not play(options.runtime, policy, f"{seed}-{number}", min(EACH, options.kills - figures.kills), figures):
            print(f"{where}: after {figures} see above", flush=True)
            return 1
        number += 1
        print(f"{where}: {attrs.asdict(figures)} in {time.monotonic() - begun_s:.0f} s", flush=True)
    return 0


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.storm", description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="how often crirm is killed")
    parser.add_argument("--runtime", choices=POLICIES, default="embedded", help="containerd needs root and the real one")
    parser.add_argument("--seed", help="of what is called when; the instants depend on the machine as well")
    return parser.parse_args()


def play(runtime: str, policy: str, seed: str, kills: int, figures: Figures) -> bool:
    """Play on one machine; on failure its folder stays."""
    place = Path(tempfile.mkdtemp(prefix="crirm-storm-"))
    try:
        with ExitStack() as stack:
            stage = Stage(place)
            stack.callback(stage.close)
            Storm(machine(runtime, stage, policy, stack), seed, figures).rage(kills)
    except Exception:  # noqa: BLE001 - whatever it is, the seed belongs to it
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type] # there is one
        print(f"logs and state are in {place}", flush=True)
        return False
    shutil.rmtree(place)
    return True


def machine(runtime: str, stage: Stage, policy: str, stack: ExitStack) -> Machine:
    """Start the runtime."""
    if runtime == "embedded":
        return Machine(stage, policy)
    installation = find_installed()
    if installation is None:
        sys.exit("containerd and runc are not installed: apt-get install containerd runc busybox-static")
    return real_machine(stage, policy, installation, stack.enter_context(open_trio_thread()))


sys.exit(main())
