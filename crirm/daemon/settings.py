"""The daemon's settings at start, from either command line."""

from __future__ import annotations

import enum
import math
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from crirm.cri.dump_rules import DEFAULT_RULES, DumpRules, DumpRulesError
from crirm.cri.methods import INTERCEPTED
from crirm.daemon.places import RELAY_SOCKET, STATE_DIR, socket_beside
from crirm.errors import UsageError
from crirm.logs.settings import LogSettings
from crirm.policy.api import Choice
from crirm.system.unix_socket import socket_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SAME_AS_RUNTIME: Final = "default"
NOT_SERVED: Final = "-"
DISABLED: Final = "disabled"
AUTO: Final = "auto"
POD_RESOURCES_SOCKET: Final = "/var/lib/kubelet/pod-resources/kubelet.sock"
"""The kubelet's, unless its root directory is another."""
NOTHING: Final = "none"
"""The policy that places nothing."""


class Mode(enum.Enum):
    """What to do about drift: a cgroup that differs from the decision."""

    REPAIR = "repair"
    REPORT = "report"
    OFF = "off"


def intercepted_by(policy: Choice) -> frozenset[str]:
    """Return the names of the methods that crirm takes part in under *policy*."""
    return frozenset() if policy.name == NOTHING else INTERCEPTED


def _relay_path(text: str) -> str:
    return socket_path(text, what="relay socket")


def _runtime_path(text: str) -> str:
    if text == NOT_SERVED:
        raise UsageError(f"runtime socket {text!r}: crirm needs a container runtime to relay to; give its socket")
    return socket_path(text, what="runtime socket")


def _control_path(text: str) -> str:
    return socket_path(text, what="control socket") if text else ""


def _config_path(text: str) -> str:
    return text if text in {"", DISABLED} else socket_path(text, what="config socket")


def _agent_path(text: str) -> str:
    return text if text in {"", DISABLED} else socket_path(text, what="agent socket")


def _kubelet_path(text: str) -> str:
    if text == AUTO:
        return POD_RESOURCES_SOCKET
    return "" if text == DISABLED else text and socket_path(text, what="PodResources socket")


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if path else ""


def _image_path(text: str) -> str:
    return text if text in {SAME_AS_RUNTIME, NOT_SERVED} else socket_path(text, what="image socket")


def _absolute_file(what: str) -> Callable[[Any, attrs.Attribute[Any], str | None], None]:
    """Return a validator for absolute paths; a relative one would depend on the working directory."""

    def validate(_settings: Any, _field: attrs.Attribute[Any], path: str | None) -> None:
        if path and not path.startswith("/"):
            raise UsageError(f"{what} {path!r}: not an absolute path; write {Path.cwd() / path}")
        if path and path.endswith("/"):
            raise UsageError(f"{what} {path!r}: names a directory; add the name of the file")

    return validate


def _absolute_directory(_settings: Any, _field: attrs.Attribute[str], path: str) -> None:
    if path and not path.startswith("/"):
        raise UsageError(f"state directory {path!r}: not an absolute path; write {Path.cwd() / path}")


def _seconds(what: str, *, zero: bool) -> Callable[[Any, attrs.Attribute[float], float], None]:
    def validate(_settings: Any, _field: attrs.Attribute[float], value: float) -> None:
        if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
            raise UsageError(
                f"{what} {value}: not a valid number of seconds; it must be {'0 or more' if zero else 'above 0'}"
            )

    return validate


def _check_rules(_settings: Any, _field: attrs.Attribute[str], text: str) -> None:
    try:
        DumpRules.parse(text)
    except DumpRulesError as error:
        raise UsageError(str(error)) from error


@attrs.frozen(kw_only=True)
class Settings:
    """The checked settings of ``crirm serve`` and ``cri-resmgr``.

    Raises:
        UsageError: an invalid value.
    """

    relay_socket: str = attrs.field(default=RELAY_SOCKET, converter=_relay_path)
    """Where crirm serves CRI for the kubelet; the default is the path in existing kubelet settings."""

    runtime_socket: str = attrs.field(default="/var/run/containerd/containerd.sock", converter=_runtime_path)
    """Where the container runtime serves CRI; the default is containerd's."""

    image_socket: str = attrs.field(default=SAME_AS_RUNTIME, converter=_image_path)
    """Where image calls go: ``default`` is the runtime socket, ``-`` serves none, else a path."""

    allow_untested_runtimes: bool = False
    """Whether to accept runtimes other than containerd and CRI-O; off, since crirm is not tested with them."""

    grace_s: float = attrs.field(default=10.0, validator=_seconds("grace", zero=True))
    """Seconds that calls in flight may take after SIGTERM; nearly all need less, and systemd kills after 90."""

    pid_file: str | None = attrs.field(default=None, validator=_absolute_file("PID file"))
    """File with the PID while crirm runs; none by default, since systemd needs none."""

    control_socket: str = attrs.field(default="", converter=_control_path)
    """Control socket of ``crirm status`` and ``crirm explain``, for root only; empty: beside the relay socket."""

    forced_config: str = attrs.field(default="", converter=_absolute)
    """Configuration file that overrides all others and is reloaded when it changes; the node agent is then ignored."""

    fallback_config: str = attrs.field(default="", converter=_absolute)
    """Configuration file used until the node agent has sent a valid configuration."""

    config_socket: str = attrs.field(default="", converter=_config_path)
    """Where the node agent sends configurations; empty: beside the relay socket, ``disabled``: nowhere."""

    agent_socket: str = attrs.field(default="", converter=_agent_path)
    """Where the node agent serves; empty: beside the relay socket, ``disabled``: nowhere."""

    pod_resources_socket: str = attrs.field(default="", converter=_kubelet_path)
    """Where the kubelet tells the devices of containers (PodResources); empty: it is not asked."""

    disable_policy_switch: bool = False
    """Whether the policy must stay that of the saved state, until ``--reset-policy`` removes it."""

    reload_signal: signal.Signals | None = signal.SIGHUP
    """Signal that reloads the forced file; None: no signal."""

    policy: Choice = attrs.field(factory=Choice)
    """The policy; ``none`` by default, which changes nothing."""

    enforce: Mode = Mode.REPAIR
    """What to do about drift: a cgroup that differs from the decision; repaired by default."""

    host_root: str = "/"
    """Root of the host's files (/sys, /proc); another directory when crirm runs in a container."""

    state_dir: str = attrs.field(default=STATE_DIR, validator=_absolute_directory)
    """Directory for saved state and journal; empty: nothing is saved."""

    state_fail_closed: bool = False
    """Whether to refuse to create or resize containers while state cannot be saved."""

    record: str = attrs.field(default="", validator=_absolute_file("trace"))
    """File for a trace of all events and decisions, for ``crirm replay``; empty: none."""

    dump_rules: str = attrs.field(default=DEFAULT_RULES, validator=_check_rules)
    """Which messages are dumped, and how; syntax: ``cri.dump_rules``."""

    dump_count_period_s: float = attrs.field(default=60.0, validator=_seconds("dump count period", zero=False))
    """Seconds between two summaries of calls that are only counted; the default is CRI Resource Manager's."""

    dump_file: str = attrs.field(default="", validator=_absolute_file("dump file"))
    """Additional file for dumped messages; empty: the log only."""

    dump_secrets: bool = False
    """Whether dumped messages show environment values and credentials; off, since many may read logs."""

    log_options: Mapping[str, str] = attrs.field(factory=dict)
    """Logging options of the command line; klog flags of a configuration are added."""

    log: LogSettings = attrs.field(factory=LogSettings)
    """Destination and format of log records."""

    @property
    def config_interface(self) -> str:
        """The socket for configurations of the node agent; empty: none."""
        if self.forced_config or self.config_socket == DISABLED:
            return ""
        return self.config_socket or socket_beside(self.relay_socket, "config")

    @property
    def node_agent(self) -> str:
        """The socket of the node agent; empty: none."""
        if self.forced_config or self.agent_socket == DISABLED:
            return ""
        return self.agent_socket or socket_beside(self.relay_socket, "agent")

    def __attrs_post_init__(self) -> None:
        """Reject relaying to the relay socket itself: each call would call itself until memory runs out.

        Also reject a fallback file beside a forced one, which would never be used.
        """
        if self.forced_config and self.fallback_config:
            raise UsageError(
                f"{self.fallback_config}: never used as a fallback, since {self.forced_config} always wins;  "
                "use one of them"
            )
        for what, path in (("runtime socket", self.runtime_socket), ("image socket", self.image_socket)):
            if Path(path).resolve() == Path(self.relay_socket).resolve():
                raise UsageError(f"{what} {path}: this is the relay socket; give the socket of the runtime")
