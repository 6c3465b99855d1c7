"""``crirm config``: what a configuration file can say, what one amounts to, and what is wrong with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, assert_never

import attrs
import click

from crirm.cli.exit_codes import ExitCode
from crirm.config.config import Config
from crirm.config.cpus import CgroupCPUs, CPUAmount, ExactCPUs, resolve_cpus
from crirm.config.describe import help_text
from crirm.config.faults import ConfigFaults, Fault
from crirm.config.json_schema import json_schema
from crirm.config.load import Loaded, load
from crirm.config.machine import Verdict, judge
from crirm.config.text import MAX_BYTES
from crirm.config.write import dump
from crirm.cri.dump_rules import DumpRules
from crirm.cri.methods import METHODS
from crirm.errors import CrirmError, UsageError
from crirm.logs.debug_spec import nearest, parse_debug
from crirm.logs.names import complaint, own_name
from crirm.logs.settings import OPTIONS, settings_from
from crirm.model.cpuset import CPUSet
from crirm.policy.api import Constraints, CPUConstraint
from crirm.policy.globs import glob_matches
from crirm.policy.registry import KINDS
from crirm.sim.hosts import parse_spec, topology_of
from crirm.system.sysfs import discover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from crirm.config.load import Grammar
    from crirm.config.machine import ReadCgroup
    from crirm.model.topology import Topology

KLOG_FLAGS: Final = OPTIONS - {"debug", "format"}  # those two are crirm's own
CGROUP_FILES: Final = ("cpuset.cpus.effective", "cpuset.effective_cpus", "cpuset.cpus")  # v2, v1, neither switched on
_NO_CGROUPS: Final[dict[str, CPUSet]] = {}
CGROUP_MOUNTS: Final = ("sys/fs/cgroup", "sys/fs/cgroup/cpuset")


class UnreadableError(CrirmError):
    """A file that a command needs cannot be read."""


@click.group("config")
def command() -> None:
    """Explain, print and check configuration files; docs/configuration.md is the reference."""


@command.command("help")
@click.argument("sections", nargs=-1, metavar="[SECTION]...")
def show_help(sections: tuple[str, ...]) -> None:
    """Print sections and their options; a SECTION may be a part of a name, such as 'policy.' or '.memtier'."""
    click.echo(help_text(sections))


@command.command("print")
@click.argument("file", required=False, type=click.Path(path_type=Path, allow_dash=True))
def print_config(file: Path | None) -> None:
    """Print what FILE amounts to, defaults included; without a FILE, the defaults."""
    if file is None:
        click.echo(dump(Config()), nl=False)
        return
    loaded = load(read(file), str(file), GRAMMARS)
    for warning in loaded.warnings:
        click.echo(f"{file}: {warning}", err=True)
    click.echo(dump(loaded.config), nl=False)


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of configuration files, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))


@command.command("check")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--host-root",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Judge it for the machine whose /sys and /proc are below DIR (default: /).",
)
@click.option(
    "--synthetic", metavar="SPEC", help="Judge it for a made-up machine such as '2p.8c.2t'; see docs/topology.md."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(file: Path, host_root: Path | None, synthetic: str | None, *, as_json: bool) -> ExitCode:
    """Tell what is wrong with FILE (- is standard input), by itself and on a machine; nothing is changed."""
    if host_root is not None and synthetic is not None:
        raise UsageError("--host-root and --synthetic name two different machines; give one of them")
    data = read(file)
    loaded = None
    try:
        loaded = load(data, str(file), GRAMMARS)
        topology, cgroups = _machine(host_root or Path("/"), synthetic)
        verdict = judge(loaded, topology, cgroups)
        if not verdict.faults:
            verdict = attrs.evolve(verdict, faults=_refusals(loaded, topology, cgroups))
    except ConfigFaults as faults:
        verdict = Verdict(faults.faults, ())
    click.echo(json.dumps(_document(file, verdict)) if as_json else _report(file, verdict, loaded))
    return ExitCode.FAILED if verdict.faults else ExitCode.OK


def read(file: Path) -> bytes:
    """Return what *file* holds, as much of it as can be a configuration.

    Raises:
        UnreadableError: it cannot be read.
    """
    try:
        if str(file) == "-":
            return sys.stdin.buffer.read(MAX_BYTES + 1)
        with file.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise UnreadableError(f"{file}: cannot be read: {error.strerror}") from error


def constraints_of(config: Config, cgroups: Callable[[str], CPUSet]) -> Constraints:
    """Return the bounds that *config* sets to its policy.

    Args:
        config: the configuration.
        cgroups: returns the CPUs of the cgroup in a directory; raises CrirmError when they cannot be told.
    """
    return Constraints(*(_constraint(resolve_cpus(one, cgroups)) for one in (config.available, config.reserved)))


def _constraint(cpus: ExactCPUs | CPUAmount | None) -> CPUConstraint:
    match cpus:
        case ExactCPUs():
            return CPUConstraint(cpus=cpus.cpus)
        case CPUAmount():
            return CPUConstraint(millicpu=cpus.millicpu)
        case None:
            return CPUConstraint()
        case _:
            assert_never(cpus)


def _refusals(loaded: Loaded, topology: Topology, cgroups: ReadCgroup) -> tuple[Fault, ...]:
    """Return what the policy itself says against the configuration."""
    config = loaded.config
    if cgroups is None:
        if any(isinstance(one, CgroupCPUs) for one in (config.available, config.reserved)):
            return ()
        cgroups = _NO_CGROUPS.__getitem__
    kind = KINDS[config.policy_name]
    try:
        kind.make(topology, constraints_of(config, cgroups), config.policy_options or kind.options())
    except CrirmError as error:
        return (loaded.fault(str(error), "policy"),)
    return ()


def _machine(host_root: Path, synthetic: str | None) -> tuple[Topology, ReadCgroup]:
    if synthetic is not None:
        return topology_of(parse_spec(synthetic)), None
    return discover(host_root).topology, lambda directory: read_cgroup(host_root, directory)


def read_cgroup(host_root: Path, directory: str) -> CPUSet:
    """Return the CPUs of the cgroup in *directory*, which is an absolute one or one below the mount.

    Raises:
        UnreadableError: there is no such cgroup, or it has no CPUs of its own.
    """
    inside = directory.lstrip("/")
    folders = [host_root / mount / inside for mount in CGROUP_MOUNTS]
    if directory.startswith("/"):
        folders.insert(0, host_root / inside)
    for path in (folder / name for folder in folders for name in CGROUP_FILES):
        try:
            cpus = CPUSet.parse(path.read_text(errors="replace").strip())
        except OSError:
            continue
        if cpus:
            return cpus
    raise UnreadableError(f"there is no cgroup with CPUs at {' or '.join(map(str, folders))}")


def _report(file: Path, verdict: Verdict, loaded: Loaded | None) -> str:
    lines = []
    for what, findings in (("fault", verdict.faults), ("warning", verdict.warnings)):
        if findings:
            lines.append(f"{file}: {len(findings)} {what}{'s' if len(findings) > 1 else ''}")
            lines += [f"  {finding}" for finding in findings]
    if loaded is not None and not verdict.faults:
        config = loaded.config
        available, reserved = config.available or "all CPUs", config.reserved or "none"
        lines.append(f"{file}: can be used: policy {config.policy_name}, available {available}, reserved {reserved}")
    return "\n".join(lines)


def _document(file: Path, verdict: Verdict) -> dict[str, Any]:
    def plain(findings: tuple[Fault, ...]) -> list[dict[str, Any]]:
        return [{"reason": one.reason, "path": one.path, "line": one.line} for one in findings]

    return {
        "file": str(file),
        "usable": not verdict.faults,
        "faults": plain(verdict.faults),
        "warnings": plain(verdict.warnings),
    }


def _read_debug(text: str) -> Iterable[str]:
    complaints = {source: complaint(own_name(source), known=()) for source in parse_debug(text, where="debug list")}
    return [f"{source}: {what}" for source, what in complaints.items() if what]


def _read_flag(pair: tuple[str, str]) -> Iterable[str]:
    flag, value = pair
    if flag not in KLOG_FLAGS:
        raise UsageError(f"there is no logging flag {flag!r}{nearest(flag, KLOG_FLAGS)}")
    settings = settings_from({}, {flag: value})
    return [f"{flag}: means nothing to crirm" for _ in settings.ignored]


def _read_rules(text: str) -> Iterable[str]:
    exact = [rule.exact for rule in DumpRules.parse(text).rules if rule.exact]
    known = {method.name for method in METHODS.values()}
    return [f"no method of CRI is called {name}{nearest(name, known)}" for name in exact if name not in known]


def _read_dump_file(path: str) -> Iterable[str]:
    if path and not path.startswith("/"):
        raise UsageError(f"{path!r} is not an absolute path; the daemon has no directory of its own")
    return ()


def _read_pattern(pattern: str) -> Iterable[str]:
    glob_matches(pattern, "")
    return ()


GRAMMARS: Final[Mapping[str, Grammar]] = {
    "logger.Debug": _read_debug,
    "logger.Klog": _read_flag,
    "dump.Config": _read_rules,
    "dump.File": _read_dump_file,
    "policy.topology-aware.ReservedPoolNamespaces": _read_pattern,
    "policy.memtier.ReservedPoolNamespaces": _read_pattern,
}
"""The readers of those texts in a configuration that are languages of their own."""
