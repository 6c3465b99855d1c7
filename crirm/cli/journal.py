"""``crirm journal``: what has happened on this node and what was decided about it."""

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
@click.option("--state-dir", metavar="PATH", default=_DEFAULT_DIR, show_default=True, help="Of the daemon.")
@click.option("--pod", metavar="NAME", default="", help="Only of this pod: namespace/name, or either of them.")
@click.option("--container", metavar="NAME", default="", help="Only of containers of this name.")
@click.option("--cpu", metavar="CPUS", default="", help="Only where one of these CPUs was given or taken: 3, or 0-3,8.")
@click.option("--since", metavar="TIME", default="", help="Only from then on: an age such as 15m, or 2026-01-31T12:00.")
@click.option("--until", metavar="TIME", default="", help="Only up to then.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens from now on, until interrupted.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, one object a line.")
def command(*, state_dir: str, since: str, follow: bool, as_json: bool, **filters: str) -> None:
    """Show what has happened to pods and containers, and what was decided about it, in the order in which it happened.

    It reads the file that the daemon writes, whether the daemon runs or not. JSON has more: the generation of the
    configuration, the machine, and the CPUs that were given or taken.
    """
    now_s = time.time()
    since_s = moment_s("--since", since, now_s) if since else 0.0
    wanted = chosen(**filters, now_s=now_s)
    last = 0
    for number, entry in read_journal(state_dir, last, since_s):
        last = _show(number, entry, wanted, as_json=as_json)
    while follow:
        time.sleep(LOOK_EVERY_S)
        with suppress(StoreError):  # the daemon has just set a damaged file aside
            for number, entry in read_journal(state_dir, last, since_s):
                last = _show(number, entry, wanted, as_json=as_json)


def _show(number: int, entry: Entry, wanted: Callable[[Entry], bool], *, as_json: bool) -> int:
    if wanted(entry):
        click.echo(json.dumps(attrs.asdict(entry)) if as_json else line(entry))
    return number


def moment_s(option: str, text: str, now_s: float) -> float:
    """Return the wall-clock time in seconds that *text* means: an age before now, or a date and time.

    Raises:
        UsageError: it means none.
    """
    age = _AGE.fullmatch(text)
    if age is not None:
        return now_s - float(age[1]) * UNITS_S[age[2]]
    try:
        return datetime.fromisoformat(text).timestamp()  # without a zone: local time, as the journal is shown
    except ValueError as error:
        raise UsageError(f"{option} {text}: neither an age (30s, 15m, 2h, 1d) nor a time (2026-01-31T12:00)") from error


def _cpus(text: str) -> CPUSet:
    try:
        return CPUSet.parse(text)
    except ValueError as error:
        raise UsageError(f"--cpu {text}: {error}") from error


def chosen(*, pod: str, container: str, cpu: str, until: str, now_s: float) -> Callable[[Entry], bool]:
    """Return the test for entries that are to be shown; an empty option shows all.

    Raises:
        UsageError: an option that means nothing.
    """
    cpus, until_s = _cpus(cpu), moment_s("--until", until, now_s) if until else math.inf

    def wanted(entry: Entry) -> bool:
        in_pod = not pod or pod == entry.pod or pod in entry.pod.split("/")
        in_container = not container or container in {entry.container, entry.key}
        touched = not cpus or not cpus.isdisjoint(CPUSet.parse(entry.cpus))
        return in_pod and in_container and touched and entry.at_s <= until_s

    return wanted


def line(entry: Entry) -> str:
    """Return *entry* for people."""
    when = datetime.fromtimestamp(entry.at_s).astimezone().strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    name = "/".join(filter(None, (entry.pod, entry.container)))
    return visible("  ".join(filter(None, (when, f"{entry.kind:<16}", name, entry.outcome))))
