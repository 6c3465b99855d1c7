"""Abuse at length: ``python -m tests.abuse``; the integration tests play a little of it each time."""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tests.abuse import broken_runtimes, floods, play
from tests.integration.support import Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

ACTS = ("mutations", "runtimes", "floods")


@click.command()
@click.option("--requests", default=22_000, show_default=True, help="How many mutated requests.")
@click.option("--seed", help="Of the mutations.")
@click.option("--flood-seconds", default=15.0, show_default=True, help="The most that a flood lasts.")
@click.option("--only", type=click.Choice(ACTS), help="One of the three.")
@click.option("--name", help="One broken runtime, or one flood.")
def main(requests: int, seed: str | None, flood_seconds: float, only: str | None, name: str | None) -> None:
    """Send crirm what nobody should, and tell what it and another caller made of it."""
    seed = seed or str(random.randrange(10**6))
    runtimes = [*broken_runtimes.GREETINGS, *broken_runtimes.ANSWERS]
    works = True
    if only in (None, "mutations"):
        works &= _act(lambda stage: [play.mutate(stage, requests, seed)])
    if only in (None, "runtimes"):
        works &= _act(lambda stage: play.break_down(stage, [n for n in runtimes if name in (None, n)]))
    if only in (None, "floods"):
        works &= _act(lambda stage: play.flood(stage, [n for n in floods.FLOODS if name in (None, n)], flood_seconds))
    sys.exit(0 if works else 1)


def _act(act: Callable[[Stage], Iterable[play.Outcome]]) -> bool:
    """Play; on failure the folder with the logs stays."""
    place, worst_ms = Path(tempfile.mkdtemp(prefix="crirm-abuse-")), 0.0
    stage = Stage(place)
    try:
        for outcome in act(stage):
            click.echo(str(outcome))
            worst_ms = max(worst_ms, outcome.others.p99_ms)
        click.echo(f"another caller's p99 was {worst_ms:.1f} ms at worst")
    except Exception:  # noqa: BLE001 - whatever it is, it is told, and the other acts are played
        click.echo(traceback.format_exc())
        click.echo(f"logs and state are in {place}")
        return False
    finally:
        with suppress(
            AssertionError
        ):  # what the embedded runtime makes of it is not at issue; crirm's log was looked at
            stage.close()
    shutil.rmtree(place)
    return True


if __name__ == "__main__":
    main()
