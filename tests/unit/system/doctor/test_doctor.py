from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from crirm.system.doctor import Host, Verdict, check_host
from tests.unit.system.doctor.tree import make_host, verdicts

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_an_empty_host_gets_a_verdict_from_every_check(tmp_path: Path) -> None:
    findings = list(check_host(make_host(tmp_path, {}), relay_socket="/run/a.sock", runtime_socket="/run/b.sock"))
    assert verdicts(findings)
    assert [finding.check for finding in findings] == [
        "python", "kernel", "cgroup", "cpus", "relay socket", "kubelet", "kata", "systemd",
    ]  # fmt: skip


def test_this_host_can_be_examined() -> None:
    assert verdicts(check_host(Host(), relay_socket="/run/none/a.sock", runtime_socket="/run/none/b.sock"))


def test_what_may_not_be_read_skips_one_check_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = make_host(tmp_path, {"/etc/containerd/config.toml": ""})
    text = Host.text

    def refuse(self: Host, name: str) -> str | None:
        if name.startswith("/etc/containerd"):
            raise PermissionError(errno.EACCES, "Permission denied", name)
        return text(self, name)

    monkeypatch.setattr(Host, "text", refuse)
    findings = {f.check: f for f in check_host(host, relay_socket="/run/a.sock", runtime_socket="/run/b.sock")}
    assert findings["kata"].verdict is Verdict.SKIPPED
    assert findings["kata"].where == "/etc/containerd/config.toml"
    assert "as root" in findings["kata"].fix
    assert "systemd" in findings
