from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from crirm.system.doctor.units import check_units, read_unit
from tests.unit.system.doctor.tree import make_host, verdicts

SHIPPED = Path(__file__).parents[4] / "contrib" / "systemd"
CONTAINERD = "/var/run/containerd/containerd.sock"
GOOD = "[Unit]\nAfter=containerd.service crio.service\nBefore=kubelet.service\n[Service]\nExecStart=/bin/true\n"
ENABLED = {"/etc/systemd/system/multi-user.target.wants/crirm.service": "-> /etc/systemd/system/crirm.service"}
UNIT = "/etc/systemd/system/crirm.service"


@pytest.mark.parametrize(
    ("files", "wanted", "words"),
    [
        pytest.param({}, ["skipped"], "not installed", id="no unit"),
        pytest.param({UNIT: GOOD} | ENABLED, ["ok"], "before the kubelet", id="all is well"),
        pytest.param({"/usr/lib/systemd/system/crirm.service": GOOD} | ENABLED, ["ok"], "before", id="packaged"),
        pytest.param({UNIT: GOOD}, ["ok", "warning"], "does not start at boot", id="not enabled"),
        pytest.param(
            {UNIT: GOOD, "/etc/systemd/system/sockets.target.wants/crirm.socket": "-> ../crirm.socket"},
            ["ok"],
            "before",
            id="enabled through its socket",
        ),
        pytest.param(
            {UNIT: "[Unit]\n"} | ENABLED, ["warning", "warning"], "not ordered before the kubelet", id="no order"
        ),
        pytest.param(
            {UNIT: "[Unit]\nAfter=containerd.service\n",
             "/lib/systemd/system/kubelet.service": "[Unit]\nAfter=network.target \\\n crirm.service\n"} | ENABLED,
            ["ok"],
            "before the kubelet",
            id="the kubelet's unit has the order",
        ),
        pytest.param(
            {UNIT: GOOD, f"{UNIT}.d/a.conf": "[Unit]\nBefore=\n# Before=kubelet.service\n"} | ENABLED,
            ["warning"],
            "not ordered before the kubelet",
            id="a drop-in takes the order away",
        ),
        pytest.param(
            {UNIT: "[Unit]\nBefore=kubelet.service\n[Service]\nAfter=containerd.service\n"} | ENABLED,
            ["ok", "warning"],
            "not ordered after containerd.service",
            id="a key in another section says nothing",
        ),
        pytest.param(
            {"/etc/systemd/system/cri-resource-manager.service": GOOD,
             "/etc/systemd/system/multi-user.target.wants/cri-resource-manager.service": "-> ../x"},
            ["ok"],
            "cri-resource-manager.service starts before",
            id="under the original's name",
        ),
    ],
)  # fmt: skip
def test_units(files: dict[str, str], wanted: list[str], words: str, tmp_path: Path) -> None:
    findings = list(check_units(make_host(tmp_path, files), CONTAINERD))
    assert [verdict.value for verdict in verdicts(findings)] == wanted
    assert any(words in finding.found for finding in findings)


def test_a_runtime_of_another_name_needs_no_order(tmp_path: Path) -> None:
    host = make_host(tmp_path, {UNIT: "[Unit]\nBefore=kubelet.service\n"} | ENABLED)
    assert len(list(check_units(host, "/run/other.sock"))) == 1


@pytest.mark.parametrize("runtime_socket", [CONTAINERD, "/run/crio/crio.sock"])
def test_the_shipped_unit_satisfies_the_doctor(runtime_socket: str, tmp_path: Path) -> None:
    host = make_host(tmp_path, {UNIT: (SHIPPED / "crirm.service").read_text()} | ENABLED)
    findings = list(check_units(host, runtime_socket))
    assert [verdict.value for verdict in verdicts(findings)] == ["ok"]
    assert "Requires" not in read_unit(host, "crirm.service")


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_finds_no_fault_in_the_shipped_units(tmp_path: Path) -> None:
    for name in ("crirm.service", "crirm.socket"):
        text = (SHIPPED / name).read_text()
        (tmp_path / name).write_text(re.sub(r"(?m)^ExecStart=crirm", f"ExecStart={sys.executable}", text))
    units = [str(tmp_path / "crirm.service"), str(tmp_path / "crirm.socket")]
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    assert (done.stderr, done.returncode) == ("", 0)


def test_the_shipped_unit_needs_no_program_that_a_minimal_debian_lacks() -> None:
    """Its own, which the administrator installs, and the shell."""
    commands = re.findall(r"(?m)^Exec\w+=(\S+)", (SHIPPED / "crirm.service").read_text())
    assert commands == ["crirm", "/bin/sh"]
