"""``crirm config``: explain, print, check and compare configuration files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from crirm.cli.control import DEFAULT_CONTROL_SOCKET, ask
from crirm.cli.exit_codes import ExitCode
from crirm.cli.printing import harmless, say
from crirm.cli.proposal import report as proposal_report
from crirm.config.config import Config
from crirm.config.cpus import CgroupCPUs
from crirm.config.describe import help_text
from crirm.config.faults import ConfigFaults, Fault
from crirm.config.json_schema import json_schema
from crirm.config.load import Loaded, load
from crirm.config.machine import Verdict, judge
from crirm.config.text import decoded
from crirm.config.write import dump
from crirm.daemon.configuration.grammars import GRAMMARS
from crirm.daemon.configuration.meaning import constraints_of, read, read_cgroup
from crirm.errors import CrirmError, UsageError
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.policy.registry import POLICIES
from crirm.system.sysfs import discover

if TYPE_CHECKING:
    from crirm.config.machine import ReadCgroup
    from crirm.model.cpuset import CPUSet
    from crirm.model.topology import Topology

WITHIN_S = 120.0  # a proposal waits for earlier ones, and for the runtime
_NO_CGROUPS: Final[dict[str, CPUSet]] = {}


@click.group("config")
def command() -> None:
    """Explain, print, check and compare configuration files; see docs/configuration.md."""


@command.command("help", short_help="Print sections and their options.")
@click.argument("sections", nargs=-1, metavar="[SECTION]...")
def show_help(sections: tuple[str, ...]) -> None:
    """Print sections and their options; SECTION may be part of a name, such as 'policy.' or '.memtier'."""
    click.echo(help_text(sections))


@command.command("print", short_help="Print a file with defaults filled in, or the defaults.")
@click.argument("file", required=False, type=click.Path(path_type=Path, allow_dash=True))
def print_config(file: Path | None) -> None:
    """Print FILE as crirm reads it, with defaults filled in; without FILE, print the defaults."""
    if file is None:
        click.echo(dump(Config()), nl=False)
        return
    loaded = load(read(file), str(file), GRAMMARS)
    for warning in loaded.warnings:
        say(f"{file}: {warning}", err=True)
    click.echo(dump(loaded.config), nl=False)


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of configuration files, for editors."""
    click.echo(json.dumps(json_schema(), indent=2))


@command.command("check", short_help="Check a file, by itself and against a machine.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--host-root",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Check it against the machine whose /sys and /proc are below DIR.  [default: /]",
)
@click.option(
    "--synthetic", metavar="SPEC", help="Check it against a synthetic machine such as '2p.8c.2t'; see docs/topology.md."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(file: Path, host_root: Path | None, synthetic: str | None, *, as_json: bool) -> ExitCode:
    """Check FILE (- is standard input), by itself and against a machine; nothing is changed."""
    if host_root is not None and synthetic is not None:
        raise UsageError("--host-root and --synthetic are mutually exclusive; use one of them")
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
    if as_json:
        click.echo(json.dumps(_document(file, verdict)))
    else:
        say(_report(file, verdict, loaded))
    return ExitCode.FAILED if verdict.faults else ExitCode.OK


@command.command("diff", short_help="Show what a file would change in the running daemon.")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--activate", is_flag=True, help="Activate it if it is not rejected.")
@click.option(
    "--control-socket", default=DEFAULT_CONTROL_SOCKET, show_default=True, help="Control socket of the daemon."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(file: Path, *, activate: bool, control_socket: str, as_json: bool) -> ExitCode:
    """Show what FILE (- is standard input) would change in the running daemon: containers, CPUs, memory nodes.

    With --activate it also becomes active, until the daemon restarts or gets another configuration.
    """
    faults: list[Fault] = []
    text = decoded(read(file), faults)
    if text is None:
        raise ConfigFaults(str(file), faults)
    question = {"name": str(file), "config": text}
    proposal = ask(control_socket, {"ask": "propose", **question}, within_s=WITHIN_S)
    refused = proposal["refused"]
    if activate and not refused:
        refused = ask(control_socket, {"ask": "activate", **question}, within_s=WITHIN_S)["refused"]
        proposal = {**proposal, "refused": refused, "activated": not refused}
    if as_json:
        click.echo(json.dumps(proposal, indent=2))
    else:
        say(proposal_report(str(file), harmless(proposal)))
    return ExitCode.FAILED if refused else ExitCode.OK


def _refusals(loaded: Loaded, topology: Topology, cgroups: ReadCgroup) -> tuple[Fault, ...]:
    """Return the faults that the policy itself finds in the configuration."""
    config = loaded.config
    if cgroups is None:
        if any(isinstance(one, CgroupCPUs) for one in (config.available, config.reserved)):
            return ()
        cgroups = _NO_CGROUPS.__getitem__
    policy = POLICIES[config.policy_name]
    try:
        policy.make(topology, constraints_of(config, cgroups), config.policy_options or policy.options())
    except CrirmError as error:
        return (loaded.fault(str(error), "policy"),)
    return ()


def _machine(host_root: Path, synthetic: str | None) -> tuple[Topology, ReadCgroup]:
    if synthetic is not None:
        return topology_of(parse_spec(synthetic)), None
    return discover(host_root).topology, lambda directory: read_cgroup(host_root, directory)


def _report(file: Path, verdict: Verdict, loaded: Loaded | None) -> str:
    lines = []
    for what, findings in (("fault", verdict.faults), ("warning", verdict.warnings)):
        if findings:
            lines.append(f"{file}: {len(findings)} {what}{'s' if len(findings) > 1 else ''}")
            lines += [f"  {finding}" for finding in findings]
    if loaded is not None and not verdict.faults:
        config = loaded.config
        available, reserved = config.available or "all CPUs", config.reserved or "none"
        lines.append(f"{file}: valid: policy {config.policy_name}, available {available}, reserved {reserved}")
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
