"""Conversion between the state and the store's rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from crirm.daemon.placement.explained import Explained
from crirm.model.decision import Adjustment, Spent
from crirm.model.events import Timer
from crirm.model.record_json import RecordError, from_record, to_record
from crirm.model.workload import Container, ContainerKey, Pod, PodId, Workload
from crirm.policy.restore import Saved
from crirm.system.store_file import TABLES

if TYPE_CHECKING:
    from crirm.system.store import Rows

T = TypeVar("T")

NOTHING_KNOWN: Final[Rows] = {table: {} for table in TABLES}
"""The rows at a first start."""

View = dict[str, Mapping[Any, Any]]
"""Values by table and key, compared by identity first."""


def differences(written: View, view: View) -> tuple[dict[str, dict[str, str]], dict[str, list[str]]]:
    """Return the rows of *view* that differ from *written*, and the removed keys, by table."""
    put: dict[str, dict[str, str]] = {}
    gone: dict[str, list[str]] = {}
    for table, values in view.items():
        old = written.get(table, {})
        if old is values:
            continue
        put[table] = {
            key: text_of(value)
            for key, value in values.items()
            if old.get(key) is not value and (key not in old or old[key] != value)
        }
        gone[table] = [key for key in old if key not in values]
    return put, gone


def text_of(value: Any) -> str:
    """Return the row of *value*."""
    return json.dumps(to_record(value), separators=(",", ":"))


def read(rows: Rows) -> tuple[Saved, int]:
    """Return the state in *rows*, and how many of them are damaged."""
    damaged: list[str] = []
    whole = {table: _parsed(rows.get(table, {}), damaged) for table in TABLES if table not in {"meta", "trails"}}
    pods = _valid(Pod, whole["pods"], damaged)
    containers = _valid(Container, whole["containers"], damaged)
    saved = Saved(
        Workload(
            {PodId(pod): one for pod, one in pods.items()}, {ContainerKey(k): one for k, one in containers.items()}
        ),
        {ContainerKey(key): grant for key, grant in whole["grants"].items()},
        {ContainerKey(key): one for key, one in _valid(Adjustment, whole["told"], damaged).items()},
        _timers(whole["timers"], damaged),
        {ContainerKey(key): str(why) for key, why in whole["degraded"].items()},
        moved_in(rows),
    )
    return saved, len(damaged)


def on_time(saved: Saved, now_s: float, latest_s: float) -> Saved:
    """Return *saved* with timers no longer than before, even if the clock was set back.

    Args:
        saved: state of an earlier process.
        now_s: wall-clock time in seconds.
        latest_s: the latest wall-clock time that the earlier process recorded.
    """
    bounded = {
        timer: min(at_s, now_s + at_s - latest_s) if at_s > latest_s else at_s for timer, at_s in saved.timers.items()
    }
    return attrs.evolve(saved, timers=bounded)


def _parsed(rows: Mapping[str, str], damaged: list[str]) -> dict[str, Any]:
    values = {}
    for key, text in rows.items():
        try:
            values[key] = json.loads(text)
        except ValueError:
            damaged.append(key)
    return values


def _valid(kind: type[T], records: Mapping[str, Any], damaged: list[str]) -> dict[str, T]:
    values = {}
    for key, record in records.items():
        try:
            values[key] = from_record(kind, record)
        except RecordError:
            damaged.append(key)
    return values


def _timers(records: Mapping[str, Any], damaged: list[str]) -> dict[tuple[ContainerKey, Timer], float]:
    timers = {}
    for name, at_s in records.items():
        key, _, timer = name.rpartition(" ")
        if timer in Timer.__members__ and isinstance(at_s, int | float):
            timers[ContainerKey(key), Timer[timer]] = float(at_s)
        else:
            damaged.append(name)
    return timers


def moved_in(rows: Rows) -> tuple[Spent, ...]:
    """Return what an earlier process has moved."""
    records = _parsed(rows["meta"], []).get("moved", [])
    numbered = {str(number): one for number, one in enumerate(records)} if isinstance(records, list) else {}
    return tuple(sorted(_valid(Spent, numbered, []).values(), key=lambda one: one.at_s))


def generation_in(rows: Rows) -> int:
    """Return the number of earlier configurations."""
    text = _parsed(rows["meta"], []).get("generation", "0")
    return int(text) if isinstance(text, str) and text.isdecimal() else 0


def trails_in(rows: Rows) -> list[Explained]:
    """Return the trails of earlier decisions."""
    return list(_valid(Explained, _parsed(rows["trails"], []), []).values())
