"""What fits 80 columns, and what is left out where it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import pytest
from click.testing import CliRunner
from rich.console import Console

from crirm.cli import status
from crirm.cli.main import COMMANDS, crirm
from crirm.cli.replay import Setting, replayed
from crirm.cli.replay_text import report_text
from crirm.cli.tables import Column, table_lines, wrapped
from tests.unit.replay.scenes import web

if TYPE_CHECKING:
    from pathlib import Path

UNBREAKABLE = ("  [default: off", "  crirm sim --socket")
WIDTH = Console(width=80).width
LONG = "monitoring-production/prometheus-kube-prometheus-stack-0/config-reloader"
COLUMNS = (
    Column("container"),
    Column("state", optional=2),
    Column("CPUs"),
    Column("shares", optional=3, right=True),
    Column("drift", optional=1, text=True),
)


def row(name: str = "shop/db/main", cpus: str = "0-3", drift: str = "-") -> tuple[str, ...]:
    return name, "running", cpus, "1024", drift


def test_what_fits_stands_in_columns() -> None:
    assert table_lines(COLUMNS, [row(drift="cpus"), row("a/b/c", "8")], WIDTH) == [
        "container     state    CPUs  shares  drift",
        "shop/db/main  running  0-3     1024  cpus",
        "a/b/c         running  8       1024  -",
    ]


def test_sentences_are_wrapped_between_words() -> None:
    lines = table_lines(COLUMNS, [row(drift="the kernel has CPUs 4-7 instead of those that were assigned")], 60)
    assert lines == [
        "container     state    CPUs  shares  drift",
        "shop/db/main  running  0-3     1024  the kernel has CPUs 4-7",
        "                                     instead of those that",
        "                                     were assigned",
    ]


def test_columns_without_a_value_go_first_then_the_least_important() -> None:
    lines = table_lines(COLUMNS, [row(), row("kube-system/coredns-7db6d8ff4d-x2x9z/coredns", "0-3,32-35")], 64)
    assert lines == [
        "container                                     state    CPUs",
        "shop/db/main                                  running  0-3",
        "kube-system/coredns-7db6d8ff4d-x2x9z/coredns  running  0-3,32-35",
        "(not shown on a narrow screen: shares)",
    ]


def test_a_name_that_is_too_long_stands_on_a_line_of_its_own() -> None:
    lines = table_lines(COLUMNS, [row(LONG, "0-3,32-35"), row()], WIDTH)
    assert lines == [
        "container         state    CPUs       shares  drift",
        LONG,
        "                  running  0-3,32-35    1024  -",
        "shop/db/main      running  0-3          1024  -",
    ]


def test_rows_become_blocks_where_no_columns_fit() -> None:
    cpus = ",".join(str(cpu) for cpu in range(0, 60, 2))
    lines = table_lines(COLUMNS, [row(LONG, cpus, "the kernel has other CPUs")], WIDTH)
    assert lines == [LONG, "  state running, CPUs", f"    {cpus},", "    shares 1024", "  the kernel has other CPUs"]


def test_rows_of_one_name_are_one_block() -> None:
    columns = (Column("container"), Column("before"))
    assert table_lines(columns, [("a", "x" * 90), ("", "y" * 90)], WIDTH)[0] == "a"


@pytest.mark.parametrize(
    ("line", "hang", "lines"),
    [
        pytest.param("short", None, ["short"], id="what fits"),
        pytest.param("", None, [], id="nothing"),
        pytest.param("  some words here", None, ["  some words", "    here"], id="an indented line"),
        pytest.param("a-b-c-d-e-f-g-h", None, ["a-b-c-d-e-f-g-h"], id="a word with hyphens"),
        pytest.param("ok  found nothing", 4, ["ok  found", "    nothing"], id="a given indentation"),
    ],
)
def test_lines_are_broken_between_words_only(line: str, hang: int | None, lines: list[str]) -> None:
    assert lines == wrapped(line, 12, hang)


def answer(*names: str) -> dict[str, object]:
    facts = {"state": "running", "qos": "Guaranteed", "pool": "NUMA node #1", "cpus": "16-23,48-55", "mems": "1"}
    return {
        "policy": "topology-aware",
        "state_failure": "",
        "machine": {},
        "containers": [{"name": name, **facts, "cpu_shares": 1024, "drift": "", "degraded": ""} for name in names],
        "configuration": {"name": "", "source": "command line", "overrides": {}, "rejected": None},
    }


def test_status_shows_whole_names_on_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "ask", lambda *_: answer(LONG, "shop/db/main"))
    monkeypatch.setattr("crirm.cli.printing.screen_width", lambda **_: WIDTH)
    lines = CliRunner().invoke(status.command, catch_exceptions=False).output.splitlines()
    assert LONG in lines
    assert max(map(len, lines)) <= WIDTH
    assert any("NUMA node #1  16-23,48-55  1" in line for line in lines)


def test_a_replay_fits_80_columns(tmp_path: Path) -> None:
    trace = tmp_path / "t"
    trace.write_text(web().text)
    lines = report_text("t", replayed(str(trace), Setting()), WIDTH).splitlines()
    assert max(map(len, lines)) <= WIDTH


def commands(group: click.Command, *path: str) -> list[tuple[str, ...]]:
    inner: dict[str, click.Command] = getattr(group, "commands", {})
    return [path, *(found for name, each in inner.items() for found in commands(each, *path, name))]


@pytest.mark.parametrize("name", COMMANDS)
def test_help_keeps_defaults_on_one_line(name: str) -> None:
    group = crirm.get_command(click.Context(crirm), name)
    assert group is not None
    for path in commands(group, name):
        text = CliRunner().invoke(crirm, [*path, "--help"], catch_exceptions=False, terminal_width=WIDTH).output
        for line in text.splitlines():
            _, default, value = line.partition("[default: ")
            assert not default or value.endswith("]")
            assert len(line) <= WIDTH or line.startswith(UNBREAKABLE)
