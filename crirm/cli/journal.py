"""``crirm journal``: events on this node, and what was decided about them."""

from __future__ import annotations

import json
import math
import re
import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final

import attrs
import click

from crirm.cli.printing import say
from crirm.daemon.settings import Settings
from crirm.errors import UsageError, visible
from crirm.model.cpuset import CPUSet
from crirm.system.store import Entry, read_journal
from crirm.system.store_file import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

LOOK_EVERY_S: Final = 0.5
UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGE = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_DEFAULT_DIR: Final = attrs.fields_dict(Settings)["state_dir"].default


@click.command()
@click.option(
    "--state-dir", metavar="PATH", default=_DEFAULT_DIR, show_default=True, help="State directory of the daemon."
)
@click.option("--pod", metavar="NAME", default="", help="Only this pod: namespace/name, or either of the two.")
@click.option("--container", metavar="NAME", default="", help="Only containers with this name.")
@click.option(
    "--cpu", metavar="CPUS", default="", help="Only where one of these CPUs was assigned or released: 3, or 0-3,8."
)
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
    since_s = moment_s("--since", since, now_s) if since else 0.0
    wanted = chosen(**filters, now_s=now_s)
    last = 0
    for number, entry in read_journal(state_dir, last, since_s):
        last = _show(number, entry, wanted, as_json=as_json)
    while follow:
        time.sleep(LOOK_EVERY_S)
        with suppress(StoreError):  # the daemon has just renamed a damaged file
            for number, entry in read_journal(state_dir, last, since_s):
                last = _show(number, entry, wanted, as_json=as_json)


def _show(number: int, entry: Entry, wanted: Callable[[Entry], bool], *, as_json: bool) -> int:
    if wanted(entry):
        if as_json:
            click.echo(json.dumps(attrs.asdict(entry)))
        else:
            say(line(entry))
    return number


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


def chosen(*, pod: str, container: str, cpu: str, until: str, now_s: float) -> Callable[[Entry], bool]:
    """Return a predicate for the entries to show; an empty option matches all.

    Raises:
        UsageError: an option is malformed.
    """
    cpus, until_s = _cpus(cpu), moment_s("--until", until, now_s) if until else math.inf

    def wanted(entry: Entry) -> bool:
        in_pod = not pod or pod == entry.pod or pod in entry.pod.split("/")
        in_container = not container or container in {entry.container, entry.key}
        touched = not cpus or not cpus.isdisjoint(CPUSet.parse(entry.cpus))
        return in_pod and in_container and touched and entry.at_s <= until_s

    return wanted


def line(entry: Entry) -> str:
    """Return *entry* as a line of text."""
    when = datetime.fromtimestamp(entry.at_s).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    name = "/".join(filter(None, (entry.pod, entry.container)))
    return visible("  ".join(filter(None, (when, f"{entry.kind:<16}", name, entry.outcome))))
