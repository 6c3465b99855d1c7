"""The journal is found by SQLite and read a few entries at a time, also while the daemon writes to it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crirm.model.cpuset import CPUSet
from crirm.system import journal_file
from crirm.system import store as module
from crirm.system.journal_file import Sought, journal_pages, kinds, read_journal
from crirm.system.store import Batch, Entry, Store

if TYPE_CHECKING:
    from pathlib import Path

NOW_S = 1_700_000_000.0


def opened(home: Path) -> Store:
    return Store.open(str(home), clock=lambda: NOW_S)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "s"


def found(home: Path, sought: Sought, after: int = 0) -> list[int]:
    return [number for _, page in journal_pages(str(home), sought, after) for number, _ in page]


NAMES = st.sampled_from(["a", "b", "a/b", "b/a", "aa/b", "a/bb", "", "ä/b", "%/_", "a%"])
CPUS = st.sampled_from(["", "0", "0-3", "2,8-11", "5"])
ENTRIES = st.builds(
    Entry,
    st.integers(0, 9).map(float),
    st.sampled_from(["requested", "exited"]),
    NAMES,
    NAMES,
    NAMES,
    cpus=CPUS,
)
SOUGHT = st.builds(
    Sought,
    NAMES,
    NAMES,
    st.sampled_from(["", "requested", "other"]),
    CPUS.map(CPUSet.parse),
    st.integers(0, 9).map(float),
    st.none() | st.integers(0, 9).map(float),
)


def matches(entry: Entry, sought: Sought) -> bool:
    """What the options say, in Python."""
    return (
        (not sought.pod or sought.pod == entry.pod or sought.pod in _parts(entry.pod, sought.pod))
        and (not sought.container or sought.container in {entry.container, entry.key})
        and (not sought.kind or sought.kind == entry.kind)
        and (not sought.cpus or not sought.cpus.isdisjoint(CPUSet.parse(entry.cpus)))
        and entry.at_s >= sought.since_s
        and (sought.until_s is None or entry.at_s <= sought.until_s)
    )


def _parts(pod: str, name: str) -> set[str]:
    return set(pod.split("/")) if "/" not in name else set()


@settings(max_examples=25, deadline=None)
@given(entries=st.lists(ENTRIES, max_size=12), sought=SOUGHT, after=st.integers(0, 5), page=st.integers(1, 4))
def test_what_is_found_is_what_matches(
    entries: list[Entry], sought: Sought, after: int, page: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("journal") / "s"
    store = Store.open(str(home), clock=lambda: 0.0)
    store.write(Batch(journal=tuple(entries)))
    store.close()
    after = after if after <= len(entries) else 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_file, "AT_ONCE", page)
        numbers = found(home, sought, after)
    assert numbers == [n for n, entry in enumerate(entries, 1) if n > after and matches(entry, sought)]


def test_the_last_page_says_how_far_it_was_read(home: Path) -> None:
    """So that whoever follows does not look at the same entries again."""
    store = opened(home)
    store.write(Batch(journal=tuple(Entry(NOW_S, "event", f"ns/p{number}") for number in range(20))))
    *_, (last, page) = journal_pages(str(home), Sought(pod="p3"))
    store.close()
    assert (last, page) == (20, [])


def test_a_reader_that_is_slow_keeps_nothing_from_the_writer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_file, "AT_ONCE", 2)
    store = opened(home)
    store.write(Batch(journal=tuple(Entry(NOW_S, f"e{number}") for number in range(6))))
    pages = journal_pages(str(home))
    next(pages)
    store.write(Batch(journal=(Entry(NOW_S, "later"),)))
    busy, _, _ = store._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert busy == 0, "the log can be emptied"
    assert [entry.kind for _, page in pages for _, entry in page] == ["e2", "e3", "e4", "e5"]
    store.close()


def test_the_kinds_there_are(home: Path) -> None:
    store = opened(home)
    store.write(Batch(journal=tuple(Entry(NOW_S, kind) for kind in ("b", "a", "b"))))
    store.close()
    assert kinds(str(home)) == ["a", "b"]


# --- limits ----------------------------------------------------------------------------------------------------------


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 300), min_size=1, max_size=40), limit=st.integers(200, 2000), old=st.booleans())
def test_what_is_counted_is_what_is_there(
    sizes: list[int], limit: int, old: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The newest entries that are within the limit stay, and the running count never differs from the entries."""
    home = tmp_path_factory.mktemp("journal") / "s"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "JOURNAL_BYTES", limit)
        patch.setattr(module, "PRUNE_EVERY", 1)
        store = opened(home)
        entries = [
            Entry(NOW_S - (module.JOURNAL_S + 1 if old and number % 3 == 0 else 0), "e", outcome="é" * size)
            for number, size in enumerate(sizes)
        ]
        for entry in entries:
            store.write(Batch(journal=(entry,)))
            kept = [one for _, one in read_journal(str(home))]
            assert store._journal_bytes == sum(one.size_bytes for one in kept)
            assert store._journal_bytes <= limit or len(kept) == 0
        store.close()
    young = [entry for entry in entries if entry.at_s == NOW_S]
    assert kept == young[len(young) - len(kept) :]
    if len(kept) < len(young):
        assert sum(one.size_bytes for one in young[-len(kept) - 1 :]) > limit


def test_a_write_that_fails_is_not_counted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PRUNE_EVERY", 1)
    store = opened(home)
    store.write(Batch(journal=(Entry(NOW_S, "kept"),)))
    with pytest.raises(Exception, match="no such table"):
        store.write(Batch({"nowhere": {"k": "v"}}, journal=(Entry(NOW_S, "lost"),)))
    store.write(Batch(journal=(Entry(NOW_S, "kept too"),)))
    assert store._journal_bytes == sum(entry.size_bytes for _, entry in read_journal(str(home)))
    store.close()


LIGHT = """
import sys
from crirm.cli.main import crirm
crirm(["journal", "--state-dir", sys.argv[1]], standalone_mode=False)
print("heavy:", sorted({"rich.console", "structlog", "asyncio", "trio", "orjson", "yaml"} & set(sys.modules)))
"""


def test_the_command_imports_little(home: Path) -> None:
    """It is asked for an answer within 200 ms, and these take as long as that to import."""
    store = opened(home)
    store.write(Batch(journal=(Entry(NOW_S, "event"),)))
    store.close()
    argv = [sys.executable, "-c", LIGHT, str(home)]
    run = subprocess.run(argv, check=True, capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"})
    assert run.stdout.splitlines()[-1] == "heavy: []"
