"""The kubelet: whether it uses crirm, and whether it places containers itself.

Its settings come from its command line, from drop-ins and from its configuration file, in this order of precedence.
Source: Kubernetes, "Set Kubelet Parameters Via A Configuration File".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import attrs
import yaml

from crirm.errors import CrirmError
from crirm.system.doctor.finding import Finding, Verdict
from crirm.system.unix_socket import SocketPathError, socket_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from crirm.system.doctor.host import Host

DEFAULT_CONFIG: Final = "/var/lib/kubelet/config.yaml"  # Source: kubeadm
DEFAULT_STATE_DIRECTORY: Final = "/var/lib/kubelet"  # Source: kubelet --root-dir
NONE_POLICY: Final = "none"
CONFIG_KIND: Final = "KubeletConfiguration"
DEFAULT_PERIOD: Final = "10s"  # Source: Kubernetes, KubeletConfiguration, cpuManagerReconcilePeriod
OWN_FLAGS: Final = frozenset((
    "bootstrap-kubeconfig", "container-runtime-endpoint", "cpu-manager-policy", "cpu-manager-reconcile-period",
    "image-service-endpoint", "kubelet-cgroups", "memory-manager-policy", "pod-manifest-path",
    "topology-manager-policy",
))  # fmt: skip
"""Flags that no other program of Kubernetes has; k3s and its like, which have a kubelet in them, take some of them."""


class KubeletConfigError(CrirmError):
    """The kubelet's configuration file cannot be read."""


@attrs.frozen
class Setting:
    """A setting in effect and what sets it."""

    value: str
    where: str


@attrs.frozen
class Kubelet:
    """One kubelet, running or, without a process number, only configured."""

    pid: int | None
    flags: Mapping[str, str]
    config: Mapping[str, Setting]  # by the configuration file's names; flags are not in here

    def setting(self, flag: str, key: str) -> Setting | None:
        """Return what is in effect, None when the kubelet's own default is."""
        if flag in self.flags:
            return Setting(self.flags[flag], f"kubelet (process {self.pid}) --{flag}")
        return self.config.get(key)


def check_kubelet(host: Host, relay_socket: str) -> Iterator[Finding]:
    """Check every kubelet that runs, or else the one that is configured."""
    try:
        kubelets = list(find_kubelets(host))
    except KubeletConfigError as error:
        fix = "fix the file, or run crirm doctor with the kubelet's view of the file system"
        yield Finding("kubelet", Verdict.WARNING, str(error), fix=fix)
        return
    if not kubelets:
        found = f"kubelet is not running and {DEFAULT_CONFIG} does not exist"
        yield Finding("kubelet", Verdict.SKIPPED, found, fix="set --host-root if the host's /proc is elsewhere")
    for kubelet in kubelets:
        if kubelet.pid is not None:
            yield _check_endpoint(host, kubelet, relay_socket)
        yield from _check_managers(kubelet)


def find_kubelets(host: Host) -> Iterator[Kubelet]:
    """Yield the kubelets that run; when none does, the one whose configuration kubeadm left, if any."""
    found = False
    for name in host.names("/proc"):
        pid = name.rpartition("/")[2]
        if not pid.isdecimal():
            continue
        argv = (host.text(f"{name}/cmdline") or "").split("\0")
        flags = parse_flags(argv[1:])
        if _is_kubelet(host, argv[0], flags):
            found = True
            yield Kubelet(int(pid), flags, _read_config(host, flags))
    if not found and host.path(DEFAULT_CONFIG).exists():
        yield Kubelet(None, {}, _read_config(host, {"config": DEFAULT_CONFIG}))


def _is_kubelet(host: Host, program: str, flags: Mapping[str, str]) -> bool:
    """Tell by name, by arguments or by its configuration file whether a process is a kubelet, whatever it is called."""
    if program.rpartition("/")[2] == "kubelet" or not OWN_FLAGS.isdisjoint(flags):
        return True
    name = flags.get("config", "")
    try:
        return name.startswith("/") and _load(host, name).get("kind") == CONFIG_KIND
    except (KubeletConfigError, OSError):
        return False


def parse_flags(argv: Sequence[str]) -> dict[str, str]:
    """Read ``--name=value`` and ``--name value``; a flag that another flag follows is a boolean."""
    flags: dict[str, str] = {}
    name = ""
    for word in filter(None, argv):
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            flags[name] = value if equals else "true"
            name = "" if equals else name
        elif name:
            flags[name], name = word, ""
    return flags


def _read_config(host: Host, flags: Mapping[str, str]) -> dict[str, Setting]:
    settings: dict[str, Setting] = {}
    names = [flags["config"]] if "config" in flags else []
    if "config-dir" in flags:
        names += [name for name in host.names(flags["config-dir"]) if name.endswith(".conf")]
    for name in names:
        for key, value in _load(host, name).items():
            settings[key] = Setting(str(value), f"{name}: {key}")
    return settings


def _load(host: Host, name: str) -> Mapping[str, Any]:
    if not PurePosixPath(name).is_absolute():
        raise KubeletConfigError(f"{name}: relative to the kubelet's working directory, which crirm does not resolve")
    text = host.text(name)
    if text is None:
        raise KubeletConfigError(f"{name}: configuration file of the kubelet not found")
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise KubeletConfigError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
    return document if isinstance(document, Mapping) else {}


def _check_endpoint(host: Host, kubelet: Kubelet, relay_socket: str) -> Finding:
    setting = kubelet.setting("container-runtime-endpoint", "containerRuntimeEndpoint")
    fix = f"start the kubelet with --container-runtime-endpoint=unix://{relay_socket}"
    if setting is None:
        where = f"kubelet (process {kubelet.pid})"
        return Finding("kubelet", Verdict.WARNING, "bypasses crirm: no runtime endpoint is set", where, fix)
    try:
        used = host.path(socket_path(setting.value)) == host.path(relay_socket)
    except SocketPathError:
        used = False
    if used:
        return Finding("kubelet", Verdict.OK, "uses crirm", setting.where)
    return Finding(
        "kubelet", Verdict.WARNING, f"bypasses crirm: the runtime endpoint is {setting.value}", setting.where, fix
    )


@attrs.frozen
class Manager:
    """A part of the kubelet that places containers when its policy says so."""

    flag: str
    key: str  # in the configuration file
    state_file: str  # empty: keeps none
    verdict: Verdict  # when it is on
    harm: str


MANAGERS: Final = (
    Manager(
        "cpu-manager-policy",
        "cpuManagerPolicy",
        "cpu_manager_state",
        Verdict.FAIL,
        "the kubelet also sets the CPUs of containers, every {period}",
    ),
    Manager(
        "memory-manager-policy",
        "memoryManagerPolicy",
        "memory_manager_state",
        Verdict.FAIL,
        "the kubelet also sets the memory nodes of containers",
    ),
    Manager(
        "topology-manager-policy",
        "topologyManagerPolicy",
        "",
        Verdict.WARNING,
        "the kubelet may reject pods because of NUMA nodes that crirm would not choose",
    ),
)


def _check_managers(kubelet: Kubelet) -> Iterator[Finding]:
    directory = kubelet.flags.get("root-dir", DEFAULT_STATE_DIRECTORY)
    clean = []
    for manager in MANAGERS:
        setting = kubelet.setting(manager.flag, manager.key)
        if setting is None or setting.value.lower() in {NONE_POLICY, ""}:
            clean.append(manager.key)
            continue
        fix = f"set {manager.key}: none (or --{manager.flag}=none)"
        if manager.state_file:
            fix += f", drain the node, stop the kubelet, delete {directory}/{manager.state_file} and start it again"
        found = f"{manager.key} is {setting.value}: {manager.harm.format(period=_period(kubelet))}"
        yield Finding("kubelet", manager.verdict, found, setting.where, fix)
    if clean:
        where = DEFAULT_CONFIG if kubelet.pid is None else f"kubelet (process {kubelet.pid})"
        yield Finding("kubelet", Verdict.OK, f"{', '.join(clean)}: none", where)


def _period(kubelet: Kubelet) -> str:
    """Return how often the kubelet's CPU manager compares, as it is configured."""
    setting = kubelet.setting("cpu-manager-reconcile-period", "cpuManagerReconcilePeriod")
    return DEFAULT_PERIOD if setting is None or setting.value in {"", "0s"} else setting.value
