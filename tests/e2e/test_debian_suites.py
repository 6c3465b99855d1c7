"""Where the other releases of containerd come from, on machines of several kinds; nothing is downloaded here."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from crirm.launcher.containerd import Installation
from tests.e2e import debian_suites
from tests.e2e.debian_suites import MissingError, fetch

DEBIAN_12 = {"ID": "debian", "VERSION_CODENAME": "bookworm"}
DEBIAN_SID = {"ID": "debian"}
UBUNTU = {"ID": "ubuntu", "VERSION_CODENAME": "noble"}


def _installation(version: str) -> Installation:
    return Installation(f"containerd {version}", Path("/usr/bin"), Path("/usr/sbin/runc"), version)


def _machine(monkeypatch: pytest.MonkeyPatch, system: dict[str, str], own: Installation | None) -> None:
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: system)
    monkeypatch.setattr(debian_suites, "find_installed", lambda: own)
    monkeypatch.setenv("PATH", "")  # no apt-get: whatever would be downloaded cannot be


@pytest.mark.parametrize(
    ("system", "version", "suite"),
    [
        pytest.param(DEBIAN_12, "1.6.20", "bookworm", id="Debian's own suite"),
        pytest.param(DEBIAN_SID, "2.1.9", "sid", id="sid has no code name"),
        pytest.param(UBUNTU, "1.7.27", "trixie", id="Ubuntu's 1.7 stands for trixie's"),
        pytest.param(UBUNTU, "1.5.9", "bookworm", id="1.5 serves both packages, as 1.6"),
        pytest.param(UBUNTU, "2.2.0", "sid", id="2.2 serves v1 only, as 2.1"),
    ],
)
def test_machines_own_containerd_is_used(
    system: dict[str, str], version: str, suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = _installation(version)
    _machine(monkeypatch, system, own)
    assert fetch(suite, cache=tmp_path) == own


def test_machine_without_containerd_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, DEBIAN_12, None)
    with pytest.raises(MissingError, match="apt-get install containerd runc"):
        fetch("bookworm", cache=tmp_path)


def test_machine_without_a_mirror_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _machine(monkeypatch, UBUNTU, _installation("1.7.27"))
    (tmp_path / "apt-get").write_text("#!/bin/sh\necho Packages Ubuntu noble http://mirror.example/ubuntu\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingError, match="no mirror of Debian's noble"):
        fetch("sid", cache=tmp_path / "cache")
    assert list((tmp_path / "cache" / platform.machine()).iterdir()) == []
