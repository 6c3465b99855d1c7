"""Whatever things are called, a terminal shows names and does nothing that they say."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from rich.table import Table

from crirm.cli import explain, journal, status
from crirm.cli.doctor import _as_text
from crirm.cli.errors import run_command
from crirm.cli.printing import console, harmless, say
from crirm.cli.proposal import report
from crirm.errors import CrirmError
from crirm.logs.render import human
from crirm.logs.render import journal as journald
from crirm.system.doctor import Finding, Verdict
from crirm.system.store import Batch, Entry, Store

if TYPE_CHECKING:
    from pathlib import Path

EVIL = [
    pytest.param("[/x]", id="closing markup"),
    pytest.param("[bold red]x[/]", id="markup"),
    pytest.param(":boom:", id="an emoji's name"),
    pytest.param("\x1b[2J\x1b]0;owned\x07", id="escape sequences"),
    pytest.param("\x9b31m\x85", id="C1 control characters"),
    pytest.param("a\nsystem/forged/line", id="a line break"),
    pytest.param("a\r\x08b", id="a carriage return"),
    pytest.param("\u202etxt.exe\u2066", id="turned direction"),
    pytest.param("\u2028x\u200b", id="separators and what is not seen"),
    pytest.param("\ud800", id="half a character"),
]


def check(output: str, evil: str) -> None:
    assert all(line.isprintable() for line in output.splitlines()), output
    shown = json.loads(json.dumps(harmless(evil)))
    assert shown in output


@pytest.mark.parametrize("evil", EVIL)
def test_status_shows_it(evil: str, monkeypatch: pytest.MonkeyPatch) -> None:
    container = dict.fromkeys(("state", "qos", "pool", "cpus", "mems", "drift", "degraded"), evil)
    answer: dict[str, Any] = {
        "policy": "static",
        "state_failure": evil,
        "machine": {"changed_at_s": 0.0, "change": evil, "notes": [evil], "problem": evil},
        "containers": [{"name": evil, "cpu_shares": 2, **container}],
        "configuration": {
            "name": evil,
            "source": "file",
            "overrides": {evil: [evil]},
            "rejected": {"at_s": 0.0, "source": evil, "name": evil, "reason": evil},
        },
    }
    monkeypatch.setattr(status, "ask", lambda *_: answer)
    result = CliRunner().invoke(status.command, catch_exceptions=False)
    check(result.output, evil)
    assert len([line for line in result.output.splitlines() if line[:2] != "  "]) == 10, "no line is forged"


def test_status_has_a_line_for_each_fault_of_a_rejected_configuration() -> None:
    faults = {"at_s": 0.0, "source": "forced file", "name": "/c.yaml", "reason": "/c.yaml: 2 faults\n  one\n  two"}
    told = status.rejected_text(faults).splitlines()
    assert told[0].endswith("from forced file /c.yaml: /c.yaml: 2 faults")
    assert [line.strip() for line in told[1:]] == ["one", "two"]


@pytest.mark.parametrize("evil", EVIL)
def test_explain_shows_it(evil: str, monkeypatch: pytest.MonkeyPatch) -> None:
    move = {"name": evil, "what": evil, "before": evil, "after": evil, "why": evil, "at_s": 0.0}
    verdict = {"pool": evil, "facts": [[evil, evil]], "rule": evil, "lost_to": evil, "own": 0, "other": 1, "why": evil}
    trail = dict.fromkeys(("policy", "asked", "granted", "chosen"), evil)
    entry = {"name": evil, "at_s": 0.0, "since": [move]}
    entry["trail"] = {**trail, "notes": [evil], "verdicts": [verdict, {**verdict, "facts": []}], "moves": [move]}
    refused = {"name": evil, "at_s": 0.0, "refused": evil, "times": 2}
    monkeypatch.setattr(explain, "ask", lambda *_: {"explained": [entry], "refused": [refused]})
    result = CliRunner().invoke(explain.command, ["x"], catch_exceptions=False)
    check(result.output, evil)
    assert len(result.output.splitlines()) == 20


@pytest.mark.parametrize("evil", [param for param in EVIL if param.id != "half a character"])
def test_the_journal_shows_it(evil: str, tmp_path: Path) -> None:
    store = Store.open(str(tmp_path / "s"))
    store.write(Batch(journal=(Entry(1.8e9, evil, evil, evil, "k", evil),)))
    store.close()
    result = CliRunner().invoke(journal.command, ["--state-dir", str(tmp_path / "s")], catch_exceptions=False)
    check(result.output, evil)
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize("evil", EVIL)
def test_reports_show_it(evil: str, capsys: pytest.CaptureFixture[str]) -> None:
    adjusted = {"cpus": "0", "mems": None, "cpu_shares": None}
    change = {"name": evil, "why": evil, "before": adjusted, "after": {**adjusted, "cpus": evil}}
    proposal = {"changes": [change], "unfit": [], "warnings": [evil], "policy": evil, "containers": 1, "refused": evil}
    check(report("f", harmless(proposal)), evil)
    check(
        _as_text(Finding("kubelet", Verdict.OK, evil, evil, evil), 10_000)
        .replace("\x1b[32m", "")
        .replace("\x1b[0m", ""),
        evil,
    )
    say(evil)
    assert run_command("crirm", lambda: fail(evil)) == 1
    assert all(line.isprintable() for text in capsys.readouterr() for line in text.split("\n"))


def fail(evil: str) -> None:
    raise CrirmError(evil)


@pytest.mark.parametrize("evil", EVIL)
def test_a_table_shows_it_without_anybodys_help(evil: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(evil)
    table.add_row(evil)
    console().print(table, evil)
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))


@pytest.mark.parametrize("evil", EVIL)
def test_the_log_shows_it_in_keys_too(evil: str) -> None:
    record = {"level": "info", "source": "x", "timestamp": 0.0, "event": evil, evil: evil}
    for render in (human(colours=False, headers=True, dated=True), journald):
        assert render(record)[:-1].isprintable()
