from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from crirm.cli.main import crirm
from crirm.cli.serve import command
from crirm.daemon.settings import Settings
from crirm.errors import UsageError
from crirm.logs import Format

if TYPE_CHECKING:
    from pathlib import Path


def serve(*argv: str) -> Any:
    return crirm.main(["serve", *argv], standalone_mode=False)


@pytest.fixture(autouse=True)
def _no_logger_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGGER_DEBUG", "LOGGER_FORMAT"):
        monkeypatch.delenv(name, raising=False)


def test_without_options_the_defaults_hold(started: list[Settings]) -> None:
    serve()
    assert started == [Settings()]


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        pytest.param(["--relay-socket", "unix:///run/r.sock"], {"relay_socket": "/run/r.sock"}, id="relay socket"),
        pytest.param(["--runtime-socket=/run/c.sock"], {"runtime_socket": "/run/c.sock"}, id="runtime socket"),
        pytest.param(["--image-socket", "-"], {"image_socket": "-"}, id="no image service"),
        pytest.param(["--allow-untested-runtimes"], {"allow_untested_runtimes": True}, id="untested runtimes"),
        pytest.param(["--grace", "2.5"], {"grace_s": 2.5}, id="grace"),
        pytest.param(["--dump", "full:.*"], {"dump_rules": "full:.*"}, id="dump"),
        pytest.param(["--dump-file", "/tmp/d"], {"dump_file": "/tmp/d"}, id="dump file"),
        pytest.param(["--dump-secrets"], {"dump_secrets": True}, id="secrets"),
        pytest.param(["--dump-count-period", "5"], {"dump_count_period_s": 5.0}, id="sums"),
    ],
)
def test_options_become_settings(argv: list[str], expected: dict[str, Any], started: list[Settings]) -> None:
    serve(*argv)
    assert started == [attrs.evolve(Settings(), **expected)]


def test_log_options_win_over_the_environment(started: list[Settings], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGGER_FORMAT", "human")
    monkeypatch.setenv("LOGGER_DEBUG", "link")
    serve("--log-format", "json", "--debug", "relay")
    assert (started[0].log.format, started[0].log.debug) == (Format.JSON, {"link": True, "relay": True})


def test_the_pid_file_is_there_while_the_daemon_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "crirm.pid"
    seen: list[bool] = []

    async def daemon(settings: Settings) -> None:
        assert settings.pid_file == str(path)
        seen.append(path.exists())

    monkeypatch.setattr("crirm.daemon.app.serve", daemon)
    serve("--pid-file", str(path))
    assert (seen, path.exists()) == ([True], False)


def test_a_bad_value_starts_nothing(started: list[Settings]) -> None:
    with pytest.raises(UsageError, match="relay socket 'x'"):
        serve("--relay-socket", "x")
    assert started == []


def test_every_setting_has_an_option() -> None:
    made_up = {
        "debug",
        "log_format",
        "log_file",
        "available_cpus",
        "reserved_cpus",
    }  # parts of other settings
    options = {parameter.name for parameter in command.params} - made_up
    assert options == {field.name for field in attrs.fields(Settings)} - {"log", "log_options", "reload_signal"}
