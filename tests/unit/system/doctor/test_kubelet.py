from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from crirm.system.doctor import Host, Verdict
from crirm.system.doctor.kubelet import check_kubelet, find_kubelets, parse_flags
from tests.unit.system.doctor.tree import make_host, verdicts

RELAY = "/var/run/cri-resmgr/cri-resmgr.sock"
CONFIG = "/var/lib/kubelet/config.yaml"
USES_CRIRM = f"--container-runtime-endpoint=unix://{RELAY}"


def process(*argv: str, pid: int = 4711) -> dict[str, str]:
    return {f"/proc/{pid}/cmdline": "\0".join(argv) + "\0"}


@pytest.mark.parametrize(
    ("argv", "flags"),
    [
        pytest.param(["--a=b"], {"a": "b"}, id="with an equals sign"),
        pytest.param(["--a", "b"], {"a": "b"}, id="with a separate value"),
        pytest.param(["--a", "--b=c"], {"a": "true", "b": "c"}, id="a boolean before another flag"),
        pytest.param(["--a"], {"a": "true"}, id="a boolean at the end"),
        pytest.param(["--a=1", "--a=2"], {"a": "2"}, id="the last counts"),
        pytest.param(["--a=b=c"], {"a": "b=c"}, id="an equals sign in the value"),
        pytest.param(["", "stray", "--a", "b", "stray"], {"a": "b"}, id="stray words"),
    ],
)
def test_flags(argv: list[str], flags: dict[str, str]) -> None:
    assert parse_flags(argv) == flags


@pytest.mark.parametrize(
    ("files", "wanted", "words"),
    [
        pytest.param(process("/usr/bin/kubelet", USES_CRIRM), ["ok", "ok"], "uses crirm", id="all is well"),
        pytest.param(
            process("kubelet", "--container-runtime-endpoint", "unix:///run/cri-resmgr/cri-resmgr.sock"),
            ["ok", "ok"],
            "uses crirm",
            id="the same socket by another name",
        ),
        pytest.param(
            process("kubelet", "--container-runtime-endpoint=/run/containerd/containerd.sock"),
            ["warning", "ok"],
            "bypasses crirm: the runtime endpoint is /run/containerd/containerd.sock",
            id="bypasses crirm",
        ),
        pytest.param(
            process("kubelet", "--container-runtime-endpoint=npipe:////./pipe/containerd"),
            ["warning", "ok"],
            "bypasses crirm",
            id="an endpoint that is no Unix socket",
        ),
        pytest.param(process("kubelet"), ["warning", "ok"], "no runtime endpoint is set", id="no endpoint"),
        pytest.param(
            process("kubelet", USES_CRIRM, "--cpu-manager-policy=static"),
            ["ok", "fail", "ok"],
            "cpuManagerPolicy is static",
            id="CPU manager by flag",
        ),
        pytest.param(
            process("kubelet", USES_CRIRM, f"--config={CONFIG}") | {CONFIG: "cpuManagerPolicy: static\n"},
            ["ok", "fail", "ok"],
            "cpuManagerPolicy is static",
            id="CPU manager by file",
        ),
        pytest.param(
            process("kubelet", USES_CRIRM, "--config", CONFIG, "--cpu-manager-policy", "none")
            | {CONFIG: "cpuManagerPolicy: static\n"},
            ["ok", "ok"],
            "none",
            id="a flag wins over the file",
        ),
        pytest.param(
            process("kubelet", USES_CRIRM, f"--config={CONFIG}", "--config-dir=/etc/kubelet.d")
            | {
                CONFIG: "cpuManagerPolicy: none\n",
                "/etc/kubelet.d/10-a.conf": "cpuManagerPolicy: static\n",
                "/etc/kubelet.d/20-b.conf": "memoryManagerPolicy: Static\n",
                "/etc/kubelet.d/30-c.yaml": "topologyManagerPolicy: restricted\n",
            },
            ["ok", "fail", "fail", "ok"],
            "memoryManagerPolicy is Static",
            id="drop-ins win over the file, and only .conf files count",
        ),
        pytest.param(
            process("kubelet", USES_CRIRM, "--topology-manager-policy=single-numa-node"),
            ["ok", "warning", "ok"],
            "topologyManagerPolicy is single-numa-node",
            id="topology manager",
        ),
        pytest.param(
            process("kubelet", f"--config={CONFIG}")
            | {CONFIG: f"containerRuntimeEndpoint: unix://{RELAY}\ncpuManagerPolicy: None\nmemoryManagerPolicy: ''\n"},
            ["ok", "ok"],
            "uses crirm",
            id="the endpoint by file, and policies spelt otherwise",
        ),
        pytest.param(
            process("kubelet", f"--config={CONFIG}") | {CONFIG: "a: [1\n"}, ["warning"], "not valid YAML", id="no YAML"
        ),
        pytest.param(process("kubelet", f"--config={CONFIG}"), ["warning"], "not found", id="a file that is elsewhere"),
        pytest.param(
            process("kubelet", "--config=config.yaml"), ["warning"], "working directory", id="a relative file"
        ),
        pytest.param(
            process("kubelet", USES_CRIRM, f"--config={CONFIG}") | {CONFIG: ""}, ["ok", "ok"], "crirm", id="empty file"
        ),
        pytest.param(
            process(
                "/opt/k3s", "agent", USES_CRIRM, "--cpu-manager-policy=static", "--cpu-manager-reconcile-period=7s"
            ),
            ["ok", "fail", "ok"],
            "every 7s",
            id="a kubelet in another program, with its period",
        ),
        pytest.param(
            process("/usr/local/bin/node-agent-1.30", "--config", "/etc/agent.yaml")
            | {
                "/etc/agent.yaml": "kind: KubeletConfiguration\ncpuManagerPolicy: static\n"
                f"cpuManagerReconcilePeriod: 3s\ncontainerRuntimeEndpoint: unix://{RELAY}\n"
            },
            ["ok", "fail", "ok"],
            "every 3s",
            id="a kubelet known by its file, whatever it is called",
        ),
        pytest.param(
            process("kubelet", USES_CRIRM, "--cpu-manager-policy=static"),
            ["ok", "fail", "ok"],
            "every 10s",
            id="the kubelet's own period",
        ),
        pytest.param(
            process("kube-proxy", "--config=/p.yaml", "--hostname-override=n")
            | process("x", "--config=none.yaml", pid=2)
            | process("y", "--config=/gone.yaml", pid=3)
            | {"/p.yaml": "kind: KubeProxyConfiguration\n"},
            ["skipped"],
            "kubelet is not running",
            id="others with configuration files",
        ),
        pytest.param({CONFIG: "cpuManagerPolicy: static\n"}, ["fail", "ok"], "static", id="configured, not running"),
        pytest.param({}, ["skipped"], "kubelet is not running", id="no kubelet"),
        pytest.param(
            process("kubelet-csr-approver", "--x") | process("/usr/bin/notkubelet", pid=2) | process("", pid=3),
            ["skipped"],
            "kubelet is not running",
            id="other processes",
        ),
        pytest.param(
            process("kubelet", USES_CRIRM) | process("kubelet", USES_CRIRM, pid=9),
            ["ok", "ok", "ok", "ok"],
            "uses crirm",
            id="two kubelets",
        ),
    ],
)
def test_kubelets(files: dict[str, str], wanted: list[str], words: str, tmp_path: Path) -> None:
    host = make_host(tmp_path, {"/var/run": "-> /run", **files})
    findings = list(check_kubelet(host, RELAY))
    assert [verdict.value for verdict in verdicts(findings)] == wanted
    assert any(words in finding.found for finding in findings)


def test_the_fix_names_the_state_file(tmp_path: Path) -> None:
    argv = ("kubelet", USES_CRIRM, "--cpu-manager-policy=static", "--root-dir=/data/kubelet")
    (finding,) = (f for f in check_kubelet(make_host(tmp_path, process(*argv)), RELAY) if f.verdict is Verdict.FAIL)
    assert "delete /data/kubelet/cpu_manager_state" in finding.fix
    assert finding.where == "kubelet (process 4711) --cpu-manager-policy"


def test_a_real_process_is_found(tmp_path: Path) -> None:
    """Under the real /proc, among all that runs there."""
    fake = tmp_path / "kubelet"
    fake.symlink_to(sys.executable)
    script = "print('up', flush=True); input()"
    argv = [str(fake), "-c", script, "--cpu-manager-policy", "static"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == b"up\n"
        found = {kubelet.pid: kubelet for kubelet in find_kubelets(Host(Path("/")))}
        running.communicate(b"\n")
    setting = found[running.pid].setting("cpu-manager-policy", "cpuManagerPolicy")
    assert setting is not None
    assert setting.value == "static"
