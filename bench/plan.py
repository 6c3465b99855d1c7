"""The rows on one runtime, which fills up on the way."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from bench.client import Client
from bench.measure import wait_until_quiet
from bench.rows import STAY_UP_TO, Amount, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.figures import Figure
    from bench.ways import Rig


def carry_out(rig: Rig, rows: Sequence[Row], amount: Amount, tell: Callable[[str], None]) -> list[Figure]:
    """Measure *rows*, which are in the order of `ROWS`, on the runtime of *rig*; *tell* is told what comes next."""
    figures: list[Figure] = []
    there = 0
    wanted = [row for row in rows if row.on_real or not rig.runtime.is_real]
    for (containers, placing), group in groupby(wanted, key=lambda row: (row.containers, row.placing)):
        if there < containers:
            tell(f"{rig.runtime.name}: {containers} containers")
            _fill(rig, there, containers)
            there = containers
        figures += _measure(rig, list(group), placing, amount, tell)
    return figures


def _measure(
    rig: Rig, rows: list[Row], placing: bool | None, amount: Amount, tell: Callable[[str], None]
) -> list[Figure]:
    figures: list[Figure] = []
    if placing is None:
        for row in rows:
            tell(f"{rig.runtime.name}: {row.key}")
            figures += row.measure(rig, [], amount)
        return figures
    with rig.open_ways(placing=placing) as ways:
        for way in ways:
            wait_until_quiet(way)
        for row in rows:
            tell(f"{rig.runtime.name}: {row.key}")
            figures += row.measure(rig, ways, amount)
    return figures


def _fill(rig: Rig, there: int, containers: int) -> None:
    """Add what is missing.

    A crirm that starts later finds it in the runtime's lists. Another proxy already runs and may never ask for them, so
    pods that stay are made through it.
    """
    pods = rig.runtime.pods
    stay = range(there, max(there, containers if rig.runtime.is_real is False and containers <= STAY_UP_TO else there))
    if stay:
        client = Client(rig.other.socket if rig.other else rig.runtime.socket)
        pods.stay(client, stay)
        client.close()
    if rest := range(max(there, stay.stop), containers):
        client = Client(rig.runtime.socket)
        pods.fill(client, rest)
        client.close()
