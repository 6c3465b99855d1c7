from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from crirm.cli import main as cli
from crirm.cli.main import COMMANDS


def run(monkeypatch: pytest.MonkeyPatch, *argv: str) -> object:
    monkeypatch.setattr("sys.argv", ["crirm", *argv])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        pytest.param(["serv"], "crirm: serv: no such command (did you mean serve?); see `crirm --help`", id="command"),
        pytest.param(["xyzzy"], "crirm: xyzzy: no such command; ", id="no command is near"),
        pytest.param(["--verison"], "crirm: --verison: no such option (did you mean --version?); ", id="option"),
        pytest.param(
            ["serve", "--relay-sokcet", "/x"],
            "crirm serve: --relay-sokcet: no such option (did you mean --relay-socket?); see `crirm serve --help`",
            id="option of a command",
        ),
        pytest.param(["serve", "--grace", "x"], "crirm serve: Invalid value for '--grace': ", id="bad value"),
        pytest.param(["version", "x"], "crirm version: Got unexpected extra argument (x); ", id="a word too many"),
    ],
)
def test_what_crirm_does_not_know(
    argv: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *argv) == 2
    err = capsys.readouterr().err
    assert err.startswith(said)
    assert err.count("\n") == 1


@pytest.mark.parametrize("argv", [["version"], ["--version"]])
def test_version(argv: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, *argv) == 0
    assert capsys.readouterr().out.startswith(f"crirm {version('crirm')} (CPython ")


@pytest.mark.parametrize(("argv", "code"), [(["--help"], 0), (["-h"], 0), ([], 2)])
def test_help_lists_the_commands(
    argv: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *argv) == code
    captured = capsys.readouterr()
    assert all(f"  {name} " in captured.out + captured.err for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, name, "--help") == 0
    assert f"Usage: crirm {name}" in capsys.readouterr().out


def test_version_waits_for_no_library() -> None:
    script = (
        "import sys; from crirm.cli.main import crirm; crirm.main(['version'], standalone_mode=False);"
        "print({'trio', 'asyncio', 'grpclib', 'betterproto', 'structlog', 'yaml'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")
