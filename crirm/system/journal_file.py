"""Reading the journal of the store, while the daemon writes to it or when none runs; nothing is changed.

SQLite finds the entries, and they are read a few at a time: it looks through 300,000 entries in less time than Python
takes to start, and a reader that a pager holds back must not keep the log of the store from being emptied.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from crirm.model.cpuset import NO_CPUS, CPUSet
from crirm.system.journal_entry import COLUMNS, Entry
from crirm.system.store_reading import FILE, StoreError, read_only

if TYPE_CHECKING:
    from collections.abc import Iterator

AT_ONCE: Final = 500  # entries; SQLite before 3.32 takes 999 values in a query


@attrs.frozen
class Sought:
    """Which entries are sought; an empty value matches all.

    Args:
        pod: ``namespace/name``, or either of the two.
        container: its name, or crirm's key.
        kind: of event.
        cpus: one of these was assigned or released.
        since_s: wall-clock time.
        until_s: likewise; None: no end.
    """

    pod: str = ""
    container: str = ""
    kind: str = ""
    cpus: CPUSet = NO_CPUS
    since_s: float = 0.0
    until_s: float | None = None


EVERYTHING: Final = Sought()


def read_journal(directory: str, after: int = 0, since_s: float = 0.0) -> list[tuple[int, Entry]]:
    """Return all entries with their numbers, oldest first; see `journal_pages`."""
    pages = journal_pages(directory, Sought(since_s=since_s), after)
    return [found for _, page in pages for found in page]


def journal_pages(
    directory: str, sought: Sought = EVERYTHING, after: int = 0
) -> Iterator[tuple[int, list[tuple[int, Entry]]]]:
    """Yield the entries *sought* with their numbers, oldest first, a few at a time.

    Args:
        directory: where the state is kept.
        sought: which ones.
        after: only entries with a larger number.

    Yields:
        the number of the last entry that was looked at, sought or not, and entries; at least once.

    Raises:
        StoreError: there is no journal, or it cannot be read.
    """
    path = Path(directory) / FILE
    if not path.exists():
        raise StoreError(f"{path}: no journal found; set the daemon's state directory with --state-dir")
    try:
        with closing(read_only(path)) as connection:
            yield from _pages(connection, sought, after)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: cannot read the journal: {error}") from error


def kinds(directory: str) -> list[str]:
    """Return the kinds of entries in the journal, sorted; raises as `journal_pages`."""
    try:
        with closing(read_only(Path(directory) / FILE)) as connection:
            return [kind for (kind,) in connection.execute("SELECT DISTINCT kind FROM journal ORDER BY kind")]
    except sqlite3.Error as error:
        raise StoreError(f"{Path(directory) / FILE}: cannot read the journal: {error}") from error


def _pages(connection: sqlite3.Connection, sought: Sought, after: int) -> Iterator[tuple[int, list[tuple[int, Entry]]]]:
    known = {name for _, name, *_ in connection.execute("PRAGMA table_info(journal)")}
    columns = [name for name in COLUMNS if name in known]  # one that an earlier crirm has written may have fewer
    (newest,) = connection.execute("SELECT max(id) FROM journal").fetchone()
    newest = newest or 0
    if newest < after:  # another file than the last time
        after = 0
    numbers = [] if sought.cpus and "cpus" not in known else _numbers(connection, sought, after, newest)
    for start in range(0, len(numbers), AT_ONCE):
        chosen = numbers[start : start + AT_ONCE]
        query = f"SELECT id, {', '.join(columns)} FROM journal WHERE id IN ({','.join('?' * len(chosen))}) ORDER BY id"  # noqa: S608 - our names
        rows = connection.execute(query, chosen).fetchall()
        yield chosen[-1], [(number, Entry(**dict(zip(columns, values, strict=True)))) for number, *values in rows]
    yield newest, []


def _numbers(connection: sqlite3.Connection, sought: Sought, after: int, newest: int) -> list[int]:
    """Return the numbers of the entries sought."""
    conditions, values = _conditions(sought)
    if sought.cpus:
        connection.create_function("touched", 1, lru_cache(maxsize=4096)(_touches(sought.cpus)), deterministic=True)
    query = f"SELECT id FROM journal WHERE {' AND '.join(['id > ? AND id <= ?', *conditions])} ORDER BY id"  # noqa: S608 - our words
    return [number for (number,) in connection.execute(query, (after, newest, *values))]


def _conditions(sought: Sought) -> tuple[list[str], list[Any]]:
    conditions, values = list[str](), list[Any]()
    if sought.pod:
        prefix, suffix = f"{sought.pod}/", f"/{sought.pod}"
        conditions.append("instr(pod, ?)")  # quick, and false for nearly all
        conditions.append("(pod = ? OR substr(pod, 1, ?) = ? OR substr(pod, ?) = ?)")
        values += [sought.pod, sought.pod, len(prefix), prefix, -len(suffix), suffix]
    if sought.container:
        conditions.append("(container = ? OR key = ?)")
        values += [sought.container, sought.container]
    for condition, value in (
        ("kind = ?", sought.kind or None),
        ("at_s >= ?", sought.since_s or None),
        ("at_s <= ?", sought.until_s),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if sought.cpus:
        conditions.append("cpus <> '' AND touched(cpus)")
    return conditions, values


def _touches(cpus: CPUSet) -> Any:
    def touched(text: str) -> bool:
        return not cpus.isdisjoint(CPUSet.parse(text))

    return touched
