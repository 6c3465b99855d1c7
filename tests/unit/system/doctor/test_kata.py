from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crirm.system.doctor.kata import check_kata
from tests.unit.system.doctor.tree import make_host, verdicts

if TYPE_CHECKING:
    from pathlib import Path

ETC = "/etc/kata-containers/configuration.toml"
OPT = "/opt/kata/share/defaults/kata-containers/configuration.toml"
QEMU = "/opt/kata/share/defaults/kata-containers/configuration-qemu.toml"
RIGHT = "[hypervisor.qemu]\npath = '/usr/bin/qemu'\n[runtime]\nsandbox_cgroup_only=true\n"
WRONG = "[runtime]\nsandbox_cgroup_only = false\n"
UNSET = "[runtime]\nenable_debug = true\n"

CONTAINERD_1 = """
version = 2
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata]
runtime_type = "io.containerd.kata.v2"
"""
CONTAINERD_2 = f"""
version = 3
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.strong]
runtime_type = "io.containerd.kata-qemu.v2"
options.ConfigPath = "{QEMU}"
"""
CRIO = f"""
[crio.runtime.runtimes.vm]
runtime_path = "/usr/bin/containerd-shim-kata-v2"
runtime_config_path = "{QEMU}"
runtime_type = "vm"
"""
RUNC_ONLY = """
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
"""
CONTAINERD = "/etc/containerd/config.toml"


@pytest.mark.parametrize(
    ("files", "wanted", "words"),
    [
        pytest.param({}, ["skipped"], "not configured", id="nothing installed"),
        pytest.param({CONTAINERD: RUNC_ONLY}, ["skipped"], "not configured", id="other handlers only"),
        pytest.param({CONTAINERD: CONTAINERD_1, ETC: RIGHT}, ["ok"], "handler kata", id="containerd 1, right"),
        pytest.param({CONTAINERD: CONTAINERD_1, ETC: WRONG}, ["fail"], "is false", id="containerd 1, false"),
        pytest.param({CONTAINERD: CONTAINERD_1, ETC: UNSET}, ["fail"], "not set", id="containerd 1, not set"),
        pytest.param({CONTAINERD: CONTAINERD_1, ETC: ""}, ["fail"], "not set", id="an empty file"),
        pytest.param(
            {CONTAINERD: CONTAINERD_1, ETC: RIGHT, OPT: WRONG}, ["ok"], "true", id="of the searched files the first"
        ),
        pytest.param({CONTAINERD: CONTAINERD_1, OPT: WRONG}, ["fail"], "false", id="kata-deploy's place"),
        pytest.param({CONTAINERD: CONTAINERD_1}, ["warning"], "no configuration file", id="a handler without file"),
        pytest.param({CONTAINERD: CONTAINERD_2, QEMU: WRONG}, ["fail"], "handler strong", id="containerd 2"),
        pytest.param(
            {CONTAINERD: CONTAINERD_2, QEMU: RIGHT, ETC: WRONG},
            ["ok", "warning"],
            "used by no handler",
            id="a file that no handler uses only warns",
        ),
        pytest.param({"/etc/crio/crio.conf.d/50-kata": CRIO, QEMU: WRONG}, ["fail"], "handler vm", id="CRI-O"),
        pytest.param(
            {CONTAINERD: 'imports = ["/etc/containerd/conf.d/*.toml", "/etc/containerd/config.toml"]',
             "/etc/containerd/conf.d/kata.toml": CONTAINERD_2, QEMU: WRONG},
            ["fail"],
            "handler strong",
            id="imported by containerd",
        ),
        pytest.param({ETC: WRONG}, ["warning"], "used by no handler", id="installed, no handler"),
        pytest.param(
            {CONTAINERD: CONTAINERD_1, ETC: WRONG, "/etc/kata-containers/config.d/10-crirm.toml": RIGHT},
            ["ok"],
            "true",
            id="a drop-in wins",
        ),
        pytest.param({CONTAINERD: CONTAINERD_1, ETC: "[runtime\n"}, ["warning"], "not valid TOML", id="no TOML"),
        pytest.param({CONTAINERD: "a = \n"}, ["warning"], "not valid TOML", id="the runtime's file is no TOML"),
    ],
)  # fmt: skip
def test_kata(files: dict[str, str], wanted: list[str], words: str, tmp_path: Path) -> None:
    findings = list(check_kata(make_host(tmp_path, files)))
    assert [verdict.value for verdict in verdicts(findings)] == wanted
    assert any(words in finding.found for finding in findings)
