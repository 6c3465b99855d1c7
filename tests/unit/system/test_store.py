"""The store, on a real disk that may be damaged, foreign, closed or full."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from crirm.system import store as module
from crirm.system.journal_file import read_journal
from crirm.system.store import Batch, Entry, Store, rescued
from crirm.system.store_file import FILE, TABLES, InUseError, StoreError, UntrustedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NOW_S = 1_700_000_000.0
ROWS = {"pods": {"p1": "{}"}, "grants": {"k1": '"0-1"', "k2": '""'}}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "state"


def opened(home: Path) -> Store:
    return Store.open(str(home), clock=lambda: NOW_S)


def filled(home: Path) -> None:
    store = opened(home)
    store.write(Batch(ROWS, journal=(Entry(NOW_S, "created", "default/web", "main", "k1", "CPUs 0-1"),)))
    store.close()


def rows(home: Path) -> dict[str, dict[str, str]]:
    store = opened(home)
    found = store.load()
    store.close()
    return {table: found[table] for table in TABLES if found[table]}


def test_rows_come_back(home: Path) -> None:
    filled(home)
    assert rows(home) == ROWS
    assert [(1, Entry(NOW_S, "created", "default/web", "main", "k1", "CPUs 0-1"))] == read_journal(str(home))


def test_a_batch_changes_what_it_names_and_a_fresh_one_everything(home: Path) -> None:
    filled(home)
    store = opened(home)
    store.write(Batch({"grants": {"k1": '"5"'}}, {"grants": ["k2", "k3"]}))
    assert store.load()["grants"] == {"k1": '"5"'}
    store.write(Batch({"grants": {"k9": '"6"'}}, fresh=True))
    store.close()
    assert rows(home) == {"grants": {"k9": '"6"'}}
    assert len(read_journal(str(home))) == 1


def test_only_the_owner_can_read_it(home: Path) -> None:
    filled(home)
    assert (home.stat().st_mode & 0o777, (home / FILE).stat().st_mode & 0o777) == (0o710, 0o600)


def test_a_batch_survives_the_death_of_the_process(home: Path) -> None:
    program = (
        "import os, sys; from crirm.system.store import *; store = Store.open(sys.argv[1]);"
        "store.write(Batch({'grants': {'k': '1'}})); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(home)], check=False).returncode == -9
    assert rows(home) == {"grants": {"k": "1"}}


def scribble(path: Path) -> None:
    path.write_bytes(b"no database at all, though it is long enough to be taken for one" * 100)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def overwrite(path: Path) -> None:
    text = path.read_bytes()
    path.write_bytes(text[:100] + bytes(len(text) - 100))


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE songs (title TEXT)")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(scribble, id="no database"),
        pytest.param(cut, id="torn"),
        pytest.param(overwrite, id="overwritten with zeros"),
        pytest.param(newer, id="of a newer version"),
        pytest.param(foreign, id="of another program"),
    ],
)
def test_a_file_that_cannot_be_used_is_set_aside_whole(home: Path, damage: Callable[[Path], None]) -> None:
    filled(home)
    damage(home / FILE)
    strange = (home / FILE).read_bytes()
    assert rows(home) == {}
    (aside,) = home.glob(f"{FILE}.damaged-*")
    assert (f"{FILE}.damaged-20231114T221320Z", strange) == (aside.name, aside.read_bytes())
    filled(home)
    assert rows(home) == ROWS


def test_an_empty_file_is_a_new_one(home: Path) -> None:
    home.mkdir()
    (home / FILE).touch(0o600)
    filled(home)
    assert rows(home) == ROWS


def test_a_torn_log_costs_its_last_batches_only(home: Path) -> None:
    store = opened(home)
    store.write(Batch({"pods": {"p1": "1"}}))
    whole = (home / f"{FILE}-wal").stat().st_size
    store.write(Batch({"pods": {"p2": "2"}}))
    log, file = (home / f"{FILE}-wal").read_bytes(), (home / FILE).read_bytes()
    store.close()
    (home / FILE).write_bytes(file)
    (home / f"{FILE}-wal").write_bytes(log[: whole + 100])
    assert rows(home) == {"pods": {"p1": "1"}}


def test_two_daemons_do_not_share_a_directory(home: Path) -> None:
    store = opened(home)
    with pytest.raises(StoreError, match="in use by another crirm"):
        opened(home)
    store.close()
    opened(home).close()


def open_directory(home: Path) -> None:
    home.mkdir()
    home.chmod(0o777)


def open_file(home: Path) -> None:
    filled(home)
    (home / FILE).chmod(0o622)


def link(home: Path) -> None:
    home.mkdir()
    (home / FILE).symlink_to("/etc/passwd")


def directory(home: Path) -> None:
    (home / FILE).mkdir(parents=True)


def plain(home: Path) -> None:
    home.touch()


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        pytest.param(open_directory, "writable by other users", id="a directory that others can write to"),
        pytest.param(open_file, "writable by other users", id="a file that others can write to"),
        pytest.param(link, "is a symbolic link", id="a symbolic link"),
        pytest.param(directory, "directory", id="a directory in place of the file"),
        pytest.param(plain, "is not a directory", id="a file in place of the directory"),
    ],
)
def test_places_that_are_refused(home: Path, prepare: Callable[[Path], None], words: str) -> None:
    prepare(home)
    with pytest.raises(StoreError, match=words):
        opened(home)


FULL = """
import resource, sqlite3, sys
from crirm.system.store import *
store = Store.open(sys.argv[1])
store.write(Batch({"pods": {"p1": "1"}}))
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
try:
    store.write(Batch({"pods": {f"p{n}": "x" * 1000 for n in range(200)}}))
except sqlite3.Error as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
store.reopen()
store.write(Batch({"pods": {"p2": "2"}}))
print(sorted(store.load()["pods"]))
"""


def test_a_full_disk_takes_nothing_and_then_everything(home: Path) -> None:
    run = subprocess.run([sys.executable, "-c", FULL, str(home)], check=True, capture_output=True, text=True)
    refused, found = run.stdout.splitlines()
    assert refused
    assert found == "['p1', 'p2']"


def test_the_journal_is_bounded_by_rows_and_age(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOURNAL_ROWS", 10)
    monkeypatch.setattr(module, "PRUNE_EVERY", 5)
    store = opened(home)
    store.write(Batch(journal=tuple(Entry(NOW_S - module.JOURNAL_S - 1, "old") for _ in range(3))))
    assert read_journal(str(home)) == []
    for number in range(40):
        store.write(Batch(journal=(Entry(NOW_S + number, "event"),)))
    kept = [entry.at_s - NOW_S for _, entry in read_journal(str(home))]
    store.close()
    assert 10 <= len(kept) <= 15
    assert kept == list(range(40 - len(kept), 40))


def test_the_journal_is_read_from_a_number_and_a_time_on(home: Path) -> None:
    store = opened(home)
    store.write(Batch(journal=tuple(Entry(NOW_S + number, f"e{number}") for number in range(5))))
    assert [entry.kind for _, entry in read_journal(str(home), after=3)] == ["e3", "e4"]
    store.close()
    assert [entry.kind for _, entry in read_journal(str(home), since_s=NOW_S + 4)] == ["e4"]


OLD_JOURNAL = """
CREATE TABLE journal (
    id INTEGER PRIMARY KEY AUTOINCREMENT, at_s REAL NOT NULL, kind TEXT NOT NULL, pod TEXT NOT NULL,
    container TEXT NOT NULL, key TEXT NOT NULL, outcome TEXT NOT NULL
)
"""


def of_the_first_version(home: Path) -> None:
    """A file as crirm 0.1.0 has written it."""
    home.mkdir()
    (home / FILE).touch(0o600)
    with closing(sqlite3.connect(home / FILE, isolation_level=None)) as connection:
        for table in ("meta", "pods", "containers", "grants", "told", "timers", "trails"):
            connection.execute(f"CREATE TABLE {table} (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
        connection.execute(OLD_JOURNAL)
        connection.execute("PRAGMA application_id = 0x63726972")
        connection.execute("PRAGMA user_version = 1")
        connection.execute("INSERT INTO grants VALUES ('k1', '\"0-1\"')")
        connection.execute("INSERT INTO journal VALUES (7, 5.0, 'created', 'default/web', 'main', 'k1', 'CPUs 0-1')")


OLD_ENTRY = Entry(5.0, "created", "default/web", "main", "k1", "CPUs 0-1")


def test_a_file_of_an_older_version_is_brought_to_this_one(home: Path) -> None:
    of_the_first_version(home)
    entry = Entry(NOW_S, "exited", generation=3, machine="48256df5108e", cpus="0-1", code="too-little-memory")
    store = opened(home)
    assert store.load()["grants"] == {"k1": '"0-1"'}
    store._since_pruned = 0  # else an entry as old as that would go
    store.write(Batch(journal=(entry,)))
    store.close()
    assert not list(home.glob("*damaged*"))
    assert read_journal(str(home)) == [(7, OLD_ENTRY), (8, entry)]


def test_the_journal_of_an_older_version_can_be_read_as_it_is(home: Path) -> None:
    of_the_first_version(home)
    before = (home / FILE).read_bytes()
    assert read_journal(str(home)) == [(7, OLD_ENTRY)]
    assert (home / FILE).read_bytes() == before


def test_a_clock_that_jumps_back_costs_no_entries(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PRUNE_EVERY", 1)
    times = [NOW_S, NOW_S + 60, NOW_S - 3600, NOW_S - 3599]
    store = Store.open(str(home), clock=lambda: NOW_S - 3600)
    for at_s in times:
        store.write(Batch(journal=(Entry(at_s, "event"),)))
    assert [entry.at_s for _, entry in read_journal(str(home))] == times
    assert store.latest_s() == NOW_S + 60
    store.close()


def test_entries_from_the_future_do_not_live_for_ever(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are of a time when the clock was wrong; their age says nothing, their number does."""
    monkeypatch.setattr(module, "JOURNAL_ROWS", 3)
    monkeypatch.setattr(module, "PRUNE_EVERY", 1)
    store = opened(home)
    for number in range(5):
        store.write(Batch(journal=(Entry(NOW_S + 10**9 + number, "event"),)))
    store.write(Batch(journal=(Entry(NOW_S, "now"),)))
    store.close()
    assert [entry.kind for _, entry in read_journal(str(home))] == ["event", "event", "now"]


def test_a_reader_that_follows_begins_anew_with_another_file(home: Path) -> None:
    filled(home)
    assert [number for number, _ in read_journal(str(home), after=90)] == [1]


def test_a_store_waits_for_one_that_is_about_to_close(home: Path) -> None:
    store = opened(home)
    closer = threading.Timer(0.2, store.close)
    closer.start()
    with pytest.raises(InUseError):
        Store.open(str(home))
    Store.open(str(home), patience_s=30).close()
    closer.join()


def test_a_directory_that_was_removed_is_made_again(home: Path) -> None:
    store = opened(home)
    store.write(Batch(ROWS))
    shutil.rmtree(home)
    with pytest.raises(FileNotFoundError):
        store.sync()
    store.reopen()
    with pytest.raises(InUseError):
        opened(home)
    store.write(Batch(ROWS))
    store.close()
    assert rows(home) == ROWS


def test_what_cannot_be_written_can_still_be_read(home: Path) -> None:
    store = opened(home)
    store.write(Batch(ROWS, journal=(Entry(NOW_S, "created"),)))
    assert (home / f"{FILE}-wal").stat().st_size > 0
    before = {path.name: path.read_bytes() for path in home.iterdir()}
    assert rescued(str(home))[0]["grants"] == ROWS["grants"]
    assert rescued(str(home))[1] == NOW_S
    assert before == {path.name: path.read_bytes() for path in home.iterdir()}
    store.close()


def test_where_nothing_is_nothing_is_rescued(home: Path) -> None:
    home.mkdir()
    assert not any(rescued(str(home))[0].values())


@pytest.mark.parametrize(
    "prepare", [pytest.param("open_directory", id="directory"), pytest.param("open_file", id="file")]
)
def test_what_others_may_have_written_is_not_rescued(home: Path, prepare: str) -> None:
    globals()[prepare](home)
    with pytest.raises(UntrustedError):
        rescued(str(home))


@pytest.mark.parametrize("damage", [scribble, cut, newer, foreign])
def test_what_is_of_no_use_is_not_rescued(home: Path, damage: Callable[[Path], None]) -> None:
    filled(home)
    damage(home / FILE)
    with pytest.raises(StoreError, match="cannot be read"):
        rescued(str(home))


def test_without_a_store_there_is_no_journal(home: Path) -> None:
    with pytest.raises(StoreError, match="no journal found"):
        read_journal(str(home))


def test_the_journal_is_bounded_in_bytes(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOURNAL_BYTES", 20_000)
    monkeypatch.setattr(module, "PRUNE_EVERY_BYTES", 5_000)
    store = opened(home)
    for number in range(300):
        store.write(Batch(journal=(Entry(NOW_S + number, "event", outcome="é" * 100_000),)))
    store.close()
    entries = [entry for _, entry in read_journal(str(home))]
    assert 15_000 <= sum(entry.size_bytes for entry in entries) <= 26_000
    assert [entry.at_s - NOW_S for entry in entries] == list(range(300 - len(entries), 300))
    assert (home / FILE).stat().st_size < 150_000


def test_a_file_that_was_large_once_is_made_small_at_the_next_start(home: Path) -> None:
    store = opened(home)
    store.write(Batch({"pods": {f"p{number}": "x" * 1_000_000 for number in range(20)}}))
    store.write(Batch(ROWS, fresh=True))
    store.close()
    assert (home / FILE).stat().st_size > 16_000_000
    assert rows(home) == ROWS
    assert (home / FILE).stat().st_size < 200_000
