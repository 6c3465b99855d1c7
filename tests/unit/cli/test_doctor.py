from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest
import trio

from crirm.cli.doctor import PROBE_LIMIT_S, check_daemon, check_runtime
from crirm.cli.main import crirm
from crirm.daemon.relay.runtime_info import RuntimeInfo
from crirm.errors import CrirmError
from crirm.system.doctor import Host, Verdict
from tests.unit.system.doctor.tree import make_host, verdicts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

CONTAINERD = RuntimeInfo("containerd", "1.6.20", ("v1", "v1alpha2"))
TESTED = ("containerd", "cri-o")
HEALTHY = {
    "/sys/devices/system/cpu/online": "0-3\n",
    "/proc/sys/kernel/osrelease": "6.1.0\n",
    "/proc/1/mounts": "cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n",
    "/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory\n",
}


def answering(answer: RuntimeInfo | Exception) -> Callable[[str], Awaitable[RuntimeInfo]]:
    async def probe(_socket_path: str) -> RuntimeInfo:
        await trio.lowlevel.checkpoint()
        if isinstance(answer, Exception):
            raise answer
        return answer

    return probe


@pytest.mark.parametrize(
    ("answer", "verdict", "words"),
    [
        pytest.param(CONTAINERD, Verdict.OK, "containerd 1.6.20 answers, with CRI v1, v1alpha2", id="containerd"),
        pytest.param(
            RuntimeInfo("cri-dockerd", "0.3", ("v1",)), Verdict.FAIL, "crirm is not tested with it", id="untested"
        ),
        pytest.param(FileNotFoundError(2, "No such file"), Verdict.FAIL, "socket not found", id="missing"),
        pytest.param(ConnectionRefusedError(111, "Connection refused"), Verdict.FAIL, "Connection refused", id="dead"),
        pytest.param(
            PermissionError(13, "Permission denied"), Verdict.SKIPPED, "permission denied", id="no permission"
        ),
        pytest.param(CrirmError("/run/x: speaks\nHTTP/1.1"), Verdict.FAIL, "/run/x: speaks HTTP/1.1", id="garbage"),
        pytest.param(ValueError("invalid VersionResponse"), Verdict.FAIL, "invalid VersionResponse", id="no answer"),
    ],
)
async def test_runtimes(answer: RuntimeInfo | Exception, verdict: Verdict, words: str) -> None:
    finding = await check_runtime(Host(), "/run/x.sock", answering(answer), TESTED)
    assert verdicts([finding]) == [verdict]
    assert words in finding.found
    assert finding.where == "/run/x.sock"


async def test_a_runtime_that_hangs_is_given_up(autojump_clock: trio.testing.MockClock) -> None:
    async def hang(_socket_path: str) -> RuntimeInfo:
        await trio.sleep_forever()
        return CONTAINERD

    finding = await check_runtime(Host(), "/run/x.sock", hang, TESTED)
    assert (finding.verdict, autojump_clock.current_time()) == (Verdict.FAIL, PROBE_LIMIT_S)


def run(*argv: str) -> int:
    code: int = crirm.main(["doctor", *argv], standalone_mode=False)
    return code


def test_json_holds_every_finding(
    short_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crirm.daemon.relay.link.probe", answering(CONTAINERD))
    make_host(short_path, HEALTHY)
    assert run("--host-root", str(short_path), "--json") == 0
    findings = json.loads(capsys.readouterr().out)
    assert {finding["check"]: finding["verdict"] for finding in findings} == {
        "python": "ok", "kernel": "ok", "cgroup": "ok", "cpus": "ok", "relay socket": "ok", "kubelet": "skipped",
        "kata": "skipped", "systemd": "skipped", "runtime": "ok",
    }  # fmt: skip
    assert set(findings[0]) == {"check", "verdict", "found", "where", "fix"}


def test_a_failed_check_is_the_exit_code(short_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_host(short_path, {**HEALTHY, "/run/listening-to-nothing": ""})
    assert run("--host-root", str(short_path)) == 1
    lines = capsys.readouterr().out.splitlines()
    (runtime,) = (number for number, line in enumerate(lines) if line.startswith("fail     runtime "))
    assert "fix: start the runtime" in lines[runtime + 1]


def test_the_runtime_is_looked_for_on_the_host(short_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With links as the host sees them; nobody listens, which the sentence says."""
    host = make_host(short_path, {**HEALTHY, "/var/run": "-> /run", "/run/containerd/x": ""})
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(host.path("/run/containerd/containerd.sock")))
    assert run("--host-root", str(short_path)) == 1
    assert "no such socket" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("status", "found"),
    [
        pytest.param(
            {"findings": ["another CPU manager is at work"]},
            [(Verdict.WARNING, "another CPU manager is at work")],
            id="a finding",
        ),
        pytest.param(
            {"machine": {"problem": "ReservedResources.CPU leaves\nno CPU"}},
            [(Verdict.FAIL, "ReservedResources.CPU leaves no CPU")],
            id="a machine that does not fit the configuration",
        ),
        pytest.param({"machine": {"problem": ""}}, [], id="nothing is wrong"),
        pytest.param({"machine": {}}, [], id="nothing is placed"),
    ],
)
def test_what_the_daemon_has_found_is_a_finding(
    short_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    status: dict[str, Any],
    found: list[tuple[Verdict, str]],
) -> None:
    asked = []

    def ask(path: str, question: dict[str, str], **_: float) -> dict[str, Any]:
        asked.append((path, question))
        return status

    monkeypatch.setattr("crirm.cli.doctor.ask", ask)
    host = make_host(short_path, {"/var/run": "-> /run"})
    findings = list(check_daemon(host, "/var/run/x/relay.sock"))
    assert [(finding.verdict, finding.found) for finding in findings] == found
    assert asked == [(f"{short_path}/run/x/relay-control.sock", {"ask": "status"})]


def test_without_a_daemon_nothing_is_said_about_it(short_path: Path) -> None:
    assert list(check_daemon(make_host(short_path, {}), "/run/x/relay.sock")) == []
