"""``crirm replay``: replay a recorded trace, on its own or another machine and configuration."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import click

from crirm.cli.configured import choice_from_options
from crirm.cli.printing import screen_width
from crirm.cli.replay_text import diff_text, report_text
from crirm.daemon.configuration.meaning import constraints_of, read_cgroup, read_config
from crirm.errors import CrirmError, UsageError
from crirm.hosts.synthetic import parse_spec, topology_of
from crirm.model.record_json import to_record
from crirm.policy.api import Choice, Constraints
from crirm.replay.decisions import canonical, decision_record, state_record
from crirm.replay.diff import compare
from crirm.replay.report import Observer, Report, read_report, report_record
from crirm.replay.run import Replay
from crirm.replay.trace import MAX_LINE_BYTES, TraceError, TraceReader
from crirm.system.sysfs import discover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import IO, TextIO

    from crirm.model.cpuset import CPUSet
    from crirm.model.topology import Topology
    from crirm.replay.run import Step
    from crirm.replay.trace import Header

RECORDED: Final = "recorded"
BARE_ROOT: Final = "/nonexistent"


class UnreadableError(CrirmError):
    """A file cannot be read or written."""


@attrs.frozen
class Setting:
    """A machine and a policy; None means those of the trace."""

    topology: Topology | None = None
    choice: Choice | None = None


@attrs.frozen
class Chosen:
    """The policy options of the command line; None means the value from the trace."""

    policy: str | None = None
    available_cpus: str | None = None
    reserved_cpus: str | None = None


@click.command("replay")
@click.argument("trace", metavar="TRACE")
@click.option(
    "--host",
    metavar="WHAT",
    help="Another machine: a synthetic one such as '2p.8c.2t' (docs/topology.md), or a directory with its /sys.",
)
@click.option("--config", metavar="FILE", help="Use the policy in this configuration file.")
@click.option("--policy", metavar="NAME", help="Use this policy instead of the trace's.")
@click.option("--available-cpus", metavar="CPUS", help="CPUs for containers, instead of the trace's.")
@click.option("--reserved-cpus", metavar="CPUS", help="CPUs for kube-system, instead of the trace's.")
@click.option(
    "--diff",
    "against",
    metavar="recorded|FILE",
    help="Show the differences from the recording, or from a report printed by --json.",
)
@click.option(
    "--decisions", metavar="FILE", help="Write every decision to this file, one JSON line each; - is standard output."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(trace: str, *, against: str | None, decisions: str | None, as_json: bool, **where: str | None) -> None:
    """Run the events of TRACE through the policy again, and show the result.

    `crirm serve --record FILE` and `crirm record` make traces. Without options, machine and configuration are those
    of the trace, so all decisions are the same. This host is neither used nor changed.
    """
    setting = _setting(trace, **where)
    base = None if against is None else _base(trace, against)
    report = replayed(trace, setting, decisions)
    if base is None:
        text = json.dumps(report_record(report), indent=2) if as_json else report_text(trace, report, screen_width())
    else:
        found = compare(base, report)
        text = (
            json.dumps(to_record(found), indent=2) if as_json else diff_text(trace, base, report, found, screen_width())
        )
    if decisions != "-":
        click.echo(text)


def _setting(trace: str, host: str | None, config: str | None, **chosen: str | None) -> Setting:
    choice, chosen_here = None, Chosen(**chosen)
    if config is not None or chosen_here != Chosen():
        choice = choice_named(_header(trace).choice, host, config, chosen_here)
    return Setting(topology_named(host), choice)


def replayed(trace: str, setting: Setting, decisions: str | None = None) -> Report:
    """Replay the file *trace*.

    Args:
        trace: its path.
        setting: machine and policy.
        decisions: file to which every decision is written.

    Raises:
        CrirmError: the trace cannot be read, or the policy does not fit the machine.
    """
    with _reading(trace) as reader, _written(decisions) as out:
        replay = Replay(reader.header, setting.topology, setting.choice)
        observer = Observer(replay)
        for step in observer.observe(replay.steps(reader.entries())):
            if out is not None:
                out.write(_decision_line(step))
        if out is not None:
            out.write(canonical({"state": state_record(replay.policy, replay.state)}) + "\n")
    return observer.report(reader.notes)


def _header(trace: str) -> Header:
    with _reading(trace) as reader:
        return reader.header


@contextmanager
def _reading(trace: str) -> Iterator[TraceReader]:
    with _opened(trace) as stream:
        try:
            yield TraceReader.open(iter(lambda: stream.readline(MAX_LINE_BYTES), b""))
        except TraceError as error:
            raise TraceError(f"{trace}: {error}") from error


def _decision_line(step: Step) -> str:
    kind = type(step.event).__name__ if step.event is not None else "Start"
    document = {"line": step.line, "at_s": step.at_s, "event": kind, **decision_record(step.decision)}
    return canonical(document) + "\n"


def _base(trace: str, against: str) -> Report:
    if against == RECORDED:
        return replayed(trace, Setting())
    with _opened(against) as stream:
        try:
            return read_report(json.load(stream))
        except (CrirmError, ValueError, RecursionError) as error:
            what = error if isinstance(error, CrirmError) else "not JSON; `crirm replay TRACE --json` writes reports"
            raise UnreadableError(f"{against}: {what}") from error


def _opened(path: str) -> AbstractContextManager[IO[bytes]]:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror}") from error


def _written(path: str | None) -> AbstractContextManager[TextIO | None]:
    if path is None:
        return nullcontext()
    if path == "-":
        return nullcontext(sys.stdout)
    try:
        return Path(path).open("w", encoding="utf-8")
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be written: {error.strerror}") from error


def topology_named(host: str | None) -> Topology | None:
    """Return the machine that ``--host`` names; None for none.

    Raises:
        CrirmError: there is no such machine.
    """
    if host is None:
        return None
    if Path(host).is_dir():
        return discover(Path(host)).topology
    if "/" in host:
        raise UsageError(f"--host {host}: no such directory; it must hold the /sys of a machine")
    return topology_of(parse_spec(host))


def choice_named(recorded: Choice, host: str | None, config: str | None, chosen: Chosen) -> Choice:
    """Return the policy that a file or options name, on top of what was *recorded*.

    Raises:
        CrirmError: they contradict each other, or the machine.
    """
    if config is not None:
        if chosen != Chosen():
            raise UsageError("--config sets policy and CPUs; leave out --policy, --available-cpus and --reserved-cpus")
        loaded = read_config(config).config
        constraints = constraints_of(loaded, _cgroups(host))
        return Choice(loaded.policy_name, constraints, loaded.policy_options, loaded.policy.overflow)
    name = chosen.policy or recorded.name
    asked = choice_from_options(
        name, chosen.available_cpus, chosen.reserved_cpus, host if host and Path(host).is_dir() else BARE_ROOT
    )
    constraints = Constraints(
        recorded.constraints.available if chosen.available_cpus is None else asked.constraints.available,
        recorded.constraints.reserved if chosen.reserved_cpus is None else asked.constraints.reserved,
    )
    options = recorded.options if name == recorded.name else None
    return Choice(name, constraints, options, recorded.overflow)


def _cgroups(host: str | None) -> Callable[[str], CPUSet]:
    """Return a reader for the CPUs of a cgroup: in the directory of the host, if there is one."""
    if host is not None and Path(host).is_dir():
        return lambda directory: read_cgroup(Path(host), directory)

    def refuse(directory: str) -> Any:
        raise UsageError(f"cgroup {directory}: only a real machine has cgroups; write the CPUs instead")

    return refuse
