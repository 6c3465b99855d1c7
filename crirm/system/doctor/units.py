"""The service unit: whether crirm starts at boot, after the runtime and before the kubelet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from crirm.system.doctor.finding import Finding, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crirm.system.doctor.host import Host

UNIT_DIRECTORIES: Final = (
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
)
"""The first that has a unit wins. Source: systemd.unit(5)."""

NAMES: Final = ("crirm.service", "cri-resource-manager.service")
KUBELET: Final = "kubelet.service"
RUNTIME_UNITS: Final = {"containerd": "containerd.service", "crio": "crio.service"}  # by a word in the socket's path


def check_units(host: Host, runtime_socket: str) -> Iterator[Finding]:
    """Check the order and the enabling of crirm's unit, when it is installed."""
    name = next((name for name in NAMES if _unit_files(host, name)), "")
    if not name:
        yield Finding("systemd", Verdict.SKIPPED, "crirm is not installed as a service", where=UNIT_DIRECTORIES[0])
        return
    where = _unit_files(host, name)[0]
    ours = read_unit(host, name)
    if KUBELET in ours.get("Before", []) or name in read_unit(host, KUBELET).get("After", []):
        yield Finding("systemd", Verdict.OK, f"{name} starts before the kubelet", where)
    else:
        fix = f"add Before={KUBELET} to [Unit], for example with `systemctl edit {name}`"
        yield Finding("systemd", Verdict.WARNING, f"{name} is not ordered before the kubelet", where, fix)
    runtime = next((unit for word, unit in RUNTIME_UNITS.items() if word in runtime_socket), None)
    if runtime is not None and runtime not in ours.get("After", []):
        fix = f"add After={runtime} to [Unit], for example with `systemctl edit {name}`"
        yield Finding("systemd", Verdict.WARNING, f"{name} is not ordered after {runtime}", where, fix)
    if not _is_enabled(host, name):
        fix = f"run `systemctl enable {name}`"
        yield Finding("systemd", Verdict.WARNING, f"{name} does not start at boot", where, fix)


def read_unit(host: Host, name: str) -> dict[str, list[str]]:
    """Return the ``[Unit]`` section of *name* with its drop-ins: each key's words; an empty assignment starts anew."""
    settings: dict[str, list[str]] = {}
    for file in _unit_files(host, name):
        section = ""
        for line in map(str.strip, (host.text(file) or "").replace("\\\n", " ").splitlines()):
            if line.startswith("["):
                section = line
            elif section == "[Unit]" and "=" in line and line[0] not in "#;":
                key, _, value = line.partition("=")
                settings[key.strip()] = [*settings.get(key.strip(), []), *value.split()] if value.strip() else []
    return settings


def _unit_files(host: Host, name: str) -> list[str]:
    """The unit's file and then its drop-ins, in the order in which systemd reads them; empty without the unit."""
    unit = next(host.existing([f"{directory}/{name}" for directory in UNIT_DIRECTORIES]), None)
    if unit is None:
        return []
    drop_ins = {
        file.rpartition("/")[2]: file
        for directory in reversed(UNIT_DIRECTORIES)
        for file in host.names(f"{directory}/{name}.d")
        if file.endswith(".conf")
    }
    return [unit, *(drop_ins[key] for key in sorted(drop_ins))]


def _is_enabled(host: Host, name: str) -> bool:
    """Whether a target wants the unit, or its socket, under whatever name: enabling is a link in a directory."""
    wanted = {name, name.replace(".service", ".socket")}
    return any(
        entry.rpartition("/")[2] in wanted
        for directory in UNIT_DIRECTORIES
        for target in host.names(directory)
        if target.endswith((".wants", ".requires"))
        for entry in host.names(target)
    )
