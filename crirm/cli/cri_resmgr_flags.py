"""The flags of the original ``cri-resmgr``, of its last release and of the first from 2019, and what becomes of them.

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
    REPORT = "prints something and ends"
    LOGGING = "logging, as in klog"
    LATER = "accepted and named in a warning: the feature comes in a later version"
    NONE = "accepted and named in a warning: it means nothing to crirm"


@attrs.frozen
class ResmgrFlag(Flag):
    """A flag of ``cri-resmgr``."""

    use: Use = Use.LATER
    text: str = ""
    harmless: tuple[str, ...] = ()  # values that ask for what crirm does anyway, and so for no warning


def _table(*flags: ResmgrFlag) -> dict[str, ResmgrFlag]:
    return {flag.name: flag for flag in flags}


_NOW: Final = (
    ResmgrFlag("runtime-socket", STRING, Use.NOW, "socket of the container runtime"),
    ResmgrFlag("image-socket", STRING, Use.NOW, "socket for image calls; default: the runtime's, -: none"),
    ResmgrFlag("relay-socket", STRING, Use.NOW, "socket that the kubelet uses"),
    ResmgrFlag("allow-untested-runtimes", BOOL, Use.NOW, "use a runtime other than containerd and CRI-O"),
    ResmgrFlag("pid-file", STRING, Use.NOW, "file that holds the process number"),
    ResmgrFlag("dump", STRING, Use.NOW, "messages to dump, added to the rules of 2019; may be given several times"),
    ResmgrFlag("dump-file", STRING, Use.NOW, "file that dumped messages are written to as well"),
    ResmgrFlag("count-period", DURATION, Use.NOW, "time between two sums of counted messages"),
    ResmgrFlag("logger-debug", STRING, Use.NOW, "log sources whose debug records are wanted"),
    ResmgrFlag("config", STRING, Use.NOW, "file of flags, one `name = value` a line"),
    ResmgrFlag("force-config", STRING, Use.NOW, "configuration file that wins over everything"),
    ResmgrFlag("fallback-config", STRING, Use.NOW, "configuration file for want of another"),
    ResmgrFlag("force-config-signal", STRING, Use.NOW, "signal that has it read again: SIGHUP; disabled: none"),
    ResmgrFlag("config-socket", STRING, Use.NOW, "socket on which the node agent sends configurations; disabled: none"),
    ResmgrFlag("agent-socket", STRING, Use.NOW, "socket of the node agent; disabled: it is not asked"),
    ResmgrFlag("disable-policy-switch", BOOL, Use.NOW, "refuse another policy than the one whose decisions are kept"),
    ResmgrFlag("host-root", STRING, Use.NOW, "where the host's /sys is seen"),
    ResmgrFlag("relay-dir", STRING, Use.NOW, "directory that keeps what is decided across restarts"),
    ResmgrFlag("policy", STRING, Use.NOW, "policy that places containers, for want of a file; null: none"),
    ResmgrFlag("available-resources", STRING, Use.NOW, "CPUs that it may use, as cpu=2-63 or cpu=8"),
    ResmgrFlag("reserved-resources", STRING, Use.NOW, "CPUs for kube-system, as cpu=0-1 or cpu=750m"),
    ResmgrFlag("reset-config", BOOL, Use.NOW, "forget the stored configuration, and end"),
    ResmgrFlag("reset-policy", BOOL, Use.NOW, "forget the stored policy, and end"),
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
