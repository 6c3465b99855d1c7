"""``crirm config``: what a configuration file can say, what one amounts to, and what is wrong with it."""

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

WITHIN_S = 120.0  # a proposal waits for the one before, and for the runtime
_NO_CGROUPS: Final[dict[str, CPUSet]] = {}


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
        say(f"{file}: {warning}", err=True)
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
    if as_json:
        click.echo(json.dumps(_document(file, verdict)))
    else:
        say(_report(file, verdict, loaded))
    return ExitCode.FAILED if verdict.faults else ExitCode.OK


@command.command("diff")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--activate", is_flag=True, help="Take it into use if nothing speaks against it.")
@click.option("--control-socket", default=DEFAULT_CONTROL_SOCKET, show_default=True, help="Of the daemon to ask.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def diff(file: Path, *, activate: bool, control_socket: str, as_json: bool) -> ExitCode:
    """Tell what FILE (- is standard input) would change in the daemon that runs: containers, CPUs, memory nodes.

    With --activate it is taken into use as well, until the daemon is restarted or gets another configuration.
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
    click.echo(json.dumps(proposal, indent=2) if as_json else proposal_report(str(file), harmless(proposal)))
    return ExitCode.FAILED if refused else ExitCode.OK


def _refusals(loaded: Loaded, topology: Topology, cgroups: ReadCgroup) -> tuple[Fault, ...]:
    """Return what the policy itself says against the configuration."""
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
