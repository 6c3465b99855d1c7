"""Kata Containers: whether a pod's virtual machine is confined to the cgroup that crirm sets.

Without ``sandbox_cgroup_only`` Kata runs the machine's threads in a cgroup of its own, outside the pod's, so that no
placement reaches them. Source: Kata Containers, "Host cgroup management".
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any, Final

import attrs
import tomli

from crirm.errors import CrirmError
from crirm.system.doctor.finding import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crirm.system.doctor.host import Host

RUNTIME_CONFIGS: Final = (
    "/etc/containerd/config.toml",
    "/var/lib/rancher/k3s/agent/etc/containerd/config.toml",
    "/etc/crio/crio.conf",
)
CRIO_DROP_INS: Final = "/etc/crio/crio.conf.d/*"
SEARCHED: Final = (
    "/etc/kata-containers/configuration.toml",
    "/usr/share/defaults/kata-containers/configuration.toml",
    "/opt/kata/share/defaults/kata-containers/configuration.toml",
)
"""Where Kata looks when a handler names no file, the first that exists; the last is kata-deploy's."""

NO_KATA: Final = "Kata Containers is not configured"


class TomlError(CrirmError):
    """A file is no TOML."""


@attrs.frozen
class Handler:
    """A Kata runtime handler of the container runtime."""

    name: str
    config: str  # Kata's configuration file, empty: Kata searches
    where: str


def check_kata(host: Host) -> Iterator[Finding]:
    """Check every configuration file that a Kata handler uses, or that an installed Kata would use."""
    try:
        handlers = list(find_handlers(host))
        files = {handler.config or _searched(host): f"handler {handler.name}" for handler in handlers}
        installed = _searched(host)
        if installed:
            files.setdefault(installed, "")
        for name, user in files.items():
            yield _judge(host, name, user)
    except TomlError as error:
        yield Finding("kata", Verdict.WARNING, str(error), fix="fix the file")
        return
    if not files:
        yield Finding("kata", Verdict.SKIPPED, NO_KATA, where=", ".join(host.existing(list(RUNTIME_CONFIGS))))


def find_handlers(host: Host) -> Iterator[Handler]:
    """Yield the Kata handlers that containerd and CRI-O are configured with."""
    for name in (*RUNTIME_CONFIGS, *_glob(host, CRIO_DROP_INS)):
        document = _load(host, name)
        yield from _handlers(document, name)
        for pattern in document.get("imports", []):
            for imported in _glob(host, posixpath.join(posixpath.dirname(name), str(pattern))):
                yield from _handlers(_load(host, imported) if imported != name else {}, imported)


def _glob(host: Host, pattern: str) -> list[str]:
    directory, _, _ = pattern.rpartition("/")
    return [name for name in host.names(directory) if fnmatch(name, pattern)]


def _handlers(table: Mapping[str, Any], where: str) -> Iterator[Handler]:
    """Tables called ``runtimes`` hold handlers by name, at different depths in containerd 1.x, 2.x and CRI-O."""
    for key, value in table.items():
        if not isinstance(value, Mapping):
            continue
        if key == "runtimes":
            for name, entry in value.items():
                if isinstance(entry, Mapping) and _is_kata(name, entry):
                    yield Handler(name, _config_of(entry), where)
        else:
            yield from _handlers(value, where)


def _is_kata(name: str, entry: Mapping[str, Any]) -> bool:
    return any("kata" in str(text) for text in (name, entry.get("runtime_type"), entry.get("runtime_path")))


def _config_of(entry: Mapping[str, Any]) -> str:
    options = entry.get("options")
    path = options.get("ConfigPath") if isinstance(options, Mapping) else entry.get("runtime_config_path")
    return path if isinstance(path, str) else ""


def _searched(host: Host) -> str:
    return next(host.existing(list(SEARCHED)), "")


def _judge(host: Host, name: str, user: str) -> Finding:
    used = f" (used by {user})" if user else " (used by no handler)"
    bad = Verdict.FAIL if user else Verdict.WARNING
    if not name or host.text(name) is None:
        fix = "install Kata's configuration file, or set the handler's ConfigPath"
        return Finding("kata", Verdict.WARNING, f"no configuration file{used}", where=name, fix=fix)
    value, where = _sandbox_cgroup_only(host, name)
    if value is True:
        return Finding("kata", Verdict.OK, f"sandbox_cgroup_only is true{used}", where)
    found = "not set (default false)" if value is None else "false"
    fix = f"set sandbox_cgroup_only=true in [runtime] of {where}; it applies to new pods"
    return Finding(
        "kata", bad, f"sandbox_cgroup_only is {found}, so placement does not apply to the VM{used}", where, fix
    )


def _sandbox_cgroup_only(host: Host, name: str) -> tuple[object, str]:
    """Return the value in effect, None when unset, and the file that sets it; drop-ins beside the file win over it."""
    value: object = None
    where = name
    drop_ins = _glob(host, posixpath.join(posixpath.dirname(name), "config.d/*.toml"))
    for file in (name, *drop_ins):
        runtime = _load(host, file).get("runtime", {})
        if isinstance(runtime, Mapping) and "sandbox_cgroup_only" in runtime:
            value, where = runtime["sandbox_cgroup_only"], file
    return value, where


def _load(host: Host, name: str) -> dict[str, Any]:
    try:
        return tomli.loads(host.text(name) or "")
    except tomli.TOMLDecodeError as error:
        raise TomlError(f"{name}: not valid TOML: {error}") from error
