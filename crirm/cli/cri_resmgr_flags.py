"""The flags of the original ``cri-resmgr``, from its first release in 2019 to its last, and what crirm does with them.

Source: CRI Resource Manager 0.9 and 0.1, command line; klog v2 for the logging flags.
"""

from __future__ import annotations

import enum
from typing import Final

import attrs

from crirm.cli.goflags import Flag, Kind

BOOL, STRING, INT, DURATION = Kind.BOOL, Kind.STRING, Kind.INT, Kind.DURATION


class Use(enum.Enum):
    """What crirm does with a flag."""

    NOW = "in effect"
    REPORT = "print something and exit"
    LOGGING = "logging, as in klog"
    LATER = "accepted with a warning: not supported yet"
    NONE = "accepted with a warning: no meaning in crirm"


@attrs.frozen
class ResmgrFlag(Flag):
    """A flag of ``cri-resmgr``."""

    use: Use = Use.LATER
    text: str = ""
    harmless: tuple[str, ...] = ()  # values that ask for what crirm does anyway: no warning


def _table(*flags: ResmgrFlag) -> dict[str, ResmgrFlag]:
    return {flag.name: flag for flag in flags}


_NOW: Final = (
    ResmgrFlag("runtime-socket", STRING, Use.NOW, "socket of the container runtime"),
    ResmgrFlag("image-socket", STRING, Use.NOW, "socket for image calls; default: the runtime's, -: none"),
    ResmgrFlag("relay-socket", STRING, Use.NOW, "socket that the kubelet uses"),
    ResmgrFlag("allow-untested-runtimes", BOOL, Use.NOW, "use a runtime other than containerd and CRI-O"),
    ResmgrFlag("pid-file", STRING, Use.NOW, "PID file"),
    ResmgrFlag("dump", STRING, Use.NOW, "messages to dump, in addition to the rules of 2019; repeatable"),
    ResmgrFlag("dump-file", STRING, Use.NOW, "file to which messages are dumped as well"),
    ResmgrFlag("count-period", DURATION, Use.NOW, "interval of the summaries of counted messages"),
    ResmgrFlag("logger-debug", STRING, Use.NOW, "log sources with debug messages"),
    ResmgrFlag("config", STRING, Use.NOW, "file of flags, one `name = value` per line"),
    ResmgrFlag("force-config", STRING, Use.NOW, "configuration file that overrides everything else"),
    ResmgrFlag("fallback-config", STRING, Use.NOW, "configuration file if there is no other"),
    ResmgrFlag("force-config-signal", STRING, Use.NOW, "signal to reload it: SIGHUP; disabled: none"),
    ResmgrFlag("config-socket", STRING, Use.NOW, "socket for configurations of the node agent; disabled: none"),
    ResmgrFlag("agent-socket", STRING, Use.NOW, "socket of the node agent; disabled: none"),
    ResmgrFlag("disable-policy-switch", BOOL, Use.NOW, "reject a policy other than that of the saved state"),
    ResmgrFlag("host-root", STRING, Use.NOW, "directory where the host's / is mounted"),
    ResmgrFlag("relay-dir", STRING, Use.NOW, "directory for the saved state"),
    ResmgrFlag("policy", STRING, Use.NOW, "policy if there is no configuration; null: none"),
    ResmgrFlag("available-resources", STRING, Use.NOW, "CPUs for containers, as cpu=2-63 or cpu=8"),
    ResmgrFlag("reserved-resources", STRING, Use.NOW, "CPUs for kube-system, as cpu=0-1 or cpu=750m"),
    ResmgrFlag("reset-config", BOOL, Use.NOW, "remove the saved configuration and exit"),
    ResmgrFlag("reset-policy", BOOL, Use.NOW, "remove the saved decisions and exit"),
)

_REPORTS: Final = (
    ResmgrFlag("h", BOOL, Use.REPORT, "print this help"),
    ResmgrFlag("help", BOOL, Use.REPORT, "print this help"),
    ResmgrFlag("version", BOOL, Use.REPORT, "print the version"),
    ResmgrFlag("print-config", BOOL, Use.REPORT, "print the default configuration"),
    ResmgrFlag("list-policies", BOOL, Use.REPORT, "list the policies"),
    ResmgrFlag("list-loggers", BOOL, Use.REPORT, "list the log sources"),
)

_LOGGING: Final = tuple(
    ResmgrFlag(name, kind, Use.LOGGING)
    for kind, names in {
        BOOL: ("add_dir_header", "alsologtostderr", "logtostderr", "one_output", "skip_headers", "skip_log_headers"),
        STRING: ("log_backtrace_at", "log_dir", "log_file", "stderrthreshold", "vmodule"),
        INT: ("log_file_max_size", "v"),
    }.items()
    for name in names
)

_LATER: Final = (
    ResmgrFlag("metrics-interval", DURATION, harmless=("0", "0s")),
    ResmgrFlag("rebalance-interval", DURATION, harmless=("0", "0s")),
    *(
        ResmgrFlag(name, BOOL, harmless=("false",))
        for name in (
            "disable-ui",
            "no-rdt",
            "static-policy-relaxed-isolation",
            "static-pools-create-cmk-node-label",
            "static-pools-create-cmk-node-taint",
            "topology-aware-pin-cpu",
            "topology-aware-pin-memory",
            "topology-aware-prefer-isolated-cpus",
            "topology-aware-prefer-shared-cpus",
        )
    ),
    *(
        ResmgrFlag(name, STRING)
        for name in (
            "bpf-install-path",
            "cgroup-mount",
            "cgroup-path",
            "cgroup-v2-dir",
            "external-visualizers",
            "kubelet-cgroup-root",
            "resctrl-path",
            "static-pools-conf-dir",
            "static-pools-conf-file",
            "topology-aware-fake-hint",
            "trace",
            "trace-jaeger-agent",
            "trace-jaeger-collector",
            "trace-prometheus-metrics",
        )
    ),
)

_MEANINGLESS: Final = (
    ResmgrFlag("logger", STRING, Use.NONE),
    ResmgrFlag("logger-level", STRING, Use.NONE),
    ResmgrFlag("logger-prefix", BOOL, Use.NONE),
    ResmgrFlag("logger-source", STRING, Use.NONE),
)

FLAGS: Final = _table(*_NOW, *_REPORTS, *_LOGGING, *_LATER, *_MEANINGLESS)
