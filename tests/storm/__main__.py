"""The storm at length: ``python -m tests.storm --kills 1000``; the tests play a few lives of it each time."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import click

from crirm.launcher.containerd import find_installed
from tests.storm.machines import Machine, real_machine
from tests.storm.quick_start import QuickStage
from tests.storm.storm import Figures, Storm
from tests.trio_thread import open_trio_thread

if TYPE_CHECKING:
    from crirm.launcher.containerd import Installation
    from tests.integration.support import Stage

EACH = 50  # kills on one machine
POLICIES = {"embedded": ("static", "topology-aware"), "containerd": ("static",)}


@click.command()
@click.option("--kills", default=1000, show_default=True, help="How often crirm is killed.")
@click.option("--runtime", type=click.Choice(list(POLICIES)), default="embedded", help="The real one needs root.")
@click.option("--seed", help="Of what is called when; the instants depend on the machine as well.")
def main(kills: int, runtime: str, seed: str | None) -> None:
    """Kill crirm at random instants under a storm of calls, and check after each what must hold."""
    seed = seed or str(random.randrange(10**6))
    figures, number, begun_s = Figures(), 0, time.monotonic()
    while figures.kills < kills:
        policy = POLICIES[runtime][number % len(POLICIES[runtime])]
        where = f"--runtime {runtime} --seed {seed}, machine {number}, policy {policy}"
        works = play(runtime, policy, f"{seed}-{number}", min(EACH, kills - figures.kills), figures)
        click.echo(f"{where}: {attrs.asdict(figures)} in {time.monotonic() - begun_s:.0f} s")
        if not works:
            sys.exit(1)
        number += 1


def play(runtime: str, policy: str, seed: str, kills: int, figures: Figures) -> bool:
    """Play on one machine; on failure its folder stays."""
    place = Path(tempfile.mkdtemp(prefix="crirm-storm-"))
    try:
        with ExitStack() as stack:
            stage = QuickStage(place)
            stack.callback(stage.close)
            Storm(machine(runtime, stage, policy, stack), seed, figures).rage(kills)
    except Exception:  # noqa: BLE001 - whatever it is, the seed belongs to it
        click.echo(traceback.format_exc())
        click.echo(f"logs and state are in {place}")
        return False
    shutil.rmtree(place)
    return True


def machine(runtime: str, stage: Stage, policy: str, stack: ExitStack) -> Machine:
    """Start the runtime."""
    if runtime == "embedded":
        return Machine(stage, policy)
    return real_machine(stage, policy, installed(), stack.enter_context(open_trio_thread()))


def installed() -> Installation:
    """Return the containerd of this machine."""
    found = find_installed()
    if found is None:
        sys.exit("containerd and runc are not installed: apt-get install containerd runc busybox-static")
    return found


if __name__ == "__main__":
    main()
