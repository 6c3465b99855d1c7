"""What the daemon is told at start, whichever command line told it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs

from crirm.cri.dump_rules import DEFAULT_RULES, DumpRules, DumpRulesError
from crirm.daemon.enforcement import Mode
from crirm.errors import UsageError
from crirm.logs.settings import LogSettings
from crirm.policy.api import Choice
from crirm.system.unix_socket import socket_path

if TYPE_CHECKING:
    from collections.abc import Callable

SAME_AS_RUNTIME: Final = "default"
NOT_SERVED: Final = "-"


def _relay_path(text: str) -> str:
    return socket_path(text, what="relay socket")


def _runtime_path(text: str) -> str:
    if text == NOT_SERVED:
        raise UsageError(f"runtime socket {text!r}: crirm has nothing to relay to without a runtime; give its socket")
    return socket_path(text, what="runtime socket")


def _control_path(text: str) -> str:
    return socket_path(text, what="control socket") if text else ""


def control_socket_beside(relay_socket: str) -> str:
    """Return the path of the control socket that goes with a relay socket."""
    relay = Path(relay_socket)
    return str(relay.with_name(f"{relay.stem}-control.sock"))


def _image_path(text: str) -> str:
    return text if text in {SAME_AS_RUNTIME, NOT_SERVED} else socket_path(text, what="image socket")


def _absolute_file(what: str) -> Callable[[Any, attrs.Attribute[Any], str | None], None]:
    """Return a validator; a relative path would depend on where the service happens to be started."""

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
                f"{what} {value}: cannot be; it is a number of seconds, {'0 or more' if zero else 'above 0'}"
            )

    return validate


def _check_rules(_settings: Any, _field: attrs.Attribute[str], text: str) -> None:
    try:
        DumpRules.parse(text)
    except DumpRulesError as error:
        raise UsageError(str(error)) from error


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that ``crirm serve`` and ``cri-resmgr`` are told, checked.

    Raises:
        UsageError: a value that cannot be.
    """

    relay_socket: str = attrs.field(default="/var/run/cri-resmgr/cri-resmgr.sock", converter=_relay_path)
    """Where crirm serves CRI, for the kubelet; the default is the path that existing kubelet settings name."""

    runtime_socket: str = attrs.field(default="/var/run/containerd/containerd.sock", converter=_runtime_path)
    """Where the container runtime serves CRI; the default is containerd's."""

    image_socket: str = attrs.field(default=SAME_AS_RUNTIME, converter=_image_path)
    """Where image calls go: ``default`` is the runtime socket, ``-`` means that they are not served, else a path."""

    allow_untested_runtimes: bool = False
    """Whether a runtime other than containerd and CRI-O is used; off, since nobody has seen it work."""

    grace_s: float = attrs.field(default=10.0, validator=_seconds("grace", zero=True))
    """Seconds that calls in flight may still take after SIGTERM; nearly all need less, and systemd kills after 90."""

    pid_file: str | None = attrs.field(default=None, validator=_absolute_file("PID file"))
    """File that holds the process number while crirm runs; none by default, since systemd needs none."""

    control_socket: str = attrs.field(default="", converter=_control_path)
    """Where ``crirm status`` and ``crirm explain`` ask, for root only; empty: beside the relay socket."""

    policy: Choice = attrs.field(factory=Choice)
    """Which policy places containers; ``none`` by default, which touches nothing."""

    enforce: Mode = Mode.REPAIR
    """What to do where the kernel has something else for a container than was decided; by default put it right."""

    host_root: str = "/"
    """Where the host's /sys and /proc are seen; another directory when crirm runs in a container."""

    state_dir: str = attrs.field(default="/var/lib/cri-resmgr", validator=_absolute_directory)
    """Directory that keeps decisions and journal across restarts; empty: nothing is kept."""

    dump_rules: str = attrs.field(default=DEFAULT_RULES, validator=_check_rules)
    """Which messages are dumped and how fully, in the language of ``cri.dump_rules``."""

    dump_count_period_s: float = attrs.field(default=60.0, validator=_seconds("dump count period", zero=False))
    """Seconds between two sums of the calls that are only counted; the default is CRI Resource Manager's."""

    dump_file: str = attrs.field(default="", validator=_absolute_file("dump file"))
    """File that dumped messages are written to as well; empty: they go to the log only."""

    dump_secrets: bool = False
    """Whether dumped messages show environment values and registry credentials; off, since many may read logs."""

    log: LogSettings = attrs.field(factory=LogSettings)
    """Where log records go and what they look like."""

    def __attrs_post_init__(self) -> None:
        """Refuse to relay to the own socket: each call would call itself until memory runs out."""
        for what, path in (("runtime socket", self.runtime_socket), ("image socket", self.image_socket)):
            if Path(path).resolve() == Path(self.relay_socket).resolve():
                raise UsageError(f"{what} {path}: is the relay socket too; give the socket of the runtime itself")
