"""``crirm journal``: events on this node, and what was decided about them."""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from datetime import datetime
from typing import Final

import attrs
import click

from crirm.cli.printing import say, screen_width
from crirm.cli.tables import wrapped
from crirm.daemon.places import STATE_DIR
from crirm.errors import UsageError, visible
from crirm.model.cpuset import CPUSet
from crirm.system.journal_entry import Entry  # noqa: TC001 - see `line`
from crirm.system.journal_file import Sought, journal_pages, kinds
from crirm.system.store_reading import StoreError

LOOK_EVERY_S: Final = 0.5
UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")


@click.command()
@click.option(
    "--state-dir", metavar="PATH", default=STATE_DIR, show_default=True, help="State directory of the daemon."
)
@click.option("--pod", metavar="NAME", default="", help="Only this pod: namespace/name, or either of the two.")
@click.option("--container", metavar="NAME", default="", help="Only containers with this name.")
@click.option(
    "--cpu", metavar="CPUS", default="", help="Only where one of these CPUs was assigned or released: 3, or 0-3,8."
)
@click.option("--kind", metavar="KIND", default="", help="Only events of this kind, such as requested or exited.")
@click.option("--since", metavar="TIME", default="", help="Only from then on: an age such as 15m, or 2026-01-31T12:00.")
@click.option("--until", metavar="TIME", default="", help="Only up to then.")
@click.option("--follow", "-f", is_flag=True, help="Keep printing new entries until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object per line.")
def command(*, state_dir: str, since: str, follow: bool, as_json: bool, **filters: str) -> None:
    """Show the events of pods and containers, and what was decided about them, oldest first.

    The journal is read from the daemon's state directory; the daemon need not be running. JSON adds the generation of
    the configuration, the machine, and the CPUs that were assigned or released.
    """
    now_s = time.time()
    sought = chosen(**filters, since=since, now_s=now_s)
    last, shown = _show(state_dir, sought, 0, as_json=as_json)
    if sought.kind and not shown and sought.kind not in (known := kinds(state_dir)):
        say(f"no entry is of kind {sought.kind}; there are: {', '.join(known) or 'none'}", err=True)
    while follow:
        time.sleep(LOOK_EVERY_S)
        with suppress(StoreError):  # the daemon has just renamed a damaged file
            last, _ = _show(state_dir, sought, last, as_json=as_json)


def _show(state_dir: str, sought: Sought, last: int, *, as_json: bool) -> tuple[int, int]:
    """Print the entries sought after number *last*; return the number of the last one, and how many were printed."""
    width, shown = screen_width(), 0
    for number, found in journal_pages(state_dir, sought, last):
        last, shown = number, shown + len(found)
        entries = [entry for _, entry in found]
        if as_json:
            lines = [json.dumps(attrs.asdict(entry)) for entry in entries]
        else:
            lines = [part for entry in entries for part in wrapped(line(entry), width)]
        if lines:
            click.echo("\n".join(lines))
    return last, shown


def moment_s(option: str, text: str, now_s: float) -> float:
    """Return the wall-clock time in seconds that *text* denotes: an age before now, or a date and time.

    Raises:
        UsageError: it is neither.
    """
    age = _AGE.fullmatch(text)
    if age is not None:
        return now_s - float(age[1]) * UNITS_S[age[2]]
    try:
        return datetime.fromisoformat(text).timestamp()  # without a zone: local time, as the journal is shown
    except ValueError as error:
        raise UsageError(f"{option} {text}: expected an age (30s, 15m, 2h, 1d) or a time (2026-01-31T12:00)") from error


def _cpus(text: str) -> CPUSet:
    try:
        return CPUSet.parse(text)
    except ValueError as error:
        raise UsageError(f"--cpu {text}: {error}") from error


def chosen(*, pod: str, container: str, cpu: str, kind: str, since: str, until: str, now_s: float) -> Sought:
    """Return which entries to show; an empty option matches all.

    Raises:
        UsageError: an option is malformed.
    """
    return Sought(
        pod,
        container,
        kind,
        _cpus(cpu),
        moment_s("--since", since, now_s) if since else 0.0,
        moment_s("--until", until, now_s) if until else None,
    )


def line(entry: Entry) -> str:
    """Return *entry* as a line of text."""
    when = datetime.fromtimestamp(entry.at_s).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    name = "/".join(filter(None, (entry.pod, entry.container)))
    return visible("  ".join(filter(None, (when, f"{entry.kind:<16}", name, entry.outcome))))
