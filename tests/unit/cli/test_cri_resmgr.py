from __future__ import annotations

import os
import shlex
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from crirm.cli.cri_resmgr import DUMP_RULES_2019, ROOT_PID_FILE, command, main, settings_of, with_file, without_effect
from crirm.cli.cri_resmgr_flags import FLAGS, Use
from crirm.cli.goflags import FlagError, Kind, parse
from crirm.cri.dump_rules import DEFAULT_RULES, DumpRules, Level
from crirm.errors import UsageError
from crirm.logs import Format
from crirm.system.config_cache import read_accepted, write_accepted
from crirm.system.journal_file import read_journal
from crirm.system.store import Batch, Entry, Store
from crirm.system.store_file import InUseError, StoreError
from crirm.system.unix_socket import open_listener

if TYPE_CHECKING:
    from pathlib import Path

    from crirm.daemon.settings import Settings

SEED_2019 = (
    "--policy null -dump='reset,full:.*' -dump-file=/tmp/cri.dump -runtime-socket=/run/containerd/containerd.sock"
)


def settings(line: str, environ: dict[str, str] | None = None) -> Settings:
    return settings_of(with_file(parse(shlex.split(line), FLAGS)), environ or {})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(
            "", {"runtime_socket": "/var/run/containerd/containerd.sock", "dump_rules": DEFAULT_RULES}, id="none"
        ),
        pytest.param(
            "--force-config /etc/x --runtime-socket unix:///var/run/crio/crio.sock",
            {"runtime_socket": "/var/run/crio/crio.sock"},
            id="the set-up document",
        ),
        pytest.param(SEED_2019, {"dump_file": "/tmp/cri.dump"}, id="the installation script of 2019"),
        pytest.param("-image-socket=-", {"image_socket": "-"}, id="no image service"),
        pytest.param("-image-socket default", {"image_socket": "default"}, id="the image service of the runtime"),
        pytest.param("-relay-socket unix:///run/r.sock", {"relay_socket": "/run/r.sock"}, id="relay socket"),
        pytest.param("--allow-untested-runtimes", {"allow_untested_runtimes": True}, id="untested runtimes"),
        pytest.param("-allow-untested-runtimes=0", {"allow_untested_runtimes": False}, id="a boolean switched off"),
        pytest.param("-pid-file=/run/x.pid", {"pid_file": "/run/x.pid"}, id="PID file"),
        pytest.param("-pid-file=", {"pid_file": None}, id="no PID file"),
        pytest.param("-count-period 1m30s", {"dump_count_period_s": 90.0}, id="a duration"),
    ],
)
def test_flags_become_settings(line: str, expected: dict[str, Any]) -> None:
    made = settings(line)
    assert {name: getattr(made, name) for name in expected} == expected


def test_roots_pid_file_is_the_originals() -> None:
    assert settings("").pid_file == (ROOT_PID_FILE if os.geteuid() == 0 else None)


@pytest.mark.parametrize(
    ("line", "levels"),
    [
        pytest.param("", {"RunPodSandbox": Level.NAME, "Version": Level.OFF}, id="not given: today's default"),
        pytest.param("-dump='reset,full:.*'", {"Version": Level.FULL, "ListImages": Level.FULL}, id="the seed"),
        pytest.param("-dump=full:Version", {"Version": Level.OFF, "RunPodSandbox": Level.FULL}, id="adds to 2019's"),
        pytest.param(
            "-dump=short:Run.*", {"RunPodSandbox": Level.NAME, "StopContainer": Level.FULL}, id="the last wins"
        ),
        pytest.param(
            "-dump 'reset,off:.*' -dump 'Run.*'",
            {"RunPodSandbox": Level.FULL, "StopContainer": Level.OFF},
            id="each list starts at full again",
        ),
    ],
)
def test_dump_rules(line: str, levels: dict[str, Level]) -> None:
    rules = DumpRules.parse(settings(line).dump_rules)
    assert {method: rules.level(method) for method in levels} == levels


def test_the_rules_of_2019_hold_what_asks_often_back() -> None:
    rules = DumpRules.parse(DUMP_RULES_2019)
    quiet = ("Version", "ListContainers", "ContainerStatus", "ImageFsInfo", "ReopenContainerLog")
    assert {rules.level(method) for method in quiet} == {Level.OFF}
    assert rules.level("CreateContainer") is Level.FULL


def test_logging_comes_from_flags_before_environment() -> None:
    environ = {"LOGGER_SKIP_HEADERS": "true", "LOGGER_DEBUG": "relay", "LOGGER_FORMAT": "json"}
    log = settings("-skip_headers=false -logger-debug message -log_dir /var/log/x", environ).log
    assert log.headers
    assert log.debug == {"relay": True, "message": True}
    assert log.log_file == "/var/log/x/crirm.log"
    assert log.format is Format.JSON


@pytest.mark.parametrize(
    ("line", "later", "meaningless"),
    [
        pytest.param("", [], [], id="nothing given"),
        pytest.param(
            "-policy none -agent-socket= -config-socket=disabled -rebalance-interval 0", [], [], id="harmless"
        ),
        pytest.param(
            "--trace /x --cgroup-path /y -disable-ui -logger fmt",
            ["-cgroup-path", "-disable-ui", "-trace"],
            ["-logger"],
            id="named once, in order",
        ),
        pytest.param("-no-rdt", ["-no-rdt"], [], id="a boolean"),
        pytest.param("-no-rdt=false", [], [], id="a boolean that is off"),
    ],
)
def test_flags_without_effect(line: str, later: list[str], meaningless: list[str]) -> None:
    given = parse(shlex.split(line), FLAGS)
    assert (without_effect(given, Use.LATER), without_effect(given, Use.NONE)) == (later, meaningless)


def test_one_warning_names_them_all(started: list[Settings], capfd: pytest.CaptureFixture[str]) -> None:
    argv = [*shlex.split(SEED_2019), "-pid-file=", "-cgroup-path=/x", "-no-rdt", "-logger=fmt"]
    assert command(argv, {}) == 0
    (line,) = (line for line in capfd.readouterr().err.splitlines() if "no effect" in line)
    assert all(flag in line for flag in ("-cgroup-path", "-no-rdt", "-logger"))
    assert "-policy" not in line
    assert [one.dump_file for one in started] == ["/tmp/cri.dump"]


@pytest.mark.parametrize("name", sorted(FLAGS))
@pytest.mark.parametrize("dashes", ["-", "--"])
def test_every_flag_of_the_original_is_taken(dashes: str, name: str) -> None:
    value = {Kind.BOOL: "true", Kind.INT: "1", Kind.DURATION: "1s", Kind.STRING: "/x"}[FLAGS[name].kind]
    assert parse([f"{dashes}{name}={value}"], FLAGS).last(name) == value


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        pytest.param("-relay-sokcet=/x", "(did you mean -relay-socket?)", id="unknown flag"),
        pytest.param("-force-config /a -fallback-config /b", "use one of them", id="two configurations"),
        pytest.param("-relay-socket x", "relay socket 'x'", id="a bad socket"),
        pytest.param("-runtime-socket=-", "needs a container runtime", id="no runtime"),
        pytest.param("-dump=fll:.*", "did you mean full?", id="a bad dump rule"),
        pytest.param("-disable-ui false", "false: not a flag", id="a boolean with a separate value"),
        pytest.param("config-help dmp", "did you mean dump?", id="help on an unknown module"),
        pytest.param("-v=x", "-v: invalid value 'x'", id="no number"),
        pytest.param("-config /nowhere/flags", "-config /nowhere/flags: cannot be read", id="no file of flags"),
    ],
)
def test_bad_command_lines(line: str, complaint: str, started: list[Settings]) -> None:
    with pytest.raises(UsageError) as caught:
        command(shlex.split(line), {})
    assert complaint in str(caught.value)
    assert started == []


def test_a_file_of_flags_is_read_and_the_command_line_wins(tmp_path: Path) -> None:
    file = tmp_path / "flags"
    file.write_text("# comment\n\nrelay-socket = /run/file.sock\ndump-file=/tmp/file.dump\nallow-untested-runtimes\n")
    made = settings(f"-config {file} -dump-file /tmp/line.dump")
    assert (made.relay_socket, made.dump_file, made.allow_untested_runtimes) == (
        "/run/file.sock",
        "/tmp/line.dump",
        True,
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("relay-sokcet = /x\n", "line 1: cri-resmgr has no flag 'relay-sokcet'", id="unknown"),
        pytest.param("\nv = x\n", "line 2: v: invalid value 'x'", id="bad value"),
        pytest.param("config = /x\n", "line 1: cri-resmgr has no flag 'config'", id="a file in a file"),
    ],
)
def test_faults_in_a_file_of_flags_name_the_line(text: str, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "flags").write_text(text)
    with pytest.raises(FlagError) as caught:
        settings(f"-config {tmp_path}/flags")
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        pytest.param("-version", "cri-resmgr ", id="version"),
        pytest.param("--list-policies", "none", id="policies"),
        pytest.param("-list-loggers", "relay", id="log sources"),
        pytest.param("-h", "-force-config", id="short help"),
        pytest.param("-help", "-runtime-socket string", id="help"),
        pytest.param("config-help", "dump.", id="help on all modules"),
        pytest.param("help dump", "File (string, default '')", id="help on a module"),
    ],
)
def test_reports_start_nothing(
    line: str, words: str, started: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(shlex.split(line), {}) == 0
    assert words.rstrip(".") in capsys.readouterr().out
    assert started == []


@pytest.mark.parametrize("flag", ["-reset-policy", "--reset-config", "-reset-policy -reset-config"])
def test_a_reset_ends_without_a_daemon(
    flag: str, short_path: Path, started: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [*flag.split(), f"-relay-socket={short_path}/a.sock", f"-relay-dir={short_path}/state"]
    assert command(argv, {}) == 0
    assert "Nothing to reset" in capsys.readouterr().out
    assert started == []
    assert not (short_path / "state").exists()


def test_a_reset_of_the_policy_forgets_decisions_and_keeps_the_journal(
    short_path: Path, started: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    home = str(short_path / "state")
    store = Store.open(home)
    store.write(Batch({"grants": {"k": '"0"'}}))
    argv = ["-reset-policy", f"-relay-socket={short_path}/a.sock", f"-relay-dir={home}"]
    with pytest.raises(StoreError, match="another crirm"):
        command(argv, {})
    store.write(Batch({"grants": {"k": '"0"'}}, journal=(Entry(time.time(), "requested"),)))
    store.close()
    assert command(argv, {}) == 0
    assert "decisions removed" in capsys.readouterr().out
    store = Store.open(home)
    assert store.load()["grants"] == {}
    store.close()
    assert [entry.kind for _, entry in read_journal(home)] == ["requested", "policy reset"]
    assert started == []


@pytest.mark.parametrize("flag", ["-reset-policy", "-reset-config"])
def test_a_reset_is_no_race_with_a_daemon_that_starts(flag: str, short_path: Path, started: list[Settings]) -> None:
    """Nobody listens on its socket yet, but it has claimed what it keeps, and may have read it."""
    home = str(short_path / "state")
    store = Store.open(home)
    store.write(Batch({"grants": {"k": '"0"'}}))
    write_accepted(home, "node", {"policy": "Active: none"})
    with pytest.raises(InUseError, match="another crirm"):
        command([flag, f"-relay-socket={short_path}/a.sock", f"-relay-dir={home}"], {})
    assert store.load()["grants"] == {"k": '"0"'}
    assert read_accepted(home) is not None
    store.close()
    assert started == []


def test_a_daemon_that_starts_waits_for_a_reset(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round: what is being forgotten is not read."""
    home = str(short_path / "state")
    filled = Store.open(home)
    filled.write(Batch({"grants": {"k": '"0"'}}))
    filled.close()
    claimed, goes_on, found = threading.Event(), threading.Event(), []
    write = Store.write

    def slowly(store: Store, batch: Batch) -> None:
        claimed.set()
        goes_on.wait(30)
        write(store, batch)

    monkeypatch.setattr(Store, "write", slowly)
    reset = threading.Thread(target=command, args=(["-reset-policy", f"-relay-dir={home}"], {}))
    daemon = threading.Thread(target=lambda: found.append(read_by_daemon(home)))
    reset.start()
    assert claimed.wait(30)
    daemon.start()
    goes_on.set()
    for thread in (reset, daemon):
        thread.join(30)
    assert found == [{}]


def read_by_daemon(home: str) -> dict[str, str]:
    store = Store.open(home, patience_s=30)
    try:
        return store.load()["grants"]
    finally:
        store.close()


def test_a_reset_under_a_running_daemon_is_refused(
    short_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["cri-resmgr", "-reset-policy", f"-relay-socket={short_path}/a.sock"])
    with open_listener(f"{short_path}/a.sock", None), pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert capsys.readouterr().err.startswith(f"cri-resmgr: {short_path}/a.sock: crirm is running; ")
