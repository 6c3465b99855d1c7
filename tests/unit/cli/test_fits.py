"""``crirm fits`` on machines that are only described, and how answers look on 80 columns."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from crirm.cli import fits, printing
from crirm.errors import CrirmError

if TYPE_CHECKING:
    from pathlib import Path

HOST = ("--host", "2p.8c.2t", "--reserved-cpus", "1")


def run(*words: str) -> Any:
    return CliRunner().invoke(fits.command, words, standalone_mode=False)


def printed(*words: str) -> str:
    done = run(*words)
    assert done.exception is None, done.exception
    return str(done.output)


def test_where_it_would_be_is_told_and_the_status_is_0() -> None:
    done = run(*HOST, "--cpu", "4", "--memory", "1Gi")
    assert done.return_value == 0
    assert done.output.splitlines() == [
        "fits, says policy topology-aware",
        "",
        "copy  pool       CPUs       memory",
        "   1  socket #1  8-9,24-25  1",
    ]


def test_what_does_not_fit_is_told_with_what_would_and_the_status_is_1() -> None:
    done = run(*HOST, "--cpu", "40", "--memory", "1Gi", "--count", "2")
    assert done.return_value == 1
    why = "wants 40 exclusive CPUs, but no pool has enough: root, the best one, has 31 to spare"
    assert done.output.splitlines() == [
        "none of 2 would fit, says policy topology-aware",
        "",
        f"reason     default/fits-1/main {why}",
        "code       too-few-exclusive-cpus (docs/refusals.md)",
        "would fit  with 9 CPUs fewer",
    ]


def test_a_configuration_and_another_policy_count(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("policy:\n  Active: static\n  ReservedResources:\n    CPU: cpuset:0\n  AllowOverflow: true\n")
    host = ("--host", "1p.4c", "--memory", "1Gi")
    assert "says policy static" in printed(*host, "--config", str(file), "--cpu", "1")
    assert "AllowOverflow is set" in printed(*host, "--config", str(file), "--cpu", "4")
    assert "says policy static" in printed(*host, "--policy", "static", "--reserved-cpus", "1", "--cpu", "1")


def test_programs_get_all_of_it() -> None:
    found = json.loads(printed(*HOST, "--cpu", "14", "--memory", "1Gi", "--count", "3", "--json"))
    assert (found["fits"], found["fitting"], found["overflow"]) == (False, 2, False)
    assert found["refused"]["fits"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        pytest.param(("--policy", "static"), "need --host", id="a policy for the daemon"),
        pytest.param(("--host", "big"), "is not a level", id="no machine"),
        pytest.param(("--host", "1p.4c", "--policy", "none"), "places nothing", id="nothing decides"),
        pytest.param(("--host", "1p.4c"), "reserves no online CPU", id="nothing reserved"),
        pytest.param((*HOST, "--annotation", "pack"), "write NAME=VALUE", id="half an annotation"),
    ],
)
def test_what_contradicts_itself_is_refused(words: tuple[str, ...], complaint: str) -> None:
    done = run(*words, "--cpu", "1", "--memory", "1Gi")
    assert isinstance(done.exception, CrirmError)
    assert complaint in str(done.exception)


def test_on_a_narrow_screen_nothing_is_wider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(printing, "screen_width", lambda **_: 80)
    text = printed(*HOST, "--cpu", "6", "--memory", "1Gi", "--count", "6")
    assert "wider than on an empty machine" in text
    assert max(map(len, text.splitlines())) <= 80


def test_changes_of_others_that_are_alike_are_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    move = {"what": "CPUs", "before": "0-7", "after": "0-3", "why": "x took CPUs"}
    moves = [{"name": f"a/b/{number}", **move} for number in range(3)]
    alone = {"name": "a/b/own", "what": "CPUs", "before": "0-5", "after": "0-1", "why": "x took CPUs"}
    copy = {
        "copy": 1,
        "pool": "root",
        "cpus": "4-7",
        "mems": "0",
        "cramped": False,
        "notes": [],
        "moves": [*moves, alone],
    }
    fits.tell({"fits": True, "policy": "p", "count": 1, "fitting": 1, "copies": [copy], "refused": None})
    assert capsys.readouterr().out.endswith(
        "other containers that would change:\n"
        "  3 containers: CPUs 0-7 -> 0-3, because x took CPUs\n"
        "  a/b/own: CPUs 0-5 -> 0-1, because x took CPUs\n"
    )
