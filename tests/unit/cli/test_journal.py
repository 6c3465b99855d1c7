"""Which entries of the journal are shown, and how."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from crirm.cli.journal import command, moment_s
from crirm.errors import UsageError
from crirm.system.store import Batch, Entry, Store

NOW_S = 1_700_000_000.0
ENTRIES = (
    Entry(NOW_S - 7200, "crirm started", outcome="policy static", generation=1, machine="48256df5108e"),
    Entry(NOW_S - 3600, "requested", "default/web", "main", "k1", "CPUs 2-3", 1, "48256df5108e", "2-3"),
    Entry(NOW_S - 60, "exited", "default/web", "main", "k1", "", 2, "48256df5108e", "2-3"),
    Entry(NOW_S - 30, "requested", "kube-system/dns", "main", "k2", "CPUs 0,8-11", 2, "48256df5108e", "0,8-11"),
    Entry(NOW_S - 90, "requested", "kube-system/dns", "side", "k3", "clock set back", 2, "48256df5108e", "5"),
)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("crirm.cli.journal.time.time", lambda: NOW_S)
    store = Store.open(str(tmp_path / "s"), clock=lambda: NOW_S)
    store.write(Batch(journal=ENTRIES))
    store.close()
    return str(tmp_path / "s")


def shown(home: str, words: str) -> list[int]:
    result = CliRunner().invoke(command, ["--state-dir", home, "--json", *words.split()], catch_exceptions=False)
    return [ENTRIES.index(Entry(**json.loads(line))) for line in result.output.splitlines()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param("", [0, 1, 2, 3, 4], id="all, in the order in which it happened"),
        pytest.param("--pod default/web", [1, 2], id="a pod"),
        pytest.param("--pod kube-system", [3, 4], id="a namespace"),
        pytest.param("--container side", [4], id="a container"),
        pytest.param("--container k2", [3], id="an instance"),
        pytest.param("--kind exited", [2], id="a kind of event"),
        pytest.param("--kind requested --pod default", [1], id="a kind of event in a namespace"),
        pytest.param("--cpu 3", [1, 2], id="a CPU"),
        pytest.param("--cpu 1,9", [3], id="one of several CPUs"),
        pytest.param("--cpu 0-5", [1, 2, 3, 4], id="a range of CPUs"),
        pytest.param("--cpu 7", [], id="a CPU that nobody had"),
        pytest.param("--since 2m", [2, 3, 4], id="since an age"),
        pytest.param("--until 90s", [0, 1, 4], id="until an age"),
        pytest.param("--since 2h --until 1h", [0, 1], id="between two ages"),
        pytest.param("--since 2023-11-14T22:12:20+00:00 --cpu 2", [2], id="a time and a CPU"),
        pytest.param("--until 2023-11-14T20:30:00+00:00", [0], id="until a time"),
    ],
)
def test_filters(home: str, words: str, expected: list[int]) -> None:
    assert shown(home, words) == expected


def test_a_kind_of_which_there_is_no_entry_is_said(home: str) -> None:
    result = CliRunner().invoke(command, ["--state-dir", home, "--kind", "exit"], catch_exceptions=False)
    assert result.output == "no entry is of kind exit; there are: crirm started, exited, requested\n"


@pytest.mark.parametrize("words", ["--cpu x", "--cpu 3-1", "--since yesterday", "--until 5", "--until 2023-13-01"])
def test_what_means_nothing_is_refused(home: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.split(maxsplit=1)[0]):
        shown(home, words)


def test_people_read_it_too(home: str) -> None:
    output = CliRunner().invoke(command, ["--state-dir", home, "--cpu", "8"], catch_exceptions=False).output
    assert output.endswith("  requested         kube-system/dns/main  CPUs 0,8-11\n")


def test_an_age_is_before_now_and_a_time_without_a_zone_is_local() -> None:
    assert moment_s("--since", "1.5h", NOW_S) == NOW_S - 5400
    assert moment_s("--since", "2023-11-14T22:13:20+00:00", NOW_S) == NOW_S


def test_following_shows_what_comes_and_outlives_another_file(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = itertools.count()

    def between_two_looks(_s: float) -> None:
        match next(steps):
            case 0:
                write("later")
            case 1:
                for path in Path(home).iterdir():
                    path.unlink()
            case 2:
                write("in another file")
            case 3:
                pass
            case _:
                raise KeyboardInterrupt

    def write(kind: str) -> None:
        store = Store.open(home, clock=lambda: NOW_S)
        store.write(Batch(journal=(Entry(NOW_S, kind),)))
        store.close()

    monkeypatch.setattr("crirm.cli.journal.time.sleep", between_two_looks)
    result = CliRunner().invoke(
        command, ["--state-dir", home, "-f", "--json", "--since", "45s"], catch_exceptions=False
    )
    kinds = [json.loads(line)["kind"] for line in result.output.splitlines() if line.startswith("{")]
    assert kinds == ["requested", "later", "in another file"]
