"""The configuration file of a private containerd, for each schema that its releases read."""

from __future__ import annotations

import json
from pathlib import Path  # noqa: TC003 - attrs resolves field types at run time

import attrs

from crirm.launcher.oci_image import PAUSE_IMAGE

MESSAGE_LIMIT_BYTES = 64 * 1024 * 1024
_STATS_PERIOD_S = 1  # the default, 10 s, is long in a demonstration or a test

# Snapshotters of other file systems, and the answer to every event by plugins of the machine's own containerd.
_DISABLED = (
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.nri.v1.nri",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
)


@attrs.frozen
class ConfigFacts:
    """What a private instance's configuration depends on."""

    root: Path
    socket: Path
    runc: Path
    snapshotter: str
    restrict_oom_score_adj: bool
    release: tuple[int, int]  # containerd's major and minor version


def render_config(facts: ConfigFacts) -> str:
    """TOML for the release that *facts* names: schema 2 for 1.x, schema 3 from 2.0 on."""
    return (_schema_3 if facts.release >= (2, 0) else _schema_2)(facts)


def _schema_2(facts: ConfigFacts) -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    return f"""version = 2
{_common(facts)}
[{cri}]
sandbox_image = {_string(PAUSE_IMAGE)}
restrict_oom_score_adj = {_boolean(facts.restrict_oom_score_adj)}
stats_collect_period = {_STATS_PERIOD_S}
{_STREAMING}
{_cni(cri, facts)}
[{cri}.containerd]
snapshotter = {_string(facts.snapshotter)}
{_runtime(cri, facts)}"""


def _schema_3(facts: ConfigFacts) -> str:
    cri = 'plugins."io.containerd.cri.v1.runtime"'
    images = 'plugins."io.containerd.cri.v1.images"'
    return f"""version = 3
{_common(facts)}
[plugins."io.containerd.grpc.v1.cri"]
{_STREAMING}
[{images}]
snapshotter = {_string(facts.snapshotter)}
stats_collect_period = {_STATS_PERIOD_S}
[{images}.pinned_images]
sandbox = {_string(PAUSE_IMAGE)}
[{cri}]
restrict_oom_score_adj = {_boolean(facts.restrict_oom_score_adj)}
enable_unprivileged_ports = false
enable_unprivileged_icmp = false
{_cni(cri, facts)}
{_runtime(cri, facts)}"""


_STREAMING = 'stream_server_address = "127.0.0.1"\nstream_server_port = "0"'


def _common(facts: ConfigFacts) -> str:
    return f"""root = {_string(facts.root / "root")}
state = {_string(facts.root / "state")}
disabled_plugins = {json.dumps(_DISABLED)}
[grpc]
address = {_string(facts.socket)}
max_recv_message_size = {MESSAGE_LIMIT_BYTES}
max_send_message_size = {MESSAGE_LIMIT_BYTES}
[plugins."io.containerd.internal.v1.opt"]
path = {_string(facts.root / "opt")}"""


def _cni(cri: str, facts: ConfigFacts) -> str:
    """Folders that stay empty: pods use the host network, and the machine's own CNI is not touched."""
    programs = _string(facts.root / "cni/bin")
    programs = f"bin_dirs = [{programs}]" if facts.release >= (2, 1) else f"bin_dir = {programs}"
    return f"""[{cri}.cni]
{programs}
conf_dir = {_string(facts.root / "cni/net.d")}"""


def _runtime(cri: str, facts: ConfigFacts) -> str:
    """The one runtime; a runc root of its own makes every container of the instance findable afterwards."""
    return f"""[{cri}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[{cri}.containerd.runtimes.runc.options]
BinaryName = {_string(facts.runc)}
Root = {_string(facts.root / "runc")}
SystemdCgroup = false
"""


def _string(value: object) -> str:
    return json.dumps(str(value))


def _boolean(value: bool) -> str:
    return json.dumps(value)
